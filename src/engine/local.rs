//! A model on this machine.

use std::sync::Arc;

use super::health::DeviceHealth;
use super::job::Job;
use super::queue::{QueueSender, queue};
use super::scheduler::BatchLimits;
use super::watch::{StepWatch, look_at};
use super::worker;
use super::{Description, Engine, EngineError, Events, Health, QueueLimits, QueueState, Steps, Submission};
use crate::models::OpenModel;
use crate::processor::{Picture, Processor};

/// A model with a thread of its own, and a queue before it.
pub struct LocalEngine {
    queue: QueueSender<Job>,
    description: Description,
    processor: Arc<Processor>,
    health: Arc<DeviceHealth>,
    watch: Arc<StepWatch>,
}

impl LocalEngine {
    /// Gives the model its thread, which ends when the engine is gone and the queue is empty.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(model: OpenModel, limits: QueueLimits, batches: BatchLimits) -> std::io::Result<Self> {
        Self::start_with(model, limits, batches, std::iter::empty())
    }

    /// The same for a model that encodes these pictures while nobody asks anything, so that whoever
    /// asks about one of them finds it ready. Each is taken when it is its turn, in the model's thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start_with(
        model: OpenModel,
        limits: QueueLimits,
        batches: BatchLimits,
        pictures: impl Iterator<Item = Picture> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, queue) = queue(limits);
        let health = Arc::new(DeviceHealth::new(model.blip2.device().is_cpu()));
        let watch = Arc::new(StepWatch::new(batches.max_gap));
        let engine = Self {
            queue: sender,
            description: Description::from(&model),
            processor: Arc::clone(&model.processor),
            health: Arc::clone(&health),
            watch: Arc::clone(&watch),
        };
        let processor = Arc::clone(&model.processor);
        let pictures = Box::new(pictures.map(move |picture| processor.image.resize(&picture)));
        let looked_at = look_at(Arc::clone(&watch))?;
        std::thread::Builder::new().name("model".into()).spawn(move || {
            worker::run(&model, queue, batches, health, watch, pictures);
            drop(looked_at);
        })?;
        Ok(engine)
    }
}

impl Engine for LocalEngine {
    fn description(&self) -> &Description {
        &self.description
    }

    fn health(&self) -> Health {
        match self.health.failure() {
            Some(reason) => Health::Failed(reason.to_owned()),
            None if self.queue.is_closed() => Health::Failed("the model's thread has ended".into()),
            None => Health::Ready,
        }
    }

    fn prepare(&self, picture: &Picture) -> Picture {
        self.processor.image.resize(picture)
    }

    fn submit(&self, submission: Submission) -> Result<Events, EngineError> {
        if self.health.failure().is_some() {
            return Err(EngineError::DeviceFailed);
        }
        Job::submit(submission, &self.queue)
    }

    fn queue(&self) -> QueueState {
        self.queue.state()
    }

    fn steps(&self) -> Steps {
        self.watch.steps()
    }
}
