//! The model's thread: takes questions from the queue and answers them one by one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::{EngineError, Event, Job, Model, Queue, Summary, Timings, WrittenAnswer};
use crate::generation::{GeneratedToken, Sequence, Step};
use crate::processor::{TextProcessor, TextStream};

/// Runs until no more questions can come.
pub fn run(mut model: Model, mut queue: Queue) {
    while let Some(job) = queue.next() {
        // The model holds no state between questions but finished embeddings, so that a
        // panic in one answer leaves nothing half done for the next.
        let outcome = catch_unwind(AssertUnwindSafe(|| answer(&mut model, &job, &mut queue)));
        let last = match outcome {
            Ok(Ok(Some(summary))) => Event::Done(summary),
            Ok(Ok(None)) => continue,
            Ok(Err(error)) => Event::Failed(error),
            Err(panic) => {
                let question = &job.question;
                tracing::error!(
                    "the model panicked: {}; the picture has {} x {} pixels, the options are {:?}",
                    words_of(&*panic),
                    question.picture.width,
                    question.picture.height,
                    question.options
                );
                Event::Failed(EngineError::Panicked)
            }
        };
        // Nobody may be listening any more, which is theirs to decide.
        let _ = job.events.send(last);
    }
}

/// What a panic says.
fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let formatted = panic.downcast_ref::<String>().map(String::as_str);
    formatted
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it does not say why")
}

/// Answers one question; `None` where whoever asked has gone.
fn answer(model: &mut Model, job: &Job, queue: &mut Queue) -> Result<Option<Summary>, EngineError> {
    let start = Instant::now();
    if job.events.send(Event::Queued { position: 0 }).is_err() {
        return Ok(None);
    }
    let processor = model.processor();
    let prompt_ids = processor.text.prompt_ids(&job.question.prompt)?;
    let picture = model.encode(&job.question.picture)?;
    let image = milliseconds(start);
    if job.is_abandoned() {
        return Ok(None);
    }

    let mut answer = model.blip2.generate(&picture, &prompt_ids, &job.question.options)?;
    let prefill = milliseconds(start) - image;

    let mut text = processor.text.stream();
    let mut generated_tokens = 0;
    while let Some(step) = answer.step()? {
        if let Step::Token(token) = step {
            generated_tokens += 1;
            let mut piece = push(&mut text, token);
            if answer.finish_reason().is_some() {
                piece.push_str(&text.finish());
            }
            if job.events.send(Event::Token { token, text: piece }).is_err() {
                return Ok(None);
            }
        } else if job.is_abandoned() {
            return Ok(None);
        }
        queue.refresh();
    }
    let Some(finish_reason) = answer.finish_reason() else {
        return Ok(None);
    };
    let total = milliseconds(start);
    let timings = Timings {
        image,
        prefill,
        decode: total - image - prefill,
        total,
    };
    Ok(Some(Summary {
        finish_reason,
        prompt_ids,
        generated_tokens,
        timings,
        seed: answer.seed(),
        answers: written(answer.sequences(), &processor.text),
    }))
}

/// The text that a token completes; an end token is no part of the text.
fn push(text: &mut TextStream, token: GeneratedToken) -> String {
    if token.is_end {
        String::new()
    } else {
        text.push(token.id)
    }
}

/// All answers with their texts.
fn written(sequences: Vec<Sequence>, processor: &TextProcessor) -> Vec<WrittenAnswer> {
    let write = |sequence: Sequence| {
        let mut stream = processor.stream();
        let mut text: String = sequence.tokens.iter().map(|token| push(&mut stream, *token)).collect();
        text.push_str(&stream.finish());
        WrittenAnswer { text, sequence }
    };
    sequences.into_iter().map(write).collect()
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
