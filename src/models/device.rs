//! `--device`: where a model runs.

use std::str::FromStr;

use candle_core::Device;

/// Why a device cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("use auto, cpu, cuda, cuda:N or metal")]
    UnknownDevice,
    #[error("This glimpse was built without {0}. Build it with `{1}`, or use --device cpu.")]
    NotBuiltIn(&'static str, &'static str),
    #[error("{device} cannot be used: {reason}. Use --device cpu to run without it.")]
    Unavailable { device: String, reason: String },
    #[error(
        "This glimpse was built for GPUs of compute capability {built}{later}, and {device} has {card}. Build it with `CUDA_COMPUTE_CAP={needed} make build-cuda`, or use --device cpu."
    )]
    OtherCapability {
        device: String,
        built: Capability,
        later: &'static str,
        card: Capability,
        /// What the build is to be told.
        needed: String,
    },
}

/// What an NVIDIA GPU can do, as its maker numbers it: 7.5 is a T4, 8.0 an A100, 9.0 an H100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    pub major: u32,
    pub minor: u32,
}

impl std::fmt::Display for Capability {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Capability {
    /// From the digits that `CUDA_COMPUTE_CAP` has: `80`, `90a`.
    fn from_digits(digits: &str) -> Option<Self> {
        let number: u32 = digits
            .trim_end_matches(|letter: char| letter.is_ascii_lowercase())
            .parse()
            .ok()?;
        Some(Self {
            major: number / 10,
            minor: number % 10,
        })
    }

    /// Of a CUDA device; others have none.
    pub fn of(device: &Device) -> Option<Self> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(cuda) => {
                let (major, minor) = cuda.cuda_stream().context().compute_capability().ok()?;
                Some(Self {
                    major: major.try_into().ok()?,
                    minor: minor.try_into().ok()?,
                })
            }
            _ => None,
        }
    }
}

/// What `scripts/build-cuda.sh` compiled candle's kernels for.
const BUILT_FOR: Option<&str> = option_env!("CUDA_COMPUTE_CAP");

/// From this capability on kernels are compiled for one GPU alone, and not for later ones.
const FOR_ONE_ALONE: Capability = Capability { major: 9, minor: 0 };

/// Whether kernels that were compiled for one capability run on a card. The driver would say no
/// more than that there is no image for it, at the first kernel.
fn check_capability(device: &str, built: Option<Capability>, card: Capability) -> Result<(), DeviceError> {
    let Some(built) = built else { return Ok(()) };
    let is_for_one = built >= FOR_ONE_ALONE;
    if card == built || (card > built && !is_for_one) {
        return Ok(());
    }
    Err(DeviceError::OtherCapability {
        device: device.to_owned(),
        built,
        later: if is_for_one { " alone" } else { " and later" },
        card,
        needed: format!("{}{}", card.major, card.minor),
    })
}

/// The value of `--device`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// CUDA or Metal where this program has it and the host has one, else the CPU.
    Auto,
    Cpu,
    /// The GPU of this number, counted from 0 as CUDA does.
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
            Self::Auto => Ok(open_cuda(0)
                .inspect_err(|error| {
                    // Who has a GPU wants to know why it is not used.
                    if matches!(error, DeviceError::OtherCapability { .. }) {
                        tracing::warn!("{error}");
                    }
                })
                .or_else(|_| open_metal())
                .unwrap_or(Device::Cpu)),
        }
    }
}

fn open_cuda(index: usize) -> Result<Device, DeviceError> {
    if !cfg!(feature = "cuda") {
        return Err(DeviceError::NotBuiltIn("CUDA", "make build-cuda"));
    }
    let name = format!("cuda:{index}");
    let device = Device::new_cuda(index).map_err(|error| unavailable(name.clone(), &error))?;
    if let Some(card) = Capability::of(&device) {
        check_capability(&name, BUILT_FOR.and_then(Capability::from_digits), card)?;
    }
    Ok(device)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_that_the_kernels_were_not_compiled_for_is_told_in_a_sentence() {
        let capability = |digits| Capability::from_digits(digits).expect("they are digits");
        let check = |built: &str, card| check_capability("cuda:0", Capability::from_digits(built), capability(card));
        for (built, card) in [
            ("80", "80"),
            ("80", "86"),
            ("80", "90"),
            ("75", "75"),
            ("75", "120"),
            ("90", "90"),
        ] {
            assert!(check(built, card).is_ok(), "{built} on {card}");
        }
        let sentence = check("80", "75").expect_err("a T4 is older").to_string();
        assert!(
            sentence.contains("8.0 and later, and cuda:0 has 7.5") && sentence.contains("CUDA_COMPUTE_CAP=75"),
            "{sentence}"
        );
        let sentence = check("90a", "120").expect_err("it is for an H100").to_string();
        assert!(
            sentence.contains("9.0 alone, and cuda:0 has 12.0") && sentence.contains("CUDA_COMPUTE_CAP=120"),
            "{sentence}"
        );
        assert!(check("unknown", "75").is_ok());
        assert_eq!(Capability::of(&Device::Cpu), None);
    }

    #[test]
    fn devices_are_read_as_the_help_says() {
        assert_eq!("cuda:1".parse::<DeviceChoice>().ok(), Some(DeviceChoice::Cuda(1)));
        assert_eq!("CPU".parse::<DeviceChoice>().ok(), Some(DeviceChoice::Cpu));
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cuda:-1"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }
}
