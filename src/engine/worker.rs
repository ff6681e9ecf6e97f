//! The model's thread.

use std::sync::Arc;

use super::health::DeviceHealth;
use super::job::Job;
use super::model::Blip2Model;
use super::queue::Queue;
use super::scheduler::{BatchLimits, Prompts, Scheduler};
use super::watch::StepWatch;
use crate::models::OpenModel;
use crate::processor::Picture;

/// Answers questions until no more can come, and encodes `pictures`, as the model sees them, while
/// there are none. A model that cannot even have a KV pool leaves the
/// queue at once, and the device counts as failed.
pub fn run(
    model: &OpenModel,
    queue: Queue<Job>,
    limits: BatchLimits,
    health: Arc<DeviceHealth>,
    watch: Arc<StepWatch>,
    pictures: Box<dyn Iterator<Item = Picture> + Send>,
) {
    let context = model.blip2.config().text_config.context();
    let room_for_turns = |max_new_tokens| context.room_for_turns(max_new_tokens);
    let prompts = Prompts {
        processor: &model.processor.text,
        is_demo: model.is_demo,
        room_for_turns: &room_for_turns,
    };
    match Blip2Model::new(&model.blip2, &model.processor.image, limits.picture_cache) {
        Ok(batched) => Scheduler::new(batched, prompts, queue, limits, health, watch)
            .warm(pictures)
            .run(),
        Err(error) => {
            tracing::error!("no memory for keys and values: {error}");
            health.broken(&error);
        }
    }
}
