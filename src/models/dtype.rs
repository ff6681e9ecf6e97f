//! `--dtype`: how a model's weights are stored.

use std::str::FromStr;

use candle_core::{DType, Device};

use super::ModelConfig;
use super::device::Capability;
use super::inventory::parameters;
use crate::cpu::WeightFormat;
use crate::nn::cuda_rules::least_capability;
use crate::nn::{Kernels, Precision};

/// A word that names no dtype.
#[derive(Debug, thiserror::Error)]
#[error("use auto, f32, f16, bf16, q8_0, q4_0 or q4_k")]
pub struct UnknownDtype;

/// A dtype that the device has no kernels for.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} needs a GPU of compute capability {1} or later, and this one has {2}. Use --dtype f16, or f32 where that fits."
)]
pub struct UnsupportedDtype(&'static str, Capability, Capability);

/// The value of `--dtype`: how weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtypeChoice {
    /// On a GPU f16 (with the Q-Former in f32), but with T5, whose numbers are too large for f16,
    /// bf16, which it was trained in, or f32 where the GPU knows no bf16. On the CPU f32 for a small model, which is
    /// fast in any dtype, and q8_0 for a large one, whose answers wait for its weights to be
    /// read: a quarter of the bytes, and as near to f32 as the reference's bf16 is.
    Auto,
    Format(WeightFormat),
}

/// Parameters from which on a model is large.
const LARGE: u64 = 250_000_000;

impl FromStr for DtypeChoice {
    type Err = UnknownDtype;

    fn from_str(text: &str) -> Result<Self, UnknownDtype> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::Format).map_err(|()| UnknownDtype)
    }
}

impl DtypeChoice {
    /// How the weights of this model are stored on this device.
    ///
    /// # Errors
    /// A format by name that the GPU has no kernels for.
    pub fn resolve(self, device: &Device, config: &ModelConfig) -> Result<WeightFormat, UnsupportedDtype> {
        let capability = Capability::of(device);
        match self {
            Self::Format(format) => check_format(format, capability).map(|()| format),
            Self::Auto if !device.is_cpu() => Ok(on_a_gpu(config, capability)),
            Self::Auto if parameters(config) >= LARGE => Ok(WeightFormat::Q8_0),
            Self::Auto => Ok(WeightFormat::F32),
        }
    }
}

/// Whether a GPU of this capability computes with weights stored like this.
fn check_format(format: WeightFormat, capability: Option<Capability>) -> Result<(), UnsupportedDtype> {
    let Some(capability) = capability else { return Ok(()) };
    let dtype = match format {
        WeightFormat::Bf16 => DType::BF16,
        WeightFormat::F32 => DType::F32,
        _ => DType::F16,
    };
    let (major, minor) = least_capability(dtype);
    let least = Capability { major, minor };
    if capability < least {
        return Err(UnsupportedDtype(format.name(), least, capability));
    }
    Ok(())
}

/// The 16-bit format that a model loses least in, where the GPU knows it.
fn on_a_gpu(config: &ModelConfig, capability: Option<Capability>) -> WeightFormat {
    match config.needs_bf16() {
        false => WeightFormat::F16,
        true => match check_format(WeightFormat::Bf16, capability) {
            Ok(()) => WeightFormat::Bf16,
            Err(reason) => {
                tracing::warn!("the model computes in f32, since T5's numbers are too large for f16: {reason}");
                WeightFormat::F32
            }
        },
    }
}

/// What `--dtype` can mean on this device, the most memory first.
pub fn offered_precisions(device: &Device) -> Vec<Precision> {
    let capability = Capability::of(device);
    WeightFormat::ALL
        .into_iter()
        .filter(|format| check_format(*format, capability).is_ok())
        .map(|format| Precision::new(format, Kernels::of(device), device))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Checkpoint, known};

    #[test]
    fn dtypes_are_read_as_the_help_says() {
        assert_eq!(
            "Q4_K".parse::<DtypeChoice>().ok(),
            Some(DtypeChoice::Format(WeightFormat::Q4K))
        );
        for wrong in ["", "fp16", "q8", "int8"] {
            assert!(wrong.parse::<DtypeChoice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn on_a_gpu_auto_is_the_half_precision_that_the_language_model_was_made_for() {
        for known in known() {
            let is_t5 = known.id.contains("t5");
            let expected = if is_t5 { WeightFormat::Bf16 } else { WeightFormat::F16 };
            for capability in [None, Some(Capability { major: 8, minor: 0 })] {
                assert_eq!(on_a_gpu(&known.config, capability), expected, "{}", known.id);
            }
        }
    }

    #[test]
    fn a_gpu_without_bf16_runs_t5_in_f32_and_says_why_bf16_is_not_had() {
        let t4 = Some(Capability { major: 7, minor: 5 });
        for known in known() {
            let is_t5 = known.id.contains("t5");
            let expected = if is_t5 { WeightFormat::F32 } else { WeightFormat::F16 };
            assert_eq!(on_a_gpu(&known.config, t4), expected, "{}", known.id);
        }
        let refused = check_format(WeightFormat::Bf16, t4)
            .expect_err("a T4 has none")
            .to_string();
        assert!(
            refused.contains("8.0 or later, and this one has 7.5") && refused.contains("--dtype f16"),
            "{refused}"
        );
        for format in [WeightFormat::F32, WeightFormat::F16, WeightFormat::Q8_0] {
            assert!(check_format(format, t4).is_ok(), "{}", format.name());
        }
    }

    #[test]
    fn auto_is_exact_for_a_small_model_and_small_for_a_large_one() {
        let auto = |config: &ModelConfig| DtypeChoice::Auto.resolve(&Device::Cpu, config).expect("auto is had");
        let demo = Checkpoint::demo().expect("it is part of the program");
        assert_eq!(auto(demo.config()), WeightFormat::F32);
        for known in known() {
            let is_small = parameters(&known.config) < LARGE;
            let expected = if is_small {
                WeightFormat::F32
            } else {
                WeightFormat::Q8_0
            };
            assert_eq!(auto(&known.config), expected, "{}", known.id);
        }
    }
}
