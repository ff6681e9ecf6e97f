//! Several models in one server.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::UsageError;
use super::number_args::Bytes;
use crate::engine::{
    BatchLimits, Engines, LoadFailure, LocalLoader, ModelLoader, PictureSource, PoolLimits, QueueLimits, start_pool,
};
use crate::models::ModelRequest;

/// How long a model that is asked waits for a busy one to become idle, before that gets no more questions.
const PATIENCE: Duration = Duration::from_secs(10);

/// How several models share a machine.
#[derive(Args, Clone)]
pub struct SeveralModelsArgs {
    /// Load all models at the start; without it the first one is, and each other one when it is first
    /// asked
    #[arg(long, env = "GLIMPSE_PRELOAD", value_parser = BoolishValueParser::new())]
    preload: bool,

    /// Memory that several models may take together, as 12GB: where another one has no room, the one
    /// that was asked longest ago makes room, when it answers nobody [default: --max-memory, else what is
    /// free where they run at the start]
    #[arg(long, env = "GLIMPSE_MODEL_MEMORY", value_name = "SIZE")]
    pub model_memory: Option<Bytes>,
}

impl SeveralModelsArgs {
    /// Starts the models that are asked for, of which `memory` is for all.
    ///
    /// # Errors
    /// One of them is not there or cannot be run here, is named twice, or is to be loaded now and cannot be.
    pub fn start(
        &self,
        requests: Vec<ModelRequest>,
        memory: u64,
        queue: QueueLimits,
        batches: BatchLimits,
        pictures: PictureSource,
    ) -> Result<Engines, LoadFailure> {
        let batches = BatchLimits {
            picture_cache: batches.picture_cache / requests.len().max(1) as u64,
            ..batches
        };
        let mut loaders: Vec<Arc<dyn ModelLoader>> = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            if requests[..index].iter().any(|other| other.source == request.source) {
                let sentence = format!("--model (GLIMPSE_MODEL) names {} twice. Name it once.", request.source);
                return Err(UsageError(sentence).into());
            }
            let mut loader = LocalLoader::find(request.clone(), queue, batches, Arc::clone(&pictures))?;
            if let Some(name) = other_name(&loader, &loaders) {
                loader.rename(name);
            }
            loaders.push(Arc::new(loader));
        }
        let preloaded = if self.preload { loaders.len() } else { 1 };
        let limits = PoolLimits {
            queue,
            memory,
            patience: PATIENCE,
        };
        start_pool(loaders, preloaded, limits)
    }
}

/// What a model is called whose name another one has, as two folders may.
fn other_name(loader: &LocalLoader, others: &[Arc<dyn ModelLoader>]) -> Option<String> {
    let name = &loader.description().name;
    let is_taken = |name: &str| others.iter().any(|other| other.description().name == name);
    let mut further = (2..).map(|number| format!("{name} ({number})"));
    if is_taken(name) {
        further.find(|name| !is_taken(name))
    } else {
        None
    }
}
