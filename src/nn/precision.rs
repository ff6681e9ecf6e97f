//! How a network computes: number formats, device, kernels.

use candle_core::{DType, Device};

use super::kernels::{Kernels, KernelsError};
use crate::cpu::WeightFormat;

/// In which dtype a network computes, and how the matrices of its linear layers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precision {
    /// What flows between the layers.
    pub dtype: DType,
    pub weights: WeightFormat,
}

impl Precision {
    pub const F32: Self = Self {
        dtype: DType::F32,
        weights: WeightFormat::F32,
    };

    /// The precision of weights stored like this. With our own kernels everything but the
    /// weights is f32.
    pub fn new(weights: WeightFormat, kernels: Kernels) -> Self {
        let dtype = match (kernels, weights) {
            (Kernels::Candle, WeightFormat::F16) => DType::F16,
            (Kernels::Candle, WeightFormat::Bf16) => DType::BF16,
            _ => DType::F32,
        };
        Self { dtype, weights }
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
    pub kernels: Kernels,
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
            device,
            precision: Precision::new(weights, kernels),
            kernels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_the_layers_our_kernels_compute_in_f32() {
        for format in WeightFormat::ALL {
            let precision = Precision::new(format, Kernels::Own);
            assert_eq!((precision.dtype, precision.weights), (DType::F32, format));
        }
    }
}
