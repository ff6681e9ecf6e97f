//! A model that is ready to answer: weights, processor, and what it remembers of pictures.

use std::sync::{Arc, Weak};
use std::time::Instant;

use candle_core::{Device, Tensor};

use crate::blip2::Blip2;
use crate::blip2::config::Blip2Config;
use crate::blip2::processor::{Picture, Processor};
use crate::checkpoint::memory::WeightFormat;
use crate::checkpoint::{CheckpointError, MemoryLimit, Outline, Source, machine};

use super::device::{DeviceChoice, DeviceError, DtypeChoice, device_name};

/// Pictures whose embeddings are kept; each is a few hundred kilobytes at most.
const REMEMBERED_PICTURES: usize = 64;

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Device(#[from] DeviceError),
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
    /// For pictures: shrinks them to what the model sees before they are stored.
    pub processor: Arc<Processor>,
}

/// A loaded model with its processor.
pub struct Model {
    pub(super) blip2: Blip2,
    description: ModelDescription,
    /// Embeddings of pictures that somebody still holds, the latest last.
    remembered: Vec<(Weak<Picture>, Tensor)>,
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
        let device = device.open()?;
        let dtype = dtype.resolve(&device)?;
        let limit = max_memory
            .map(MemoryLimit::chosen)
            .or_else(|| machine::available(&device));
        let offered = offered_formats(&device);
        let check = |name: &str, config: &Blip2Config, with_head: bool| match &limit {
            Some(limit) => limit.check(name, (config, with_head), dtype.into(), &offered),
            None => Ok(()),
        };
        let outline = Outline::find(source)?;
        check(outline.name(), outline.config(), false)?;
        let checkpoint = outline.open()?;
        check(checkpoint.name(), checkpoint.config(), checkpoint.has_head())?;
        let processor = Arc::new(Processor::load(&checkpoint)?);
        let blip2 = Blip2::load(&checkpoint, &device, dtype)?;
        let description = ModelDescription {
            name: checkpoint.name().to_string(),
            device: device_name(&device),
            dtype: dtype.as_str().to_string(),
            is_demo: checkpoint.is_demo(),
            load_ms: start.elapsed().as_secs_f64() * 1e3,
            processor,
        };
        Ok(Self {
            blip2,
            description,
            remembered: Vec::new(),
        })
    }

    pub fn description(&self) -> &ModelDescription {
        &self.description
    }

    pub(super) fn processor(&self) -> Arc<Processor> {
        Arc::clone(&self.description.processor)
    }

    /// What the language model sees of a picture, computed once for as long as the
    /// picture is held by somebody: `[1, query tokens, width]`.
    pub(super) fn encode(&mut self, picture: &Arc<Picture>) -> candle_core::Result<Tensor> {
        self.remembered.retain(|(known, _)| known.strong_count() > 0);
        let known = self
            .remembered
            .iter()
            .find(|(known, _)| std::ptr::eq(known.as_ptr(), Arc::as_ptr(picture)));
        if let Some((_, embeds)) = known {
            return Ok(embeds.clone());
        }
        let pixel_values = self.description.processor.image.pixel_values(picture)?;
        let embeds = self.blip2.encode_picture(&pixel_values)?;
        if self.remembered.len() >= REMEMBERED_PICTURES {
            self.remembered.remove(0);
        }
        self.remembered.push((Arc::downgrade(picture), embeds.clone()));
        Ok(embeds)
    }
}

/// The formats that `--dtype` takes on this device, the widest first.
pub fn offered_formats(device: &Device) -> Vec<WeightFormat> {
    let is_offered = |format: &WeightFormat| {
        let choice = format.name().parse::<DtypeChoice>();
        choice.is_ok_and(|choice| choice.resolve(device).is_ok())
    };
    WeightFormat::ALL.into_iter().filter(is_offered).collect()
}
