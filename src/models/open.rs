//! Opening a model: found, weighed, downloaded, loaded.

use std::sync::Arc;
use std::time::Instant;

use super::device::device_name;
use super::memory_estimate::estimate;
use super::{
    CheckpointMetadata, DeviceChoice, DtypeChoice, LoadError, MemoryLimit, allocator, available_memory,
    offered_precisions,
};
use crate::blip2::Blip2;
use crate::blip2::config::Blip2Config;
use crate::blip2::precision::of_model;
use crate::checkpoint::{Progress, Source, progress};
use crate::nn::Placement;
use crate::processor::Processor;

/// The least that the keys and values of a question may take, however full the memory is.
const LEAST_CACHE: u64 = 512_000_000;

/// Which model is asked for, and where it is to run.
pub struct ModelRequest {
    pub source: Source,
    pub device: DeviceChoice,
    pub dtype: DtypeChoice,
    /// How many bytes it may take; without it, as many as the device has free.
    pub max_memory: Option<u64>,
    /// Who hears of downloads and of loading.
    pub progress: Arc<dyn Progress>,
}

impl ModelRequest {
    /// A model on the CPU, without a limit of its own and without progress shown.
    pub fn on_cpu(source: Source, dtype: DtypeChoice) -> Self {
        Self {
            source,
            device: DeviceChoice::Cpu,
            dtype,
            max_memory: None,
            progress: progress::silent(),
        }
    }
}

/// A model that is loaded, with what stands before it.
pub struct OpenModel {
    pub blip2: Blip2,
    pub processor: Arc<Processor>,
    /// The id on the hub, or the folder's name.
    pub name: String,
    /// As the status line calls it.
    pub device: String,
    /// As `--dtype` calls what its weights are stored in.
    pub dtype: String,
    pub is_demo: bool,
    /// Opening and loading, in milliseconds.
    pub load_ms: f64,
}

/// Finds, downloads and loads a checkpoint.
///
/// # Errors
/// Everything that can be known before is said before the weights are downloaded or read:
/// a config that Glimpse cannot run, a model that does not fit.
pub fn open(request: ModelRequest) -> Result<OpenModel, LoadError> {
    let start = Instant::now();
    allocator::keep_freed_memory();
    let device = request.device.open()?;
    let limit = request.max_memory.map(MemoryLimit::chosen);
    let limit = limit.or_else(|| available_memory::available(&device));
    let offered = offered_precisions(&device);
    let metadata = CheckpointMetadata::find(&request.source, request.progress)?;
    let placement = Placement::new(device.clone(), request.dtype.resolve(&device, metadata.config())?)?;
    let precision = of_model(metadata.config(), placement.precision);
    let check = |name: &str, config: &Blip2Config, with_head: bool| match &limit {
        Some(limit) => limit.check(name, (config, with_head), precision, &offered),
        None => Ok(()),
    };
    let expects_head = metadata.config().text_config.expects_head();
    check(metadata.name(), metadata.config(), expects_head)?;
    let checkpoint = metadata.open()?;
    check(checkpoint.name(), checkpoint.config(), checkpoint.has_head())?;
    let processor = Arc::new(checkpoint.processor()?);
    let mut blip2 = checkpoint.load(&placement)?;
    if let Some(limit) = &limit {
        let needed = estimate(checkpoint.config(), checkpoint.has_head(), precision);
        blip2.limit_cache(cache_budget(limit.bytes, needed.weights));
    }
    Ok(OpenModel {
        blip2,
        processor,
        name: checkpoint.name().to_owned(),
        device: device_name(&device),
        dtype: precision.name().to_owned(),
        is_demo: checkpoint.is_demo(),
        load_ms: start.elapsed().as_secs_f64() * 1e3,
    })
}

/// What the limit leaves behind the weights.
fn cache_budget(limit: u64, weights: u64) -> u64 {
    limit.saturating_sub(weights).max(LEAST_CACHE)
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
