//! `--dtype`: how a model's weights are stored.

use std::str::FromStr;

use candle_core::Device;

use super::inventory::parameters;
use crate::blip2::config::{Blip2Config, LanguageModelConfig};
use crate::cpu::WeightFormat;
use crate::nn::{Kernels, Precision};

/// A word that names no dtype.
#[derive(Debug, thiserror::Error)]
#[error("use auto, f32, f16, bf16, q8_0, q4_0 or q4_k")]
pub struct UnknownDtype;

/// The value of `--dtype`: how weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtypeChoice {
    /// On a GPU f16 (with the Q-Former in f32), but bf16 with T5, which was trained in it and
    /// whose numbers are too large for f16. On the CPU f32 for a small model, which is
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
    pub fn resolve(self, device: &Device, config: &Blip2Config) -> WeightFormat {
        match self {
            Self::Format(format) => format,
            Self::Auto if !device.is_cpu() => half_precision(config),
            Self::Auto if parameters(config) >= LARGE => WeightFormat::Q8_0,
            Self::Auto => WeightFormat::F32,
        }
    }
}

/// The 16-bit format that a model loses least in.
fn half_precision(config: &Blip2Config) -> WeightFormat {
    match config.text_config {
        LanguageModelConfig::Opt(_) => WeightFormat::F16,
        LanguageModelConfig::T5(_) => WeightFormat::Bf16,
    }
}

/// What `--dtype` can mean on this device, the most memory first.
pub fn offered_precisions(device: &Device) -> Vec<Precision> {
    WeightFormat::ALL
        .into_iter()
        .map(|format| Precision::new(format, Kernels::of(device)))
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
            assert_eq!(half_precision(&known.config), expected, "{}", known.id);
        }
    }

    #[test]
    fn auto_is_exact_for_a_small_model_and_small_for_a_large_one() {
        let auto = |config: &Blip2Config| DtypeChoice::Auto.resolve(&Device::Cpu, config);
        let demo = Checkpoint::demo().expect("it is part of the program");
        assert_eq!(auto(demo.config()), WeightFormat::F32);
        assert!(known().iter().all(|known| auto(&known.config) == WeightFormat::Q8_0));
    }
}
