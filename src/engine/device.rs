//! Where the model runs, and in which number format.

use std::str::FromStr;

use candle_core::Device;

use crate::blip2::config::{Blip2Config, LanguageModelConfig};
use crate::checkpoint::inventory::parameters;
use crate::cpu::WeightFormat;

/// Why a device or dtype cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("use auto, cpu, cuda, cuda:N or metal")]
    UnknownDevice,
    #[error("use auto, f32, f16, bf16, q8_0, q4_0 or q4_k")]
    UnknownDtype,
    #[error("This glimpse was built without {0}. Build it with `{1}`, or use --device cpu.")]
    NotBuiltIn(&'static str, &'static str),
    #[error("{device} cannot be used: {reason}. Use --device cpu to run without it.")]
    Unavailable { device: String, reason: String },
}

/// The value of `--device`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// CUDA or Metal where this program has it and the host has one, else the CPU.
    Auto,
    Cpu,
    Cuda(usize),
    Metal,
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::UnknownDevice;
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            other => {
                let index = other.strip_prefix("cuda:").ok_or_else(unknown)?;
                index.parse().map(Self::Cuda).map_err(|_| unknown())
            }
        }
    }
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// A device that was asked for by name and is not there; `Auto` never fails.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(index) => open_cuda(index),
            Self::Metal => open_metal(),
            Self::Auto => Ok(open_cuda(0).or_else(|_| open_metal()).unwrap_or(Device::Cpu)),
        }
    }
}

fn open_cuda(index: usize) -> Result<Device, DeviceError> {
    if !cfg!(feature = "cuda") {
        return Err(DeviceError::NotBuiltIn("CUDA", "make build-cuda"));
    }
    Device::new_cuda(index).map_err(|error| unavailable(format!("cuda:{index}"), &error))
}

fn open_metal() -> Result<Device, DeviceError> {
    if !cfg!(feature = "metal") {
        return Err(DeviceError::NotBuiltIn(
            "Metal",
            "cargo build --release --features metal",
        ));
    }
    Device::new_metal(0).map_err(|error| unavailable("metal".into(), &error))
}

fn unavailable(device: String, error: &candle_core::Error) -> DeviceError {
    let reason = error.to_string().lines().next().unwrap_or_default().to_string();
    DeviceError::Unavailable { device, reason }
}

/// What the device is called on the status line.
pub fn device_name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu => "CPU".into(),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("CUDA {gpu_id}"),
        candle_core::DeviceLocation::Metal { gpu_id } => format!("Metal {gpu_id}"),
    }
}

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
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::Format).map_err(|()| DeviceError::UnknownDtype)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_the_help_says() {
        assert_eq!("cuda:1".parse::<DeviceChoice>().ok(), Some(DeviceChoice::Cuda(1)));
        assert_eq!("CPU".parse::<DeviceChoice>().ok(), Some(DeviceChoice::Cpu));
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cuda:-1"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }

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
        for known in crate::checkpoint::known() {
            let is_t5 = known.id.contains("t5");
            let expected = if is_t5 { WeightFormat::Bf16 } else { WeightFormat::F16 };
            assert_eq!(half_precision(&known.config), expected, "{}", known.id);
        }
    }

    #[test]
    fn auto_is_exact_for_a_small_model_and_small_for_a_large_one() {
        let auto = |config: &Blip2Config| DtypeChoice::Auto.resolve(&Device::Cpu, config);
        let demo = crate::checkpoint::Checkpoint::demo().expect("it is part of the program");
        assert_eq!(auto(demo.config()), WeightFormat::F32);
        assert!(
            crate::checkpoint::known()
                .iter()
                .all(|known| auto(&known.config) == WeightFormat::Q8_0)
        );
    }
}
