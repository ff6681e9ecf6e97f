//! A model on this machine.

use std::sync::Arc;
use std::sync::mpsc::channel;

use super::explainer::Explainer;
use super::health::DeviceHealth;
use super::job::Job;
use super::loader::{Ended, LoadedModel};
use super::model_metrics::ModelMetrics;
use super::queue::{QueueSender, queue};
use super::scheduler::BatchLimits;
use super::watch::{StepWatch, look_at};
use super::worker::{self, Work};
use super::{Description, Engine, EngineError, Health, QueueLimits, QueueState, StartError, Steps};
use crate::models::{Kernels, OpenModel};
use crate::processor::{Picture, Processor};

/// A model with a thread of its own, and a queue before it.
pub struct LocalEngine {
    queue: QueueSender<Job>,
    description: Description,
    processor: Arc<Processor>,
    explainer: Explainer,
    health: Arc<DeviceHealth>,
    watch: Arc<StepWatch>,
    ended: Ended,
}

impl LocalEngine {
    /// Gives the model its thread, which ends when the engine is gone and the queue is empty.
    ///
    /// # Errors
    /// The system gives no thread, or the device no memory for keys and values.
    pub fn start(model: OpenModel, limits: QueueLimits, batches: BatchLimits) -> Result<Self, StartError> {
        Self::begin(model, limits, batches, Box::new(std::iter::empty()), false)
    }

    /// The same for a server, whose model encodes these pictures while nobody asks anything, so that
    /// whoever asks about one of them finds it ready. Each is taken when it is its turn, in the model's
    /// thread. Where candle's operations compute, as on a GPU, it has answered once when this returns.
    ///
    /// # Errors
    /// As for [`LocalEngine::start`], and the model could not answer.
    pub fn start_with(
        model: OpenModel,
        limits: QueueLimits,
        batches: BatchLimits,
        pictures: impl Iterator<Item = Picture> + Send + 'static,
    ) -> Result<Self, StartError> {
        let processor = Arc::clone(&model.processor);
        let pictures = Box::new(pictures.map(move |picture| processor.image.resize(&picture)));
        let warms_up = model.network.precision().kernels == Kernels::Candle;
        Self::begin(model, limits, batches, pictures, warms_up)
    }

    fn begin(
        model: OpenModel,
        limits: QueueLimits,
        batches: BatchLimits,
        pictures: Box<dyn Iterator<Item = Picture> + Send>,
        warms_up: bool,
    ) -> Result<Self, StartError> {
        let (sender, queue) = queue(limits);
        let (ends, ended) = Ended::pair();
        let health = Arc::new(DeviceHealth::new(model.network.device().is_cpu()));
        let watch = Arc::new(StepWatch::new(batches.max_gap));
        let model = Arc::new(model);
        let engine = Self {
            queue: sender,
            description: Description::from(&*model),
            processor: Arc::clone(&model.processor),
            explainer: Explainer::new(&model),
            health: Arc::clone(&health),
            watch: Arc::clone(&watch),
            ended,
        };
        let looked_at = look_at(Arc::clone(&watch))?;
        let device = model.device.clone();
        let (started, has_started) = channel();
        std::thread::Builder::new().name("model".into()).spawn(move || {
            // The work of a GPU is queued by thread: all answers are written in this one.
            let work = Work {
                limits: batches,
                warms_up,
                queue,
                health,
                watch,
                metrics: ModelMetrics::new(&model.name),
                pictures,
            };
            worker::run(&model, work, &started);
            drop((looked_at, model));
            drop(ends);
        })?;
        let reason = "the model's thread broke, as the log says".to_owned();
        has_started
            .recv()
            .unwrap_or(Err(StartError::NoAnswer { device, reason }))?;
        Ok(engine)
    }
}

impl From<LocalEngine> for LoadedModel {
    fn from(engine: LocalEngine) -> Self {
        let ended = engine.ended.clone();
        Self::new(engine, ended)
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

    fn enqueue(&self, job: Job) -> Result<(), EngineError> {
        if self.health.failure().is_some() {
            return Err(EngineError::DeviceFailed);
        }
        job.enter(&self.queue)
    }

    fn queue(&self) -> QueueState {
        self.queue.state()
    }

    fn steps(&self) -> Steps {
        self.watch.steps()
    }

    fn explainer(&self) -> Option<Explainer> {
        Some(self.explainer.clone())
    }
}
