//! The greatest of many numbers.

/// The places of the `k` greatest values, the greatest first, equal ones in their order.
pub(super) fn top_k(values: &[f32], k: usize) -> Vec<usize> {
    let mut best: Vec<usize> = Vec::with_capacity(k + 1);
    for (place, value) in values.iter().enumerate() {
        let is_full = best.len() == k;
        if is_full && best.last().is_none_or(|last| *value <= values[*last]) {
            continue;
        }
        let rank = best.partition_point(|other| values[*other] >= *value);
        best.insert(rank, place);
        best.truncate(k);
    }
    best
}

/// The first of the greatest values, as `torch.argmax` picks it.
pub(super) fn argmax(values: &[f32]) -> usize {
    top_k(values, 1).first().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_values_wins() {
        assert_eq!(argmax(&[0.0, 2.0, 2.0, 1.0]), 1);
        assert_eq!(argmax(&[f32::NEG_INFINITY; 3]), 0);
        assert_eq!(top_k(&[1.0, 3.0, 2.0, 3.0, 2.0], 4), [1, 3, 2, 4]);
        assert_eq!(top_k(&[1.0, 2.0], 5), [1, 0]);
    }
}
