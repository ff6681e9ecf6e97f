//! What loads a model when it is asked.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::{BatchLimits, Description, Engine, LocalEngine, QueueLimits};
use crate::models::{self, ModelPlan, ModelRequest};
use crate::processor::{ImageProcessor, Picture};

/// Why a model is not there, in a sentence.
pub type LoadFailure = Box<dyn std::error::Error + Send + Sync>;

/// A model that is not loaded yet, and what is known of it all the same.
pub trait ModelLoader: Send + Sync {
    /// As the engine will describe itself.
    fn description(&self) -> &Description;

    /// Bytes of memory that it needs.
    fn bytes(&self) -> u64;

    /// The picture as the model sees it; it needs no weights for that.
    fn prepare(&self, picture: &Picture) -> Picture;

    /// Loads it. It may take so many bytes.
    ///
    /// # Errors
    /// Whatever stands in the way now; another time it may be gone.
    fn load(&self, most_bytes: u64) -> Result<LoadedModel, LoadFailure>;
}

/// A model in memory.
pub struct LoadedModel {
    pub engine: Arc<dyn Engine>,
    ended: Ended,
}

impl LoadedModel {
    /// `ended` tells when the engine's thread has given its memory back.
    pub(super) fn new(engine: impl Engine + 'static, ended: Ended) -> Self {
        Self {
            engine: Arc::new(engine),
            ended,
        }
    }

    /// Takes it out of memory, and returns when it is. Questions that it has are answered first.
    pub fn unload(self) {
        drop(self.engine);
        self.ended.wait();
    }
}

/// Tells when a thread has ended, with all that it held.
#[derive(Clone)]
pub struct Ended(Arc<Mutex<Receiver<()>>>);

impl Ended {
    /// What the thread drops last, and what waits for that.
    pub fn pair() -> (Sender<()>, Self) {
        let (ends, ended) = channel();
        (ends, Self(Arc::new(Mutex::new(ended))))
    }

    fn wait(&self) {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent: an error is the end.
        let _ = ended.recv();
    }
}

/// The pictures that a model encodes while nobody asks anything.
pub type Pictures = Box<dyn Iterator<Item = Picture> + Send>;

/// Gives each model its own.
pub type PictureSource = Arc<dyn Fn() -> Pictures + Send + Sync>;

/// Loads a model on this machine.
pub struct LocalLoader {
    request: ModelRequest,
    description: Description,
    bytes: u64,
    image: ImageProcessor,
    queue: QueueLimits,
    batches: BatchLimits,
    pictures: PictureSource,
}

impl LocalLoader {
    /// Finds the model, and looks whether it can be run here; its weights are left where they are.
    ///
    /// # Errors
    /// As [`ModelPlan::of`].
    pub fn find(
        request: ModelRequest,
        queue: QueueLimits,
        batches: BatchLimits,
        pictures: PictureSource,
    ) -> Result<Self, LoadFailure> {
        let plan = ModelPlan::of(&request)?;
        Ok(Self {
            request,
            bytes: plan.bytes,
            description: Description {
                name: plan.name,
                device: plan.device,
                dtype: plan.dtype,
                is_demo: plan.is_demo,
                purpose: plan.purpose,
                family: plan.family,
                start: plan.start,
                load_ms: 0.0,
            },
            image: plan.image,
            queue,
            batches,
            pictures,
        })
    }

    /// Calls it otherwise, where another model has its name.
    pub fn rename(&mut self, name: String) {
        self.description.name = name;
    }
}

impl ModelLoader for LocalLoader {
    fn description(&self) -> &Description {
        &self.description
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn prepare(&self, picture: &Picture) -> Picture {
        self.image.resize(picture)
    }

    fn load(&self, most_bytes: u64) -> Result<LoadedModel, LoadFailure> {
        let mut model = models::open(ModelRequest {
            max_memory: Some(self.request.max_memory.map_or(most_bytes, |most| most.min(most_bytes))),
            ..self.request.clone()
        })?;
        model.name.clone_from(&self.description.name);
        tracing::info!(
            "{} on {} in {}, loaded in {:.0} ms",
            model.name,
            model.device,
            model.dtype,
            model.load_ms
        );
        model.keep_packed_in_background();
        let engine = LocalEngine::start_with(model, self.queue, self.batches, (self.pictures)())?;
        Ok(engine.into())
    }
}
