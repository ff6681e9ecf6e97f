//! The model's thread.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use super::health::DeviceHealth;
use super::job::Job;
use super::model::Blip2Model;
use super::prompt::PromptWriter;
use super::queue::Queue;
use super::scheduler::{BatchLimits, Prompts, Scheduler};
use super::warm_up::warm_up;
use super::watch::StepWatch;
use super::{Instruction, StartError};
use crate::generation::GenerationError;
use crate::models::OpenModel;
use crate::processor::Picture;

/// Gives the model its KV pool and, where it `warms_up`, lets it answer once. Tells how that went, and
/// gives the model where it went well.
pub fn begin<'a>(
    model: &'a OpenModel,
    limits: BatchLimits,
    warms_up: bool,
    started: &Sender<Result<(), StartError>>,
) -> Option<Blip2Model<'a>> {
    let begun = Blip2Model::new(&model.blip2, &model.processor.image, limits.picture_cache)
        .map_err(|error| StartError::no_cache(&model.device, &error))
        .and_then(|mut batched| {
            if warms_up {
                answer_once(model, &mut batched).map_err(|error| StartError::no_answer(&model.device, &error))?;
            }
            Ok(batched)
        });
    let (batched, outcome) = match begun {
        Ok(batched) => (Some(batched), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // Whoever starts an engine waits for it.
    let _ = started.send(outcome);
    batched
}

/// Answers about a blank picture, and tells how long it took.
fn answer_once(model: &OpenModel, batched: &mut Blip2Model) -> Result<(), GenerationError> {
    let start = Instant::now();
    let blank = Picture {
        width: 1,
        height: 1,
        rgb: vec![u8::MAX; 3],
    };
    let writer = PromptWriter {
        processor: &model.processor.text,
        is_demo: model.is_demo,
    };
    let prompt = writer.write(&Instruction::Caption { prefix: None }, 0);
    let prompt = prompt.map_err(candle_core::Error::wrap)?;
    warm_up(batched, &model.processor.image.resize(&blank), &prompt)?;
    tracing::info!(
        "the model has answered about a blank picture on {}, in {:.0} ms",
        model.device,
        start.elapsed().as_secs_f64() * 1e3
    );
    Ok(())
}

/// Answers questions until no more can come, and encodes `pictures`, as the model sees them, while
/// there are none.
pub fn run(
    model: &OpenModel,
    batched: Blip2Model,
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
    Scheduler::new(batched, prompts, queue, limits, health, watch)
        .warm(pictures)
        .run();
}
