//! Rotary position embedding: pairs of a head's numbers are turned by angles that grow with the
//! position.
//!
//! Source: Su et al. 2021, *RoFormer: Enhanced Transformer with Rotary Position Embedding* (arXiv
//! 2104.09864), with LLaMA's pairs: a number and the one half a head further on.

/// Turns rows of heads, `[rows][heads][size]`, by each row's angles, whose cosines and sines are
/// `[rows][size / 2]`. The lengths must fit together.
pub fn rotate(x: &[f32], rows: usize, cos: &[f32], sin: &[f32]) -> Vec<f32> {
    let (width, half) = (x.len() / rows.max(1), cos.len() / rows.max(1));
    let mut turned = vec![0.0; x.len()];
    if half == 0 {
        return turned;
    }
    let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
    let rows = x.chunks_exact(width).zip(turned.chunks_exact_mut(width));
    for ((x, turned), (cos, sin)) in rows.zip(angles) {
        for (x, turned) in x.chunks_exact(2 * half).zip(turned.chunks_exact_mut(2 * half)) {
            rotate_head(x, turned, cos, sin);
        }
    }
    turned
}

fn rotate_head(x: &[f32], turned: &mut [f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    let (first, second) = x.split_at(half);
    let (turned_first, turned_second) = turned.split_at_mut(half);
    for i in 0..half {
        turned_first[i] = first[i] * cos[i] - second[i] * sin[i];
        turned_second[i] = second[i] * cos[i] + first[i] * sin[i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_half_a_head_apart_turn_by_their_rows_angles() {
        // Two rows of one head of four; the second row's pairs turn by a quarter and by none.
        let x = [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0];
        let (cos, sin) = ([1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]);
        assert_eq!(rotate(&x, 2, &cos, &sin), [1.0, 2.0, 3.0, 4.0, -3.0, 2.0, 1.0, 4.0]);
        assert!(rotate(&[], 0, &[], &[]).is_empty());
    }
}
