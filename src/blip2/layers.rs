//! The few layers that all parts of the model are built from.

use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Result, Shape, Tensor};
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
    let weights = candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(v.dtype())?;
    weights
        .matmul(&v.contiguous()?)?
        .transpose(1, 2)?
        .contiguous()?
        .flatten_from(2)
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
