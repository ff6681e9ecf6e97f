//! Options that several commands share.

use std::path::PathBuf;

use clap::Args;

use super::UsageError;
use crate::blip2::generation::GenerationOptions;
use crate::engine::{DeviceChoice, DtypeChoice, LoadError, Model};

/// Which model answers, and where it runs.
#[derive(Args, Clone)]
pub struct ModelArgs {
    /// A folder with a BLIP-2 checkpoint as Hugging Face lays it out
    /// [default: the small demo model that is part of this program]
    #[arg(long, env = "GLIMPSE_MODEL", value_name = "DIR")]
    model: Option<PathBuf>,

    /// auto, cpu, cuda, cuda:N or metal; auto takes a GPU if this program and the machine have one
    #[arg(long, env = "GLIMPSE_DEVICE", default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,

    /// auto, f32, f16, bf16, q8_0, q4_0 or q4_k: how weights are stored;
    /// auto is f32 on the CPU, and f16 with the Q-Former in f32 on a GPU
    #[arg(long, env = "GLIMPSE_DTYPE", default_value = "auto", value_name = "DTYPE")]
    dtype: DtypeChoice,
}

impl ModelArgs {
    /// Loads the model, and says where it runs.
    pub fn load(self) -> Result<Model, LoadError> {
        let folder = self.model;
        match &folder {
            Some(folder) => tracing::info!("loading {}", folder.display()),
            None => tracing::info!("loading the demo model"),
        }
        let model = Model::load(folder, self.device, self.dtype)?;
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
