//! Beam search as whoever asks sees it.

use glimpse::cpu::WeightFormat;
use glimpse::generation::{GenerationOptions, Step};
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
    let receiver = submit(&engine, question(1, endless))?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    drop(receiver);
    let short = GenerationOptions {
        max_new_tokens: 2,
        ..GenerationOptions::default()
    };
    let begin = std::time::Instant::now();
    wait(submit(&engine, question(1, short))?);
    assert!(
        begin.elapsed().as_secs() < 5,
        "the next question waited for a search that nobody wanted"
    );
    Ok(())
}

#[test]
fn beams_give_nothing_before_they_are_done() -> AnyResult<()> {
    let checkpoint = TinyCheckpoint::new();
    let opened = Checkpoint::open(checkpoint.path())?;
    let (model, processor) = (opened.load(&Placement::cpu(WeightFormat::F32))?, opened.processor()?);
    let picture = model.encode_picture(&processor.image.pixel_values(&draw(1))?)?.into();
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
    assert_eq!(steps, [vec![false; 6], vec![true; 6]].concat());
    Ok(())
}
