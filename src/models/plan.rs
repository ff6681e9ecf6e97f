//! What a model will be when it is loaded, known without its weights.

use super::device::device_name;
use super::memory_estimate::estimate;
use super::{AnswerStart, CheckpointMetadata, Family, LoadError, ModelConfig, ModelRequest, Purpose};
use crate::nn::Placement;
use crate::processor::ImageProcessor;

/// What is known of a model before it is loaded.
pub struct ModelPlan {
    /// The id on the hub, or the folder's name.
    pub name: String,
    pub purpose: Purpose,
    pub family: Family,
    pub start: AnswerStart,
    /// As the status line calls it.
    pub device: String,
    /// As `--dtype` calls what its weights are stored in.
    pub dtype: String,
    pub is_demo: bool,
    /// Bytes that it needs there, by the estimate that `glimpse models` shows.
    pub bytes: u64,
    pub image: ImageProcessor,
}

impl ModelPlan {
    /// Finds the checkpoint; of one on the hub, its small files are downloaded, and where its weights are
    /// here already, their names and shapes are checked.
    ///
    /// # Errors
    /// Nothing there, a config that Glimpse cannot run, files that are damaged, or a device that is not there.
    pub fn of(request: &ModelRequest) -> Result<Self, LoadError> {
        let device = request.device.open()?;
        let metadata = CheckpointMetadata::find(&request.source, std::sync::Arc::clone(&request.progress))?;
        let (name, is_demo) = (metadata.name().to_owned(), metadata.is_demo());
        let image = metadata.image_processor()?;
        let config = settled_config(metadata)?;
        let placement = Placement::new(device.clone(), request.dtype.resolve(&device, &config)?)?;
        let precision = config.precision(placement.precision);
        Ok(Self {
            name,
            purpose: config.purpose(),
            family: config.family(),
            start: config.answer_start(),
            device: device_name(&device),
            dtype: precision.name().to_owned(),
            is_demo,
            // Some files hold a head that their config does not tell of.
            bytes: estimate(&config, true, precision).total(),
            image,
        })
    }
}

/// The config, with the class that the tensors tell where they are here.
fn settled_config(metadata: CheckpointMetadata) -> Result<ModelConfig, LoadError> {
    if metadata.is_complete() {
        return Ok(metadata.open()?.config().clone());
    }
    Ok(metadata.config().clone())
}
