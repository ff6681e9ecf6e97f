//! Beam search as whoever asks sees it.

use std::time::Instant;

use glimpse::blip2::Step;
use glimpse::cpu::WeightFormat;
use glimpse::engine::Event;
use glimpse::generation::GenerationOptions;
use glimpse::models::Checkpoint;
use glimpse::nn::Placement;
use glimpse::processor::Prompt;

use super::asking::{engine, question, submit, wait};
use super::{AnyResult, draw};
use crate::support::TinyCheckpoint;

#[test]
fn beam_search_can_be_given_up_between_two_steps() -> AnyResult<()> {
    let (engine, _checkpoint) = engine(9)?;
    let endless = GenerationOptions {
        num_beams: 10,
        max_new_tokens: 8000,
        ..GenerationOptions::default()
    };
    let part = GenerationOptions {
        max_new_tokens: 100,
        ..endless.clone()
    };
    let begin = Instant::now();
    wait(submit(&engine, question(1, part))?);
    let took = begin.elapsed();
    let mut events = submit(&engine, question(1, endless))?;
    while !matches!(events.blocking_recv(), Some(Event::Started { .. })) {}
    drop(events);
    let begin = Instant::now();
    wait(submit(&engine, question(1, GenerationOptions::default()))?);
    assert!(
        begin.elapsed() < 20 * took,
        "the next question waited for a search of 80 times that length, which nobody wanted"
    );
    Ok(())
}

#[test]
fn beams_give_nothing_before_they_are_done() -> AnyResult<()> {
    let checkpoint = TinyCheckpoint::new();
    let opened = Checkpoint::open(checkpoint.path())?;
    let (model, processor) = (
        opened.load_blip2(&Placement::cpu(WeightFormat::F32))?,
        opened.processor()?,
    );
    let picture = model.encode_picture(&processor.image.pixel_values(&draw(1))?)?;
    let ids = processor.text.prompt_ids(&Prompt::Caption)?;
    let options = GenerationOptions {
        num_beams: 3,
        max_new_tokens: 6,
        ..GenerationOptions::default()
    };
    let mut answer = model.generate(&picture, &ids, &options)?;
    let mut steps = Vec::new();
    while let Some(step) = answer.step()? {
        steps.push(matches!(step, Step::Token(_)));
    }
    assert_eq!(steps, [vec![false; 5], vec![true; 6]].concat());
    Ok(())
}
