//! The model's thread.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use super::comparing::{Comparing, ComparingModel};
use super::health::DeviceHealth;
use super::job::Job;
use super::model::{Blip2Model, BlipModel, Model};
use super::model_metrics::ModelMetrics;
use super::prompt::PromptWriter;
use super::queue::Queue;
use super::scheduler::{BatchLimits, Prompts, Scheduler};
use super::warm_up::warm_up;
use super::watch::StepWatch;
use super::{Instruction, StartError};
use crate::generation::GenerationError;
use crate::models::{Comparer, Network, OpenModel};
use crate::processor::{Picture, PromptForm};

/// What the model's thread begins with.
pub struct Work {
    pub limits: BatchLimits,
    /// Whether the model answers once before anybody asks.
    pub warms_up: bool,
    pub queue: Queue<Job>,
    pub health: Arc<DeviceHealth>,
    pub watch: Arc<StepWatch>,
    pub metrics: ModelMetrics,
    /// As the model sees them: encoded while nobody asks.
    pub pictures: Box<dyn Iterator<Item = Picture> + Send>,
}

/// Gives the model its KV pool and, where it warms up, lets it answer once. Tells how that went, and where
/// it went well answers questions until no more can come.
pub fn run(model: &OpenModel, work: Work, started: &Sender<Result<(), StartError>>) {
    let image = &model.processor.image;
    match &model.network {
        Network::Blip2(blip2) => {
            let batched = Blip2Model::new(blip2, image, work.limits.picture_cache);
            let context = blip2.config().text_config.context();
            run_batched(model, batched, work, started, &|new| context.room_for_turns(new));
        }
        Network::Blip(blip) => match blip.matcher() {
            Some(matcher) => compare(model, Comparer::Blip(matcher), work, started),
            None => run_batched(model, BlipModel::new(blip, image), work, started, &|_| 0),
        },
        Network::Blip2Retrieval(retrieval) => compare(model, Comparer::Blip2(retrieval), work, started),
    }
}

/// Compares pictures with texts.
fn compare(model: &OpenModel, comparer: Comparer, work: Work, started: &Sender<Result<(), StartError>>) {
    let mut comparing = ComparingModel {
        comparer,
        processor: &model.processor,
    };
    let began = Instant::now();
    let outcome = match work.warms_up {
        true => comparing.compare_once(&model.processor.image.resize(&blank())),
        false => Ok(()),
    };
    let outcome = outcome.map_err(|error| StartError::no_answer(&model.device, &error));
    if work.warms_up && outcome.is_ok() {
        say_warm(model, began);
    }
    let is_ready = outcome.is_ok();
    // Whoever starts an engine waits for it.
    let _ = started.send(outcome);
    if is_ready {
        Comparing::new(comparing, work).run();
    }
}

fn run_batched<M: Model + Send>(
    model: &OpenModel,
    batched: candle_core::Result<M>,
    work: Work,
    started: &Sender<Result<(), StartError>>,
    room_for_turns: &(dyn Fn(usize) -> usize + Sync),
) {
    let begun = batched
        .map_err(|error| StartError::no_cache(&model.device, &error))
        .and_then(|mut batched| {
            if work.warms_up {
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
    let Some(batched) = batched else { return };
    let prompts = Prompts {
        processor: &model.processor.text,
        is_demo: model.is_demo,
        room_for_turns,
    };
    Scheduler::new(
        batched,
        prompts,
        work.queue,
        work.limits,
        work.health,
        work.watch,
        work.metrics,
    )
    .warm(work.pictures)
    .run();
}

/// Answers about a blank picture, and tells how long it took.
fn answer_once<M: Model>(model: &OpenModel, batched: &mut M) -> Result<(), GenerationError> {
    let start = Instant::now();
    let text = &model.processor.text;
    let writer = PromptWriter {
        processor: text,
        is_demo: model.is_demo,
    };
    let instruction = match text.form() {
        PromptForm::Question => Instruction::Question {
            question: "what is it?".into(),
            earlier: Vec::new(),
            context_turns: None,
        },
        _ => Instruction::Caption { prefix: None },
    };
    let prompt = writer.write(&instruction, 0);
    let prompt = prompt.map_err(candle_core::Error::wrap)?;
    warm_up(batched, &model.processor.image.resize(&blank()), &prompt)?;
    say_warm(model, start);
    Ok(())
}

fn blank() -> Picture {
    Picture {
        width: 1,
        height: 1,
        rgb: vec![u8::MAX; 3],
    }
}

fn say_warm(model: &OpenModel, start: Instant) {
    tracing::info!(
        "the model has answered about a blank picture on {}, in {:.0} ms",
        model.device,
        start.elapsed().as_secs_f64() * 1e3
    );
}
