//! The one switch between our CPU kernels and candle's operations, thrown when a model is loaded.
//!
//! Whatever is written twice is written in this room: here and in `cpu_ops` what layers without
//! weights do, in [`linear`](super::linear) the products. What stands above calls either by
//! the same name.

use candle_core::{D, DType, Device, Result, Tensor};

use super::activation::Activation;
use super::attention::Mask;
use super::{cpu_ops, cuda_rules};
use crate::cpu::isa::IsaError;
use crate::cpu::{Isa, WeightFormat};

/// The variable that names the kernels.
const VARIABLE: &str = "GLIMPSE_KERNELS";

/// What computes a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// The kernels of [`cpu`](crate::cpu): on the CPU alone, activations in f32.
    Own,
    /// candle's operations: on any device, in any dtype.
    Candle,
}

/// Why kernels that were asked for cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KernelsError {
    #[error("{VARIABLE} is {0}, and may be own or candle. Unset it for what suits the device.")]
    Unknown(String),
    #[error("{VARIABLE} is own, and Glimpse's own kernels are for the CPU. Use --device cpu, or unset it.")]
    NotOnThisDevice,
    #[error(transparent)]
    Isa(#[from] IsaError),
}

impl Kernels {
    /// What suits a device: ours on the CPU.
    pub fn of(device: &Device) -> Self {
        if device.is_cpu() { Self::Own } else { Self::Candle }
    }

    /// What `GLIMPSE_KERNELS` names, or what suits the device.
    ///
    /// # Errors
    /// Nonsense in `GLIMPSE_KERNELS` or in `GLIMPSE_ISA`, or ours where they cannot run.
    pub fn from_env(device: &Device) -> std::result::Result<Self, KernelsError> {
        let kernels = Self::named_by_env()?.unwrap_or(Self::of(device));
        if kernels == Self::Own && !device.is_cpu() {
            return Err(KernelsError::NotOnThisDevice);
        }
        Ok(kernels)
    }

    /// Whether the environment makes sense, before there is a device.
    ///
    /// # Errors
    /// Nonsense in `GLIMPSE_KERNELS` or in `GLIMPSE_ISA`.
    pub fn check_env() -> std::result::Result<(), KernelsError> {
        Self::named_by_env().map(|_| ())
    }

    fn named_by_env() -> std::result::Result<Option<Self>, KernelsError> {
        Isa::from_env()?;
        let Some(name) = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let name = name.to_string_lossy();
        match name.to_ascii_lowercase().as_str() {
            "own" => Ok(Some(Self::Own)),
            "candle" => Ok(Some(Self::Candle)),
            _ => Err(KernelsError::Unknown(name.into_owned())),
        }
    }

    /// The sum of two tensors of one shape: a layer's output and what it began with.
    pub fn add(self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        match self {
            Self::Own => cpu_ops::add(x, y),
            Self::Candle => x + y,
        }
    }

    /// The product of two tensors of one shape, number by number: what a gate lets through.
    pub fn multiply(self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        match self {
            Self::Own => cpu_ops::multiply(x, y),
            Self::Candle => x * y,
        }
    }

    /// `torch.nn.LayerNorm` over the last dimension; `weight` and `bias` are `[size]`.
    pub fn layer_norm(self, x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
        match self {
            Self::Own => cpu_ops::layer_norm(x, weight, bias, eps),
            Self::Candle => layer_norm_by_candle(x, weight, bias, eps),
        }
    }

    /// See [`RmsNorm`](super::norm::RmsNorm); `weight` is `[size]`.
    pub fn rms_norm(self, x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
        match self {
            Self::Own => cpu_ops::rms_norm(x, weight, eps),
            Self::Candle => rms_norm_by_candle(x, weight, eps),
        }
    }

    /// An activation of every element.
    pub fn activate(self, activation: Activation, x: &Tensor) -> Result<Tensor> {
        match (self, activation.kernel()) {
            (Self::Own, Some(kernel)) => cpu_ops::activate(x, kernel),
            _ => activation.by_candle(x),
        }
    }

    /// See [`Attention::forward`](super::attention::Attention::forward).
    pub fn attend(
        self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        scale: f64,
        mask: Option<&Mask>,
        weights: WeightFormat,
    ) -> Result<Tensor> {
        match (self, mask) {
            (Self::Own, mask) => cpu_ops::attend(q, k, v, scale as f32, mask, weights),
            (Self::Candle, None) => attend_by_products(q, k, v, scale, None),
            (Self::Candle, Some(Mask::Each(mask))) => attend_by_products(q, k, v, scale, Some(mask)),
            (Self::Candle, Some(Mask::ByDistance(_))) => candle_core::bail!("distances are for our own kernels"),
        }
    }
}

/// candle takes the variance as the mean square less the squared mean, in one pass. In f32 that
/// loses digits where the mean is large beside the spread, as in rows of OPT and of the ViT, so that
/// the mean is taken away before. In half precision the numbers' own rounding loses more: its eleven
/// bits at most are gone before twice their distance from the mean exceeds f32's 24.
fn layer_norm_by_candle(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    let x = match x.dtype() {
        DType::F32 => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
        _ => x.contiguous()?,
    };
    cuda_rules::layer_norm(&x, weight, bias, eps)
}

/// candle's own kernel computes in the dtype of `x`, T5's norm always in f32.
fn rms_norm_by_candle(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    let x = x.to_dtype(DType::F32)?;
    let variance = x.sqr()?.mean_keepdim(D::Minus1)?;
    let normed = x.broadcast_div(&(variance + f64::from(eps))?.sqrt()?)?;
    normed.to_dtype(weight.dtype())?.broadcast_mul(weight)
}

/// Attention as candle's products.
pub(super) fn attend_by_products(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    scale: f64,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    // The queries are scaled, not the scores, as the reference does; in half precision it shows.
    let keys = cuda_rules::factor(&k.transpose(D::Minus2, D::Minus1)?)?;
    let scores = cuda_rules::matmul(&(q * scale)?, &keys)?.to_dtype(DType::F32)?;
    let scores = match mask {
        Some(mask) => scores.broadcast_add(mask)?,
        None => scores,
    };
    let weights = cuda_rules::softmax_last_dim(&scores)?.to_dtype(v.dtype())?;
    // A cache with room for more is multiplied where it lies.
    cuda_rules::matmul(&weights, &cuda_rules::factor(v)?)?
        .transpose(1, 2)?
        .contiguous()?
        .flatten_from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_far_from_zero_costs_layer_norm_no_digits() -> Result<()> {
        const SIZE: usize = 640;
        let spread: Vec<f64> = (0..SIZE).map(|i| (i as f64 * 0.7).sin()).collect();
        let row: Vec<f32> = spread.iter().map(|number| (3000.0 + number) as f32).collect();
        let exact: Vec<f64> = row.iter().map(|number| f64::from(*number)).collect();
        let mean = exact.iter().sum::<f64>() / SIZE as f64;
        let variance = exact.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / SIZE as f64;
        let x = Tensor::from_vec(row, (1, SIZE), &Device::Cpu)?;
        let (weight, bias) = (
            Tensor::ones(SIZE, DType::F32, &Device::Cpu)?,
            Tensor::zeros(SIZE, DType::F32, &Device::Cpu)?,
        );
        for kernels in [Kernels::Own, Kernels::Candle] {
            let normed = kernels
                .layer_norm(&x, &weight, &bias, 1e-5)?
                .flatten_all()?
                .to_vec1::<f32>()?;
            for (got, number) in normed.iter().zip(&exact) {
                let want = (number - mean) / (variance + 1e-5).sqrt();
                assert!(
                    (f64::from(*got) - want).abs() < 1e-3,
                    "{kernels:?}: {got} instead of {want}"
                );
            }
        }
        Ok(())
    }
}
