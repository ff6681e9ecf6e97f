//! An answer before the first, on a device where much happens for the first time: kernels are
//! translated for it, libraries begin, memory is taken. What it cannot do shows before anybody asks.

use super::model::{Model, Part};
use super::prompt::SentPrompt;
use crate::blip2::passes::PromptPart;
use crate::chat::PictureId;
use crate::generation::{Answer, Beginning, GenerationError, GenerationOptions, Needs, RowLogits};
use crate::processor::Picture;

/// Tokens of an answer.
const TOKENS: usize = 4;

/// Rows of the passes that several go on in.
const ROWS: usize = 3;

type Result<T> = std::result::Result<T, GenerationError>;

/// Answers about a blank picture: once in one row, and once in several where the pool has room for
/// them.
///
/// # Errors
/// What would have failed the first question.
pub fn warm_up<M: Model>(model: &mut M, picture: &Picture, prompt: &SentPrompt) -> Result<()> {
    let mut looking = model.begin_picture(picture)?;
    let encoded = loop {
        if let Some(encoded) = model.look_on(&mut looking)? {
            break encoded;
        }
    };
    let id = PictureId(picture.pixel_hash());
    for num_beams in [1, ROWS] {
        let options = GenerationOptions {
            max_new_tokens: TOKENS,
            min_new_tokens: TOKENS,
            num_beams,
            ..GenerationOptions::default()
        };
        let beginning = model.beginning(&prompt.ids, &options)?;
        let blocks = model.most_blocks(prompt.ids.len(), &beginning, num_beams);
        if num_beams == 1 || blocks <= model.usage().blocks {
            answer(model, (id, &encoded), prompt, &beginning, &options)?;
        }
    }
    Ok(())
}

/// What the scheduler does for one request.
fn answer<M: Model>(
    model: &mut M,
    (id, encoded): (PictureId, &M::Encoded),
    prompt: &SentPrompt,
    beginning: &Beginning,
    options: &GenerationOptions,
) -> Result<()> {
    let mut answer = Answer::new(beginning, options)?;
    let mut sequences = vec![model.new_sequence(prompt.root(id), &prompt.ids)];
    let mut logits = read_prompt(model, &mut sequences[0], encoded, prompt, answer.needs())?;
    loop {
        answer.take(&logits)?;
        let Some(pass) = answer.pass() else { return Ok(()) };
        sequences = pass
            .parents
            .iter()
            .map(|parent| model.fork(&sequences[*parent]))
            .collect();
        let mut rows: Vec<&mut M::Sequence> = sequences.iter_mut().collect();
        let needs = vec![answer.needs(); rows.len()];
        logits = model.decode(&mut rows, &pass.tokens, &needs)?;
    }
}

fn read_prompt<M: Model>(
    model: &mut M,
    sequence: &mut M::Sequence,
    encoded: &M::Encoded,
    prompt: &SentPrompt,
    needs: Needs,
) -> Result<Vec<RowLogits>> {
    let tokens = prompt.ids.len() - model.read_of_prompt(sequence);
    let parts: &mut [Part<M>] = &mut [PromptPart {
        sequence,
        ids: &prompt.ids,
        picture: Some(encoded),
        instruction: &prompt.instruction,
        tokens,
    }];
    let mut reading = model.begin_reading(parts)?;
    while !model.read_on(&mut reading)? {}
    let logits = model.finish_reading(reading, parts, &[needs])?;
    Ok(logits.into_iter().flatten().collect())
}
