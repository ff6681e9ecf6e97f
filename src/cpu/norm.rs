//! Layer norm, the variance about the mean.
//!
//! candle's CPU kernel takes the variance as `E[x²] - E[x]²` in one pass, which loses digits
//! where the mean is large; the reference takes it about the mean.

use rayon::prelude::*;

use super::isa::{Isa, compiled_for_each};
use super::lanes::{Lanes, sum};

/// Rows that a core takes at least.
const WORTH_A_CORE: usize = 16;

/// Norms rows of as many numbers as `weight` and `bias` have.
pub fn layer_norm(rows: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    layer_norm_on(Isa::current(), rows, weight, bias, eps)
}

fn layer_norm_on(isa: Isa, rows: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    let size = weight.len().max(1);
    let mut out = vec![0f32; rows.len()];
    out.par_chunks_mut(size)
        .zip(rows.par_chunks(size))
        .with_min_len(WORTH_A_CORE)
        .for_each(|(out, row)| {
            norm(
                isa,
                &mut NormTask {
                    row,
                    weight,
                    bias,
                    eps,
                    out,
                },
            );
        });
    out
}

/// One row to be normed.
struct NormTask<'a> {
    row: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

/// # Safety
/// Compiled for the instruction set of `L`.
#[expect(
    clippy::extra_unused_type_parameters,
    reason = "`L` says for which instructions it is compiled"
)]
#[inline(always)]
unsafe fn norm_row<L: Lanes>(task: &mut NormTask) {
    let n = task.row.len() as f32;
    let mean = sum(task.row) / n;
    for (out, x) in task.out.iter_mut().zip(task.row) {
        *out = (x - mean) * (x - mean);
    }
    let scale = 1.0 / (sum(task.out) / n + task.eps).sqrt();
    let parameters = task.weight.iter().zip(task.bias);
    for ((out, x), (weight, bias)) in task.out.iter_mut().zip(task.row).zip(parameters) {
        *out = (x - mean) * scale * weight + bias;
    }
}

compiled_for_each!(norm, norm_row, &mut NormTask);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_norms_as_the_textbook_does_however_large_the_mean() {
        let (size, eps) = (131, 1e-5);
        let rows: Vec<f32> = (0..3 * size).map(|i| 1000.0 + (i * 37 % 101) as f32 * 0.02).collect();
        let (weight, bias) = (vec![1.5; size], vec![-0.25; size]);
        let textbook = |row: &[f32]| -> Vec<f64> {
            let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / size as f64;
            let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / size as f64;
            let normed = row
                .iter()
                .map(|x| (f64::from(*x) - mean) / (variance + f64::from(eps)).sqrt());
            normed.map(|x| x * 1.5 - 0.25).collect()
        };
        let expected: Vec<f64> = rows.chunks(size).flat_map(textbook).collect();
        for isa in Isa::all() {
            for (got, expected) in layer_norm_on(isa, &rows, &weight, &bias, eps).iter().zip(&expected) {
                assert!(
                    (f64::from(*got) - expected).abs() < 1e-3,
                    "{isa:?}: {got} instead of {expected}"
                );
            }
        }
    }
}
