//! The few layers that all parts of the model are built from.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::linear::contiguous;
use super::linear::simd::{Isa, Lanes, compiled_for_each, sum};
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

/// One row to be normed.
struct NormTask<'a> {
    row: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

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
            .for_each(|(out, row)| {
                let eps = self.eps;
                norm(
                    Isa::best(),
                    &mut NormTask {
                        row,
                        weight,
                        bias,
                        eps,
                        out,
                    },
                );
            });
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

/// The sum of two tensors of one shape: a layer's output and what it began with.
pub fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() && x.dtype() == DType::F32 {
        return x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &Add);
    }
    x + y
}

/// candle adds on threads of its own, which wait for each other where the products' threads
/// want to work.
struct Add;

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if x_layout.shape() != y_layout.shape() {
            candle_core::bail!("{:?} and {:?} cannot be added", x_layout.dims(), y_layout.dims());
        }
        let mut sums = contiguous(x, x_layout)?.to_vec();
        for (sum, y) in sums.iter_mut().zip(contiguous(y, y_layout)?) {
            *sum += y;
        }
        Ok((CpuStorage::F32(sums), x_layout.shape().clone()))
    }
}
