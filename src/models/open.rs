//! Opening a model: found, weighed, downloaded, loaded.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::device::device_name;
use super::memory_estimate::estimate;
use super::{
    CheckpointMetadata, DeviceChoice, DtypeChoice, LoadError, MemoryLimit, ModelConfig, Network, Purpose, allocator,
    available_memory, offered_precisions,
};
use crate::checkpoint::{Progress, Source, progress, readable_bytes};
use crate::nn::{Kernels, PackedWeights, Placement};
use crate::processor::Processor;

/// The least that the keys and values of a question may take where nobody set a limit, however full the memory
/// is by other programs at this moment.
const LEAST_CACHE: u64 = 512_000_000;

/// Which model is asked for, and where it is to run.
#[derive(Clone)]
pub struct ModelRequest {
    pub source: Source,
    pub device: DeviceChoice,
    pub dtype: DtypeChoice,
    /// How many bytes it may take; without it, as many as the device has free.
    pub max_memory: Option<u64>,
    /// A folder where matrices are kept as they were packed, so that the next start is faster.
    pub packed_weights: Option<PathBuf>,
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
            packed_weights: None,
            progress: progress::silent(),
        }
    }
}

/// A model that is loaded, with what stands before it.
pub struct OpenModel {
    pub network: Network,
    pub purpose: Purpose,
    pub processor: Arc<Processor>,
    /// The id on the hub, or the folder's name.
    pub name: String,
    /// As the status line calls it.
    pub device: String,
    /// As `--dtype` calls what its weights are stored in.
    pub dtype: String,
    pub is_demo: bool,
    /// What tells its weights from others' ([`MappedTensors::fingerprint`](crate::checkpoint::MappedTensors::fingerprint));
    /// none of the demo model.
    pub fingerprint: Option<String>,
    /// Its packed matrices, which are still to be kept.
    packed: Option<Arc<PackedWeights>>,
    /// Opening and loading, in milliseconds.
    pub load_ms: f64,
}

impl OpenModel {
    /// Keeps its packed matrices for the next start, where a folder was named. What cannot be kept is
    /// told in the log, and is no failure.
    pub fn keep_packed(&mut self) {
        if let Some(packed) = self.packed.take() {
            keep(&packed);
        }
    }

    /// The same on a thread of its own.
    pub fn keep_packed_in_background(&mut self) {
        if let Some(packed) = self.packed.take() {
            std::thread::spawn(move || keep(&packed));
        }
    }
}

fn keep(packed: &PackedWeights) {
    let (start, path) = (Instant::now(), packed.path().display());
    match packed.keep() {
        Ok(0) => {}
        Ok(bytes) => tracing::info!(
            "{} of packed weights are kept for the next start in {path}, written in {:.1} s",
            readable_bytes(bytes),
            start.elapsed().as_secs_f64()
        ),
        Err(error) => tracing::warn!("packed weights cannot be kept in {path}: {error}"),
    }
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
    let precision = metadata.config().precision(placement.precision);
    let check = |name: &str, config: &ModelConfig, with_head: bool| match &limit {
        Some(limit) => limit.check(name, (config, with_head), precision, &offered),
        None => Ok(()),
    };
    let expects_head = metadata.config().expects_head();
    check(metadata.name(), metadata.config(), expects_head)?;
    let checkpoint = metadata.open()?;
    check(checkpoint.name(), checkpoint.config(), checkpoint.has_head())?;
    let processor = Arc::new(checkpoint.processor()?);
    let folder = request
        .packed_weights
        .filter(|_| placement.precision.kernels == Kernels::Own);
    let packed = folder.and_then(|folder| checkpoint.packed_in(&folder, precision.weights));
    let packed = packed.map(Arc::new);
    let mut network = checkpoint.load_packed(&placement, packed.clone())?;
    if let Some(limit) = &limit {
        let needed = estimate(checkpoint.config(), checkpoint.has_head(), precision);
        let least = if request.max_memory.is_some() { 0 } else { LEAST_CACHE };
        network.limit_cache(cache_budget(limit.bytes, needed.weights, least));
    }
    Ok(OpenModel {
        network,
        purpose: checkpoint.config().purpose(),
        processor,
        name: checkpoint.name().to_owned(),
        device: device_name(&device),
        dtype: precision.name().to_owned(),
        is_demo: checkpoint.is_demo(),
        fingerprint: checkpoint.fingerprint(),
        packed,
        load_ms: start.elapsed().as_secs_f64() * 1e3,
    })
}

/// What the limit leaves behind the weights, and so much at least.
fn cache_budget(limit: u64, weights: u64, least: u64) -> u64 {
    limit.saturating_sub(weights).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_have_what_the_weights_leave_and_half_a_gigabyte_at_least_where_nobody_set_a_limit() {
        assert_eq!(cache_budget(16_000_000_000, 15_000_000_000, LEAST_CACHE), 1_000_000_000);
        assert_eq!(cache_budget(15_100_000_000, 15_000_000_000, LEAST_CACHE), LEAST_CACHE);
        assert_eq!(cache_budget(15_100_000_000, 15_000_000_000, 0), 100_000_000);
        assert_eq!(cache_budget(1, 2, 0), 0);
    }
}
