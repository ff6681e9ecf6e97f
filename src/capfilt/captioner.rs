//! The captioner: draws texts for pictures, several pictures at once.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::CapfiltError;
use crate::engine::{
    BatchLimits, ClientKey, Engine, EngineError, Event, Events, Instruction, LocalEngine, QueueLimits, Submission,
};
use crate::generation::{GenerationOptions, bounds};
use crate::models::{OpenModel, Purpose};
use crate::processor::{Picture, Processor, Prompt, PromptForm};

/// How captions are drawn; the defaults are those of the original, `BLIP_Decoder.generate(sample=True)`.
#[derive(Clone, Debug)]
pub struct CaptionOptions {
    /// Captions of a picture.
    pub count: usize,
    /// What the drawing starts from, with each picture's bytes.
    pub seed: u64,
    /// How they begin; it is no part of the text.
    pub prefix: String,
    /// The fewest and the most tokens, `[DEC]` and the beginning's counted.
    pub min_length: usize,
    pub max_length: usize,
    pub top_p: f64,
    pub top_k: usize,
    pub repetition_penalty: f64,
}

impl Default for CaptionOptions {
    fn default() -> Self {
        Self {
            count: 1,
            seed: 0,
            prefix: "a picture of ".into(),
            min_length: 10,
            max_length: 30,
            top_p: 0.9,
            top_k: 50,
            repetition_penalty: 1.1,
        }
    }
}

/// Answers that are written at once: rows of the model.
const ROWS: usize = 16;

/// Bytes of pictures that the engine remembers: each is asked about once.
const REMEMBERED: u64 = 64 << 20;

/// A model that draws captions.
pub struct Captioner {
    engine: LocalEngine,
    processor: Arc<Processor>,
    options: CaptionOptions,
    generation: GenerationOptions,
}

/// Captions of a picture that are being drawn.
pub struct Drawing(Vec<Events>);

impl Captioner {
    /// Gives the model its thread.
    ///
    /// # Errors
    /// It writes no captions, or a caption has no room behind its beginning.
    pub fn start(model: OpenModel, options: CaptionOptions) -> Result<Self, CapfiltError> {
        if !matches!(model.purpose, Purpose::Captions | Purpose::Conversation) {
            return Err(CapfiltError::NoCaptioner {
                does: model.purpose.does(),
                name: model.name,
            });
        }
        let processor = Arc::clone(&model.processor);
        let generation = generation(&options, &processor)?;
        let limits = QueueLimits {
            waiting: 1024,
            waiting_per_client: 1024,
        };
        let batches = BatchLimits {
            rows: ROWS.max(options.count.min(most_at_once())),
            // Nobody reads along: whatever waits is encoded before all go on by a token together.
            max_gap: Duration::from_secs(60),
            picture_cache: REMEMBERED,
        };
        Ok(Self {
            engine: LocalEngine::start(model, limits, batches)?,
            processor,
            options,
            generation,
        })
    }

    /// What makes pictures what the model sees.
    pub fn processor(&self) -> &Arc<Processor> {
        &self.processor
    }

    /// Pictures that keep the model busy.
    pub fn at_once(&self) -> usize {
        // Half as many again wait, so that there is always a next one.
        (ROWS / self.options.count.max(1)).max(1) * 3 / 2 + 1
    }

    /// Begins to draw the captions of a picture, which are the same for the same hash of its bytes.
    ///
    /// # Errors
    /// The model has stopped.
    pub fn draw(&self, hash: &[u8; 32], picture: &Arc<Picture>) -> Result<Drawing, EngineError> {
        let mut left = self.options.count;
        let mut events = Vec::new();
        for round in 0u64.. {
            let count = left.min(most_at_once());
            if count == 0 {
                break;
            }
            left -= count;
            events.push(self.engine.submit(Submission {
                client: ClientKey::from(0),
                network: None,
                deadline: None,
                picture: Arc::clone(picture),
                instruction: Instruction::Caption {
                    prefix: Some(self.options.prefix.clone()).filter(|prefix| !prefix.trim().is_empty()),
                },
                options: GenerationOptions {
                    seed: Some(seed_of(hash, self.options.seed, round)),
                    num_return_sequences: count,
                    ..self.generation.clone()
                },
                stop_strings: Vec::new(),
            })?);
        }
        Ok(Drawing(events))
    }
}

impl Drawing {
    /// Waits for the captions.
    ///
    /// # Errors
    /// The model has stopped, or cannot write about this picture.
    pub fn texts(self) -> Result<Vec<String>, EngineError> {
        let mut texts = Vec::new();
        for mut events in self.0 {
            loop {
                match events.blocking_recv() {
                    Some(
                        Event::Queued { .. }
                        | Event::Loading
                        | Event::Started { .. }
                        | Event::Token { .. }
                        | Event::Score(_),
                    ) => {}
                    Some(Event::Done(summary)) => {
                        texts.extend(summary.answers.into_iter().map(|answer| answer.text.trim().to_owned()));
                        break;
                    }
                    Some(Event::Failed(error)) => return Err(error),
                    None => return Err(EngineError::Gone),
                }
            }
        }
        Ok(texts)
    }
}

/// Captions that one question may ask for.
fn most_at_once() -> usize {
    bounds::NUM_RETURN_SEQUENCES.max as usize
}

/// A seed for each picture, from its bytes alone: a run that goes on draws what it would have drawn, and so
/// does whoever meets the picture again, in another shard or as another worker.
fn seed_of(picture: &[u8; 32], seed: u64, round: u64) -> u64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(round.to_le_bytes());
    hash.update(picture);
    let hash: [u8; 32] = hash.finalize().into();
    hash[..8].iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// The original counts `[DEC]` and what a caption begins with; of another family new tokens are counted.
fn generation(options: &CaptionOptions, processor: &Processor) -> Result<GenerationOptions, CapfiltError> {
    let before = match processor.text.form() {
        PromptForm::Beginning => processor.text.prompt_ids(&beginning(&options.prefix))?.len(),
        _ => 0,
    };
    if options.max_length <= before {
        return Err(CapfiltError::NoRoomForCaption {
            most: options.max_length,
            before,
        });
    }
    let generation = GenerationOptions {
        max_new_tokens: options.max_length - before,
        min_new_tokens: options.min_length.saturating_sub(before),
        do_sample: true,
        top_p: options.top_p,
        top_k: options.top_k,
        repetition_penalty: options.repetition_penalty,
        ..GenerationOptions::default()
    };
    generation
        .check()
        .map_err(|error| EngineError::Generation(error.into()))?;
    Ok(generation)
}

fn beginning(prefix: &str) -> Prompt {
    match prefix.trim().is_empty() {
        true => Prompt::Caption,
        false => Prompt::Raw(prefix.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_the_pictures_own() {
        let [a, b] = [[1; 32], [2; 32]];
        assert_eq!(seed_of(&a, 1, 0), seed_of(&a, 1, 0));
        let others = [seed_of(&b, 1, 0), seed_of(&a, 2, 0), seed_of(&a, 1, 1)];
        assert!(others.iter().all(|other| *other != seed_of(&a, 1, 0)));
    }
}
