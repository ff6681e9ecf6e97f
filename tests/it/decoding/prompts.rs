//! Prompts and options that are refused before anything is computed.

use glimpse::blip2::{Blip2, EncodedPicture};
use glimpse::cpu::WeightFormat;
use glimpse::generation::{GenerationError, GenerationOptions};
use glimpse::models::Checkpoint;
use glimpse::nn::Placement;
use glimpse::processor::Prompt;

use super::{AnyResult, draw};
use crate::support::TinyCheckpoint;

fn open() -> AnyResult<(Blip2, EncodedPicture, Vec<u32>)> {
    let checkpoint = TinyCheckpoint::new();
    let opened = Checkpoint::open(checkpoint.path())?;
    let model = opened.load_blip2(&Placement::cpu(WeightFormat::F32))?;
    let processor = opened.processor()?;
    let picture = model.encode_picture(&processor.image.pixel_values(&draw(1))?)?;
    Ok((
        model,
        picture,
        processor.text.prompt_ids(&Prompt::Question("what?".into()))?,
    ))
}

#[test]
fn a_prompt_without_the_pictures_tokens_is_an_error() -> AnyResult<()> {
    let (model, picture, ids) = open()?;
    let words = &ids[model.config().num_query_tokens..];
    for ids in [words, &ids[1..], &[]] {
        let refused = model.generate(&picture, ids, &GenerationOptions::default());
        let error = refused.err().ok_or("it was read")?.to_string();
        assert!(error.contains("must begin with the picture's"), "{error}");
    }
    Ok(())
}

#[test]
fn an_answer_of_any_length_ends_at_the_last_position() -> AnyResult<()> {
    let (model, picture, ids) = open()?;
    let options = GenerationOptions {
        max_new_tokens: usize::MAX,
        ..GenerationOptions::default()
    };
    let mut answer = model.generate(&picture, &ids, &options)?;
    assert!(answer.next_token()?.is_some());
    Ok(())
}

#[test]
fn beams_that_do_not_fit_into_memory_are_refused_and_fewer_are_not() -> AnyResult<()> {
    let (mut model, picture, ids) = open()?;
    let options = |num_beams| GenerationOptions {
        num_beams,
        max_new_tokens: 4,
        ..GenerationOptions::default()
    };
    let text = &model.config().text_config;
    let budget = 4 * text.cached_numbers(2, ids.len(), ids.len() + 4) as u64;
    model.limit_cache(budget);
    assert!(model.generate(&picture, &ids, &options(2)).is_ok());
    let refused = model.generate(&picture, &ids, &options(3));
    let error = refused.err().ok_or("it was not refused")?;
    assert!(
        matches!(error, GenerationError::TooMuchMemory { rows: 3, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("Ask for fewer beams"), "{error}");
    Ok(())
}
