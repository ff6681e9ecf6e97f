//! Questions to an engine with a small model.

use std::sync::Arc;

use glimpse::checkpoint::Source;
use glimpse::cpu::WeightFormat;
use glimpse::engine::{
    BatchLimits, ClientKey, Engine, Event, Events, Instruction, LocalEngine, QueueLimits, Submission, Summary,
};
use glimpse::generation::{GeneratedToken, GenerationOptions};
use glimpse::models::{self, DtypeChoice, ModelRequest};

use super::{AnyResult, draw};
use crate::support::TinyCheckpoint;

pub fn engine(capacity: usize) -> AnyResult<(LocalEngine, TinyCheckpoint)> {
    engine_in(WeightFormat::F32, capacity)
}

pub fn engine_in(format: WeightFormat, capacity: usize) -> AnyResult<(LocalEngine, TinyCheckpoint)> {
    let checkpoint = TinyCheckpoint::new();
    let source = Source::Folder(checkpoint.path().into());
    let model = models::open(ModelRequest::on_cpu(source, DtypeChoice::Format(format)))?;
    let limits = QueueLimits {
        waiting: capacity,
        waiting_per_client: capacity,
    };
    Ok((LocalEngine::start(model, limits, BatchLimits::default())?, checkpoint))
}

pub fn question(picture: u64, options: GenerationOptions) -> Submission {
    Submission {
        client: ClientKey::from(1),
        network: None,
        deadline: None,
        picture: Arc::new(draw(picture)),
        instruction: Instruction::question("what?"),
        options,
        stop_strings: Vec::new(),
    }
}

/// Puts a question to the engine as it is meant to be done.
pub fn submit(engine: &LocalEngine, mut question: Submission) -> AnyResult<Events> {
    question.picture = engine.prepare(&question.picture).into();
    Ok(engine.submit(question)?)
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

pub fn wait(mut events: Events) -> Summary {
    while let Some(event) = events.blocking_recv() {
        match event {
            Event::Done(summary) => return summary,
            Event::Failed(error) => panic!("{error}"),
            Event::Queued { .. } | Event::Loading | Event::Started { .. } | Event::Token { .. } | Event::Score(_) => {}
        }
    }
    panic!("no answer");
}
