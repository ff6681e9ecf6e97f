//! How a network computes: number formats, device, kernels.

use candle_core::{DType, Device};

use super::kernels::{Kernels, KernelsError};
use super::linear::quantised_as;
use crate::cpu::WeightFormat;

/// In which dtype a network computes, how the matrices of its linear layers are stored, and what
/// multiplies them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precision {
    /// What flows between the layers.
    pub dtype: DType,
    /// Of the linear layers' matrices, and of the token table.
    pub weights: WeightFormat,
    pub kernels: Kernels,
}

impl Precision {
    /// f32 throughout, by our own kernels.
    pub const F32: Self = Self {
        dtype: DType::F32,
        weights: WeightFormat::F32,
        kernels: Kernels::Own,
    };

    /// The precision of weights stored like this on a device. With our own kernels everything but
    /// the weights is f32; candle's quantised products take f16, but for Metal's.
    pub fn new(weights: WeightFormat, kernels: Kernels, device: &Device) -> Self {
        let dtype = match (kernels, weights) {
            (Kernels::Own, _) | (_, WeightFormat::F32) => DType::F32,
            (Kernels::Candle, WeightFormat::Bf16) => DType::BF16,
            (Kernels::Candle, quantised) if quantised.is_quantised() && device.is_metal() => DType::F32,
            (Kernels::Candle, _) => DType::F16,
        };
        Self {
            dtype,
            weights,
            kernels,
        }
    }

    /// The same kernels with everything in f32.
    pub fn in_f32(self) -> Self {
        Self {
            kernels: self.kernels,
            ..Self::F32
        }
    }

    /// Bytes of a matrix with a row for each step of its first dimension, as it is stored.
    pub fn matrix_bytes(self, shape: &[usize]) -> u128 {
        let numbers = shape
            .iter()
            .fold(1u128, |product, size| product.saturating_mul(*size as u128));
        if self.kernels == Kernels::Own {
            // A block is 32 outputs by 32 inputs.
            return numbers.saturating_mul(self.weights.block_bytes() as u128) / 1024;
        }
        match quantised_as(self.weights, &shape.into()) {
            Some(ggml) => numbers / ggml.block_size() as u128 * ggml.type_size() as u128,
            None => numbers.saturating_mul(self.dtype.size_in_bytes() as u128),
        }
    }

    /// The name that `--dtype` has for it.
    pub fn name(self) -> &'static str {
        self.weights.name()
    }
}

/// Where and how a network computes, chosen once when it is loaded.
#[derive(Clone, Debug)]
pub struct Placement {
    pub device: Device,
    pub precision: Precision,
}

impl Placement {
    /// On the CPU with our own kernels.
    pub fn cpu(weights: WeightFormat) -> Self {
        Self::with_kernels(Device::Cpu, weights, Kernels::Own)
    }

    /// On a device, with the kernels that suit it or that the environment names.
    ///
    /// # Errors
    /// See [`Kernels::from_env`].
    pub fn new(device: Device, weights: WeightFormat) -> Result<Self, KernelsError> {
        let kernels = Kernels::from_env(&device)?;
        Ok(Self::with_kernels(device, weights, kernels))
    }

    /// With these kernels; our own are for the CPU alone.
    pub fn with_kernels(device: Device, weights: WeightFormat, kernels: Kernels) -> Self {
        Self {
            precision: Precision::new(weights, kernels, &device),
            device,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_the_layers_our_kernels_compute_in_f32() {
        for format in WeightFormat::ALL {
            let precision = Precision::new(format, Kernels::Own, &Device::Cpu);
            assert_eq!((precision.dtype, precision.weights), (DType::F32, format));
        }
    }

    #[test]
    fn rows_that_are_no_whole_blocks_are_counted_as_they_are_stored() {
        let candle = |weights| Precision::new(weights, Kernels::Candle, &Device::Cpu);
        // 1408 is the ViT's width: 44 blocks of 32, and no whole number of 256.
        assert_eq!(candle(WeightFormat::Q8_0).matrix_bytes(&[10, 1408]), 10 * 44 * 34);
        assert_eq!(candle(WeightFormat::Q4_0).matrix_bytes(&[10, 1408]), 10 * 44 * 18);
        assert_eq!(candle(WeightFormat::Q4K).matrix_bytes(&[10, 1408]), 10 * 1408 * 2);
        assert_eq!(candle(WeightFormat::Q4K).matrix_bytes(&[10, 2560]), 10 * 10 * 144);
        // A patch's pixels, of all colours.
        assert_eq!(candle(WeightFormat::Q8_0).matrix_bytes(&[10, 3, 14, 14]), 10 * 588 * 2);
        assert_eq!(candle(WeightFormat::Q8_0).in_f32().matrix_bytes(&[10, 64]), 10 * 64 * 4);
        let own = Precision::new(WeightFormat::Q4K, Kernels::Own, &Device::Cpu);
        assert_eq!(
            own.matrix_bytes(&[32, 1408]),
            44 * WeightFormat::Q4K.block_bytes() as u128
        );
    }
}
