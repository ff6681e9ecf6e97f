//! The norms: LayerNorm, and T5's RMS norm.

use candle_core::{Result, Tensor};

use super::kernels::Kernels;
use super::weights::Weights;

/// `torch.nn.LayerNorm` over the last dimension.
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
    kernels: Kernels,
}

impl LayerNorm {
    /// Reads `weight` and `bias`, `[size]`.
    pub fn new(size: usize, eps: f64, vb: Weights) -> Result<Self> {
        Ok(Self {
            weight: vb.get(size, "weight")?,
            bias: vb.get(size, "bias")?,
            eps: eps as f32,
            kernels: vb.kernels(),
        })
    }

    /// A norm without learnt parameters (`elementwise_affine=False`).
    pub fn plain(size: usize, eps: f64, vb: &Weights) -> Result<Self> {
        Ok(Self {
            weight: Tensor::ones(size, vb.dtype(), vb.device())?,
            bias: Tensor::zeros(size, vb.dtype(), vb.device())?,
            eps: eps as f32,
            kernels: vb.kernels(),
        })
    }

    /// `[…, size]` to the same shape and dtype; the dtype is that of the weight.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.kernels.layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

/// T5's norm: over the last dimension, by the root of the mean square, without a mean or a
/// bias (`T5LayerNorm`; Zhang and Sennrich 2019). It computes in f32, and gives the dtype of
/// its weight.
pub struct RmsNorm {
    weight: Tensor,
    eps: f32,
    kernels: Kernels,
}

impl RmsNorm {
    /// Reads `weight`, `[size]`.
    pub fn new(size: usize, eps: f64, vb: Weights) -> Result<Self> {
        Ok(Self {
            weight: vb.get(size, "weight")?,
            eps: eps as f32,
            kernels: vb.kernels(),
        })
    }

    /// `[…, size]` in any dtype to the same shape in the weight's.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.kernels.rms_norm(x, &self.weight, self.eps)
    }
}
