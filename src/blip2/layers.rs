//! The few layers that all parts of the model are built from.

use candle_core::{CpuStorage, CustomOp1, CustomOp3, D, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::linear::contiguous;
use super::weights::Weights;

/// `torch.nn.LayerNorm` over the last dimension.
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

impl LayerNorm {
    /// Reads `weight` and `bias`, `[size]`.
    pub fn new(size: usize, eps: f64, vb: Weights) -> Result<Self> {
        Ok(Self {
            weight: vb.get(size, "weight")?,
            bias: vb.get(size, "bias")?,
            eps: eps as f32,
        })
    }

    /// A norm without learnt parameters (`elementwise_affine=False`).
    pub fn plain(size: usize, eps: f64, vb: &Weights) -> Result<Self> {
        Ok(Self {
            weight: Tensor::ones(size, vb.dtype(), vb.device())?,
            bias: Tensor::zeros(size, vb.dtype(), vb.device())?,
            eps: eps as f32,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.contiguous()?;
        if x.device().is_cpu() && x.dtype() == DType::F32 {
            return x.apply_op3_no_bwd(&self.weight, &self.bias, &TwoPassLayerNorm { eps: self.eps });
        }
        candle_nn::ops::layer_norm(&x, &self.weight, &self.bias, self.eps)
    }
}

/// candle's CPU kernel takes the variance as `E[x²] - E[x]²` in one pass, which
/// loses digits where the mean is large; the reference takes it about the mean.
struct TwoPassLayerNorm {
    eps: f32,
}

impl TwoPassLayerNorm {
    fn normalise(&self, row: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
        let n = row.len() as f32;
        let mean = row.iter().sum::<f32>() / n;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / n;
        let scale = 1.0 / (variance + self.eps).sqrt();
        for (((out, x), weight), bias) in out.iter_mut().zip(row).zip(weight).zip(bias) {
            *out = (x - mean) * scale * weight + bias;
        }
    }
}

impl CustomOp3 for TwoPassLayerNorm {
    fn name(&self) -> &'static str {
        "two-pass-layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, bias) = (
            contiguous(x, x_layout)?,
            contiguous(weight, weight_layout)?,
            contiguous(bias, bias_layout)?,
        );
        let size = weight.len();
        let mut out = vec![0f32; x.len()];
        out.par_chunks_mut(size)
            .zip(x.par_chunks(size))
            .with_min_len(16)
            .for_each(|(out, row)| self.normalise(row, weight, bias, out));
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

/// T5's norm: over the last dimension, by the root of the mean square, without a mean or a
/// bias (`T5LayerNorm`; Zhang and Sennrich 2019). It computes in f32, and gives the dtype of
/// its weight.
pub struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    /// Reads `weight`, `[size]`.
    pub fn new(size: usize, eps: f64, vb: Weights) -> Result<Self> {
        Ok(Self {
            weight: vb.get(size, "weight")?,
            eps,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.to_dtype(DType::F32)?;
        let variance = x.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = x.broadcast_div(&(variance + self.eps)?.sqrt()?)?;
        normed.to_dtype(self.weight.dtype())?.broadcast_mul(&self.weight)
    }
}

/// Splits the last dimension into heads: `[batch, length, heads * size]` to
/// `[batch, heads, length, size]`.
pub fn split_heads(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, length, hidden) = x.dims3()?;
    x.reshape((batch, length, heads, hidden / heads))?
        .transpose(1, 2)?
        .contiguous()
}

/// `softmax(q k^T + mask) v`, heads merged again.
///
/// `q` is `[batch, heads, queries, size]` and already scaled, `k` and `v` are
/// `[batch, heads, keys, size]`, `mask` is added and broadcasts over batch and
/// heads; the result is `[batch, queries, heads * size]`. The softmax runs in
/// f32 whatever the dtype, as torch's `scaled_dot_product_attention` does.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let scores = q.matmul(&k.transpose(D::Minus2, D::Minus1)?)?.to_dtype(DType::F32)?;
    let scores = match mask {
        Some(mask) => scores.broadcast_add(mask)?,
        None => scores,
    };
    let weights = softmax(&scores)?.to_dtype(v.dtype())?;
    weights
        .matmul(&v.contiguous()?)?
        .transpose(1, 2)?
        .contiguous()?
        .flatten_from(2)
}

/// Softmax over the last dimension of f32 scores.
fn softmax(scores: &Tensor) -> Result<Tensor> {
    if scores.device().is_cpu() {
        return scores.contiguous()?.apply_op1_no_bwd(&Softmax);
    }
    candle_nn::ops::softmax_last_dim(scores)
}

/// The softmax on the CPU, on all cores and in vectors; candle's own calls libm's `expf` for
/// one element after another.
struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let scores = contiguous(scores, layout)?;
        let size = layout.dims().last().copied().unwrap_or(1).max(1);
        let mut weights = vec![0f32; scores.len()];
        weights
            .par_chunks_mut(size)
            .zip(scores.par_chunks(size))
            .with_min_len((1 << 14) / size + 1)
            .for_each(|(weights, scores)| softmax_row(scores, weights));
        Ok((CpuStorage::F32(weights), layout.shape().clone()))
    }
}

fn softmax_row(scores: &[f32], weights: &mut [f32]) {
    let greatest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for (weight, score) in weights.iter_mut().zip(scores) {
        *weight = exp(score - greatest);
    }
    let inverse = 1.0 / weights.iter().sum::<f32>();
    for weight in weights {
        *weight *= inverse;
    }
}

/// `e^x` for `x <= 0` within two units of the last place: a power of two by the exponent's
/// bits times a polynomial on half a power to either side (Cephes' coefficients).
#[inline(always)]
fn exp(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 6] = [
        1.987_569_1e-4,
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        5e-1,
    ];
    /// ln 2 in two parts, the first short enough to be exact when it is multiplied.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    // Below, the result is not a normal number any more: it is taken for zero.
    let clamped = x.max(-87.0);
    let power = (clamped * std::f32::consts::LOG2_E - 0.5) as i32 as f32;
    let rest = clamped - power * LN_2.0 - power * LN_2.1;
    let polynomial = COEFFICIENTS
        .iter()
        .fold(0.0, |sum, coefficient| sum * rest + coefficient);
    let scale = f32::from_bits((((power as i32) + 127) as u32) << 23);
    let value = (polynomial * rest * rest + rest + 1.0) * scale;
    // A NaN stays one: what is added is zero elsewhere.
    if x < -87.0 { 0.0 } else { value + (x - clamped) }
}

/// The additive mask that keeps `queries` new positions from looking ahead:
/// `[queries, past + queries]`, f32, 0 or minus infinity.
pub fn causal_mask(queries: usize, past: usize, device: &candle_core::Device) -> Result<Tensor> {
    let keys = past + queries;
    let mask: Vec<f32> = (0..queries)
        .flat_map(|query| (0..keys).map(move |key| if key > past + query { f32::NEG_INFINITY } else { 0.0 }))
        .collect();
    Tensor::from_vec(mask, (queries, keys), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_libms_within_rounding() {
        for step in 0..=90_000 {
            let x = -step as f32 * 1e-3;
            let (ours, libm) = (exp(x), x.exp());
            assert!(
                (ours - libm).abs() <= 3e-7 * libm + 1e-37,
                "exp({x}) = {ours}, libm says {libm}"
            );
        }
    }

    #[test]
    fn a_number_that_is_none_is_not_hidden() {
        let mut weights = [1.0; 2];
        softmax_row(&[2.0, f32::NAN], &mut weights);
        assert!(weights.iter().all(|weight| weight.is_nan()));
    }

    #[test]
    fn masked_scores_have_no_weight() {
        let mut weights = [1.0; 3];
        softmax_row(&[2.0, f32::NEG_INFINITY, 2.0], &mut weights);
        assert_eq!(weights, [0.5, 0.0, 0.5]);
    }
}
