//! Options that several commands share.

use std::str::FromStr;

use clap::Args;

use super::UsageError;
use crate::blip2::generation::GenerationOptions;
use crate::checkpoint::memory::WeightFormat;
use crate::checkpoint::{CheckpointError, MemoryLimit, Source, machine};
use crate::engine::{DeviceChoice, DeviceError, DtypeChoice, LoadError, Model, offered_formats};

/// Which model answers, and where it runs.
#[derive(Args, Clone)]
pub struct ModelArgs {
    /// A folder with a BLIP-2 checkpoint, or its id on the Hugging Face hub (owner/name or
    /// owner/name@revision), as `glimpse models` lists them; a folder that exists wins
    /// [default: the small demo model that is part of this program]
    #[arg(long, env = "GLIMPSE_MODEL", value_name = "ID|DIR")]
    model: Option<String>,

    #[command(flatten)]
    place: PlaceArgs,

    /// auto, f32, f16 or bf16; auto is f32 on the CPU, and f16 with the Q-Former in f32 on a GPU
    #[arg(long, env = "GLIMPSE_DTYPE", default_value = "auto", value_name = "DTYPE")]
    dtype: DtypeChoice,
}

/// Where a model is to run, and how much of it may be taken.
#[derive(Args, Clone)]
pub struct PlaceArgs {
    /// auto, cpu, cuda, cuda:N or metal; auto takes a GPU if this program and the machine have one
    #[arg(long, env = "GLIMPSE_DEVICE", default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,

    /// How much memory the model may take, as in 12GB
    /// [default: what is free where it runs]
    #[arg(long, env = "GLIMPSE_MAX_MEMORY", value_name = "SIZE")]
    pub max_memory: Option<Bytes>,
}

impl ModelArgs {
    /// Loads the model, and says where it runs.
    pub fn load(self) -> Result<Model, LoadError> {
        let source = self.source()?;
        tracing::info!("loading {source}");
        let model = Model::load(&source, self.place.device, self.dtype, self.place.max_bytes())?;
        let about = model.description();
        tracing::info!(
            "{} on {} in {}, loaded in {:.0} ms",
            about.name,
            about.device,
            about.dtype,
            about.load_ms
        );
        Ok(model)
    }

    fn source(&self) -> Result<Source, CheckpointError> {
        self.model.as_deref().map_or(Ok(Source::Demo), str::parse)
    }
}

impl PlaceArgs {
    /// The bytes that the user allows.
    pub fn max_bytes(&self) -> Option<u64> {
        self.max_memory.map(|size| size.0)
    }

    /// What fits there: the memory, and the formats that may be chosen.
    pub fn look(&self) -> Result<(Option<MemoryLimit>, Vec<WeightFormat>), DeviceError> {
        let device = self.device.open()?;
        let limit = self.max_bytes().map(MemoryLimit::chosen);
        Ok((limit.or_else(|| machine::available(&device)), offered_formats(&device)))
    }
}

/// A number of bytes, written as people do: `12GB`, `8GiB`, `500M`, or plain.
#[derive(Clone, Copy)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "write a number of bytes, as 12GB, 8GiB or 500M";
        let text = text.trim().to_ascii_lowercase();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
        let unit: f64 = match text[digits.len()..].trim_start() {
            "" | "b" => 1.0,
            "k" | "kb" => 1e3,
            "m" | "mb" => 1e6,
            "g" | "gb" => 1e9,
            "kib" => 1024.0,
            "mib" => 1024.0 * 1024.0,
            "gib" => 1024.0 * 1024.0 * 1024.0,
            _ => return Err(wrong),
        };
        let number: f64 = digits.parse().map_err(|_| wrong)?;
        if number.is_finite() && number > 0.0 {
            Ok(Self((number * unit) as u64))
        } else {
            Err(wrong)
        }
    }
}

/// How answers are generated; named as in transformers' `generate`.
#[derive(Args, Clone)]
pub struct GenerationArgs {
    /// The most tokens an answer may have
    #[arg(long, env = "GLIMPSE_MAX_NEW_TOKENS", default_value_t = 50, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    max_new_tokens: u16,

    /// The fewest tokens before an answer may end
    #[arg(long, env = "GLIMPSE_MIN_NEW_TOKENS", default_value_t = 0, value_name = "N",
          value_parser = clap::value_parser!(u16).range(0..=4096))]
    min_new_tokens: u16,
}

impl GenerationArgs {
    /// # Errors
    /// A minimum above the maximum.
    pub fn options(&self) -> Result<GenerationOptions, UsageError> {
        if self.min_new_tokens > self.max_new_tokens {
            return Err(UsageError(format!(
                "--min-new-tokens {} is more than --max-new-tokens {}. Raise the one or lower the other.",
                self.min_new_tokens, self.max_new_tokens
            )));
        }
        Ok(GenerationOptions {
            max_new_tokens: self.max_new_tokens.into(),
            min_new_tokens: self.min_new_tokens.into(),
        })
    }
}
