//! A model that is ready to answer: weights, processor, and what it remembers of pictures.

use std::sync::{Arc, Weak};
use std::time::Instant;

use candle_core::Device;

use crate::blip2::config::Blip2Config;
use crate::blip2::{Blip2, EncodedPicture};
use crate::checkpoint::memory::estimate;
use crate::checkpoint::{CheckpointError, MemoryLimit, Outline, Source, machine};
use crate::cpu::WeightFormat;
use crate::nn::kernels::KernelsError;
use crate::nn::{Kernels, Placement, Precision};
use crate::processor::{Picture, Processor};

use super::allocator;
use super::device::{DeviceChoice, DeviceError, DtypeChoice, device_name};

/// Pictures whose embeddings are kept; each is a few hundred kilobytes at most.
const REMEMBERED_PICTURES: usize = 64;

/// Of those the latest, whose keys and values are kept as well: some 20 megabytes each in
/// the language model of 2.7 billion parameters.
const REMEMBERED_READINGS: usize = 8;

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
    /// For pictures: shrinks them to what the model sees before they are stored.
    pub processor: Arc<Processor>,
}

/// A loaded model with its processor.
pub struct Model {
    pub(super) blip2: Blip2,
    description: ModelDescription,
    /// Pictures that somebody still holds, the latest last.
    remembered: Vec<(Weak<Picture>, Arc<EncodedPicture>)>,
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
    /// picture is held by somebody.
    pub(super) fn encode(&mut self, picture: &Arc<Picture>) -> candle_core::Result<Arc<EncodedPicture>> {
        self.remembered.retain(|(known, _)| known.strong_count() > 0);
        let place = self
            .remembered
            .iter()
            .position(|(known, _)| std::ptr::eq(known.as_ptr(), Arc::as_ptr(picture)));
        let entry = match place {
            Some(place) => self.remembered.remove(place),
            None => {
                let pixel_values = self.description.processor.image.pixel_values(picture)?;
                let embeds = self.blip2.encode_picture(&pixel_values)?;
                (Arc::downgrade(picture), Arc::new(embeds.into()))
            }
        };
        let encoded = Arc::clone(&entry.1);
        self.remember(entry);
        Ok(encoded)
    }

    fn remember(&mut self, entry: (Weak<Picture>, Arc<EncodedPicture>)) {
        if self.remembered.len() >= REMEMBERED_PICTURES {
            self.remembered.remove(0);
        }
        self.remembered.push(entry);
        if let Some(older) = self.remembered.len().checked_sub(REMEMBERED_READINGS + 1) {
            let (_, encoded) = &mut self.remembered[older];
            *encoded = Arc::new(encoded.unread());
        }
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
