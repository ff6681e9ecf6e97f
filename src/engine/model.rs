//! A model that is ready to answer: weights and processor.

use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;

use crate::blip2::Blip2;
use crate::blip2::config::Blip2Config;
use crate::checkpoint::memory::estimate;
use crate::checkpoint::{CheckpointError, MemoryLimit, Outline, Source, machine};
use crate::cpu::WeightFormat;
use crate::nn::kernels::KernelsError;
use crate::nn::{Kernels, Placement, Precision};
use crate::processor::Processor;

use super::allocator;
use super::device::{DeviceChoice, DeviceError, DtypeChoice, device_name};

/// The least that the keys and values of a question may take, however full the memory is.
const LEAST_CACHE: u64 = 512_000_000;

/// What the limit leaves behind the weights.
fn cache_budget(limit: u64, weights: u64) -> u64 {
    limit.saturating_sub(weights).max(LEAST_CACHE)
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Kernels(#[from] KernelsError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// What others may know of the model.
#[derive(Clone, Debug)]
pub struct ModelDescription {
    pub name: String,
    pub device: String,
    pub dtype: String,
    pub is_demo: bool,
    /// Opening and loading, in milliseconds.
    pub load_ms: f64,
}

/// A loaded model with its processor.
pub struct Model {
    pub(super) blip2: Blip2,
    pub(super) processor: Arc<Processor>,
    description: ModelDescription,
}

impl Model {
    /// Finds, downloads and loads a checkpoint.
    ///
    /// `max_memory` is how many bytes it may take; without it, as many as the device has free.
    ///
    /// # Errors
    /// Everything that can be known before is said before the weights are downloaded or read:
    /// a config that Glimpse cannot run, a model that does not fit.
    pub fn load(
        source: &Source,
        device: DeviceChoice,
        dtype: DtypeChoice,
        max_memory: Option<u64>,
    ) -> Result<Self, LoadError> {
        let start = Instant::now();
        allocator::keep_freed_memory();
        let device = device.open()?;
        let limit = max_memory
            .map(MemoryLimit::chosen)
            .or_else(|| machine::available(&device));
        let offered = offered_precisions(&device);
        let outline = Outline::find(source)?;
        let placement = Placement::new(device.clone(), dtype.resolve(&device, outline.config()))?;
        let precision = placement.precision;
        let check = |name: &str, config: &Blip2Config, with_head: bool| match &limit {
            Some(limit) => limit.check(name, (config, with_head), precision, &offered),
            None => Ok(()),
        };
        check(
            outline.name(),
            outline.config(),
            outline.config().text_config.expects_head(),
        )?;
        let checkpoint = outline.open()?;
        check(checkpoint.name(), checkpoint.config(), checkpoint.has_head())?;
        let processor = Arc::new(Processor::load(&checkpoint)?);
        let mut blip2 = Blip2::load(&checkpoint, &placement)?;
        if let Some(limit) = &limit {
            let needed = estimate(checkpoint.config(), checkpoint.has_head(), precision);
            blip2.limit_cache(cache_budget(limit.bytes, needed.weights));
        }
        let description = ModelDescription {
            name: checkpoint.name().to_string(),
            device: device_name(&device),
            dtype: precision.weights.name().to_string(),
            is_demo: checkpoint.is_demo(),
            load_ms: start.elapsed().as_secs_f64() * 1e3,
        };
        Ok(Self {
            blip2,
            processor,
            description,
        })
    }

    pub fn description(&self) -> &ModelDescription {
        &self.description
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

    #[test]
    fn questions_have_what_the_weights_leave_and_half_a_gigabyte_at_least() {
        assert_eq!(cache_budget(16_000_000_000, 15_000_000_000), 1_000_000_000);
        assert_eq!(cache_budget(15_100_000_000, 15_000_000_000), LEAST_CACHE);
        assert_eq!(cache_budget(1, 2), LEAST_CACHE);
    }
}
