//! The model's thread: takes questions from the queue and answers them one by one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::health::DeviceHealth;
use super::job::Job;
use super::picture_cache::PictureCache;
use super::prompt::{PromptWriter, SentPrompt};
use super::queue::{Queue, Waiting};
use super::{EngineError, Event, Submission, Summary, Timings, WrittenAnswer};
use crate::blip2::EncodedPicture;
use crate::chat::PictureId;
use crate::generation::{Answer, GeneratedToken, GenerationOptions, Sequence, Step, StopStrings};
use crate::models::OpenModel;
use crate::processor::{Picture, TextProcessor, TextStream};

/// Why an answer has no summary.
enum Ended {
    /// Nobody waits for it any more.
    Cancelled,
    Failed(EngineError),
}

impl<E: Into<EngineError>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The model's thread.
pub struct Worker {
    model: OpenModel,
    pictures: PictureCache,
    queue: Queue<Job>,
    health: Arc<DeviceHealth>,
}

impl Worker {
    pub fn new(model: OpenModel, queue: Queue<Job>, health: Arc<DeviceHealth>) -> Self {
        Self {
            model,
            pictures: PictureCache::default(),
            queue,
            health,
        }
    }

    /// Runs until no more questions can come.
    pub fn run(mut self) {
        while let Some((job, permit)) = self.queue.next() {
            let last = match job.for_its_request(|| self.answer_catching_panics(&job)) {
                Ok(summary) => Event::Done(summary),
                Err(Ended::Cancelled) => continue,
                Err(Ended::Failed(error)) => Event::Failed(error),
            };
            self.note(&last);
            // Whoever sees the last event finds the model free.
            drop(permit);
            job.send(last);
        }
    }

    /// What an answer's end says of the device.
    fn note(&self, last: &Event) {
        match last {
            Event::Failed(error) => self.health.failed(error),
            _ => self.health.succeeded(),
        }
    }

    fn answer_catching_panics(&mut self, job: &Job) -> Result<Summary, Ended> {
        if self.health.failure().is_some() {
            return Err(EngineError::DeviceFailed.into());
        }
        // The model holds no state between questions but finished embeddings, so that a
        // panic in one answer leaves nothing half done for the next.
        let answer = catch_unwind(AssertUnwindSafe(|| self.answer(job)));
        answer.unwrap_or_else(|panic| {
            let Submission { picture, options, .. } = &job.submission;
            tracing::error!(
                "the model panicked: {}; the picture has {} x {} pixels, the options are {options:?}",
                words_of(&*panic),
                picture.width,
                picture.height,
            );
            Err(EngineError::Panicked.into())
        })
    }

    fn answer(&mut self, job: &Job) -> Result<Summary, Ended> {
        let start = Instant::now();
        let submission = &job.submission;
        let prompt = self.prompt(submission)?;
        let text = &self.model.processor.text;
        let options = GenerationOptions {
            stop_strings: stop_strings(&submission.stop_strings, text),
            ..submission.options.clone()
        };
        let started = Event::Started {
            prompt: prompt.text,
            num_beams: options.num_beams,
        };
        if !job.send(started) {
            return Err(Ended::Cancelled);
        }
        let picture = self.encode(&submission.picture)?;
        let image = milliseconds(start);
        if job.is_cancelled() {
            return Err(Ended::Cancelled);
        }
        let mut answer = self.model.blip2.generate(&picture, &prompt.ids, &options)?;
        let prefill = milliseconds(start) - image;
        let text = &self.model.processor.text;
        let generated_tokens = self.send_tokens(&mut answer, job, text.stream())?;
        let finish_reason = answer.finish_reason().ok_or(Ended::Cancelled)?;
        let total = milliseconds(start);
        Ok(Summary {
            finish_reason,
            prompt_ids: prompt.ids,
            generated_tokens,
            timings: Timings {
                image,
                prefill,
                decode: total - image - prefill,
                total,
            },
            seed: answer.seed(),
            answers: written(answer.sequences(), text),
        })
    }

    fn prompt(&self, submission: &Submission) -> Result<SentPrompt, EngineError> {
        let context = self.model.blip2.config().text_config.context();
        let room = context.room_for_turns(submission.options.max_new_tokens);
        let writer = PromptWriter {
            processor: &self.model.processor.text,
            is_demo: self.model.is_demo,
        };
        Ok(writer.write(&submission.instruction, room)?)
    }

    /// What the language model sees of a picture, computed once for the latest pictures.
    fn encode(&mut self, picture: &Picture) -> Result<Arc<EncodedPicture>, EngineError> {
        let (image, blip2) = (&self.model.processor.image, &self.model.blip2);
        let encoded = self.pictures.get_or_encode(PictureId(picture.pixel_hash()), || {
            let pixel_values = image.pixel_values(picture)?;
            blip2.encode_picture(&pixel_values).map(EncodedPicture::from)
        });
        Ok(encoded?)
    }

    /// Sends the tokens of an answer as they come, and says how many there were.
    fn send_tokens(&self, answer: &mut Answer, job: &Job, mut text: TextStream) -> Result<usize, Ended> {
        let mut generated_tokens = 0;
        while let Some(step) = answer.step()? {
            if let Step::Token(token) = step {
                generated_tokens += 1;
                let mut piece = push(&mut text, token);
                if answer.finish_reason().is_some() {
                    piece.push_str(&text.finish());
                }
                job.send(Event::Token { token, text: piece });
            }
            if job.is_cancelled() {
                return Err(Ended::Cancelled);
            }
            self.queue.refresh();
        }
        Ok(generated_tokens)
    }
}

/// Texts that end an answer, ready to be found in its tokens.
fn stop_strings(strings: &[String], processor: &TextProcessor) -> StopStrings {
    if strings.is_empty() {
        return StopStrings::default();
    }
    StopStrings::new(strings, processor.token_bytes())
}

/// What a panic says.
fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let formatted = panic.downcast_ref::<String>().map(String::as_str);
    formatted
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it does not say why")
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
