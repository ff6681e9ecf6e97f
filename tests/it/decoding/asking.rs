//! Questions to an engine with a small model.

use std::sync::Arc;

use glimpse::checkpoint::Source;
use glimpse::cpu::WeightFormat;
use glimpse::engine::{DeviceChoice, DtypeChoice, Engine, Event, Model, Question, Summary};
use glimpse::generation::{GeneratedToken, GenerationOptions};
use glimpse::processor::Prompt;

use super::{AnyResult, draw};
use crate::support::TinyCheckpoint;

pub fn engine(capacity: usize) -> AnyResult<(Engine, TinyCheckpoint)> {
    let checkpoint = TinyCheckpoint::new();
    let model = Model::load(
        &Source::Folder(checkpoint.path().into()),
        DeviceChoice::Cpu,
        DtypeChoice::Format(WeightFormat::F32),
        None,
    )?;
    Ok((Engine::start(model, capacity)?, checkpoint))
}

pub fn question(picture: u64, options: GenerationOptions) -> Question {
    Question {
        picture: Arc::new(draw(picture)),
        prompt: Prompt::Question("what?".into()),
        options,
    }
}

pub fn sampled(seed: u64) -> GenerationOptions {
    GenerationOptions {
        do_sample: true,
        seed: Some(seed),
        ..GenerationOptions::default()
    }
}

pub fn ids(summary: &Summary) -> Vec<Vec<u32>> {
    let ids = |tokens: &[GeneratedToken]| tokens.iter().map(|token| token.id).collect();
    summary
        .answers
        .iter()
        .map(|answer| ids(&answer.sequence.tokens))
        .collect()
}

pub fn wait(mut events: tokio::sync::mpsc::UnboundedReceiver<Event>) -> Summary {
    while let Some(event) = events.blocking_recv() {
        match event {
            Event::Done(summary) => return summary,
            Event::Failed(error) => panic!("{error}"),
            Event::Queued { .. } | Event::Token { .. } => {}
        }
    }
    panic!("no answer");
}
