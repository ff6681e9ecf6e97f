//! Layer norm, the variance about the mean; and T5's norm, which takes no mean.
//!
//! candle's CPU kernel of the first takes the variance as `E[x²] - E[x]²` in one pass, which loses digits
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
    each_row(rows, weight.len(), |row, out| {
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
    })
}

/// Divides rows of as many numbers as `weight` has by the root of their mean square.
pub fn rms_norm(rows: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    rms_norm_on(Isa::current(), rows, weight, eps)
}

fn rms_norm_on(isa: Isa, rows: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    each_row(rows, weight.len(), |row, out| {
        rms(isa, &mut RmsTask { row, weight, eps, out });
    })
}

/// Norms rows of this size, many of them on all cores.
fn each_row(rows: &[f32], size: usize, norm: impl Fn(&[f32], &mut [f32]) + Sync) -> Vec<f32> {
    let size = size.max(1);
    let mut out = vec![0f32; rows.len()];
    out.par_chunks_mut(size)
        .zip(rows.par_chunks(size))
        .with_min_len(WORTH_A_CORE)
        .for_each(|(out, row)| norm(row, out));
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

/// One row to be divided by its root mean square.
struct RmsTask<'a> {
    row: &'a [f32],
    weight: &'a [f32],
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
unsafe fn rms_row<L: Lanes>(task: &mut RmsTask) {
    for (out, x) in task.out.iter_mut().zip(task.row) {
        *out = x * x;
    }
    let variance = sum(task.out) / task.row.len() as f32;
    let factor = 1.0 / (variance + task.eps).sqrt();
    for ((out, x), weight) in task.out.iter_mut().zip(task.row).zip(task.weight) {
        *out = weight * (x * factor);
    }
}

compiled_for_each!(norm, norm_row, &mut NormTask);
compiled_for_each!(rms, rms_row, &mut RmsTask);

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

    #[test]
    fn every_instruction_set_divides_by_the_root_mean_square_of_each_row() {
        let (size, eps) = (67, 1e-6);
        let rows: Vec<f32> = (0..2 * size).map(|i| (i * 37 % 101) as f32 * 20.0 - 900.0).collect();
        let weight: Vec<f32> = (0..size).map(|i| 0.5 + i as f32 * 0.01).collect();
        for isa in Isa::all() {
            let normed = rms_norm_on(isa, &rows, &weight, eps);
            for (got, row) in normed.chunks(size).zip(rows.chunks(size)) {
                let square = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / size as f64;
                for ((got, x), weight) in got.iter().zip(row).zip(&weight) {
                    let expected = f64::from(*x) / (square + f64::from(eps)).sqrt() * f64::from(*weight);
                    assert!(
                        (f64::from(*got) - expected).abs() < 1e-6,
                        "{isa:?}: {got} instead of {expected}"
                    );
                }
            }
            assert!(
                rms_norm_on(isa, &[1.0, f32::NAN], &[1.0; 2], eps)[0].is_nan(),
                "{isa:?}"
            );
        }
    }
}
