//! Token after token: prefill, then decode with the KV cache.
//!
//! Source: transformers' `generate`. BLIP-2 hands generation to its language model, so the
//! end tokens are those of `text_config`; the checkpoint's own `generation_config.json` is
//! not asked. Read the files in this order:
//!
//! 1. [`GenerationOptions`] (`options`): the settings, and what they may be (`bounds`).
//! 2. [`LogitsProcessors`] (`logits`): the rules that change logits.
//! 3. [`StopStrings`] (`stopping`): when an answer is over.
//! 4. `decoder`: the model with its cache, a row for each sequence.
//! 5. `rows`: greedy decoding, and drawing tokens (`sampling`).
//! 6. `beams`: beam search.

mod beams;
pub mod bounds;
mod decoder;
mod logits;
mod options;
mod rows;
mod sampling;
mod stopping;
mod top;

use crate::blip2::{Blip2, EncodedPicture};
use beams::BeamSearch;
use decoder::Decoder;
pub use logits::{LogitsProcessors, log_softmax, softmax};
pub use options::{EarlyStopping, GenerationOptions, OptionsError};
use rows::Rows;
pub use stopping::StopStrings;

/// Why a prompt cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    #[error(
        "The question is {tokens} tokens long with its picture, and the model reads at most {limit}. Ask a shorter one."
    )]
    PromptTooLong { tokens: usize, limit: usize },
    #[error(
        "Reading the question for {rows} answers or beams at once would take {:.2} GB of memory, and {:.2} are there for it. Ask for fewer beams or answers, or a shorter answer, or start a new conversation; whoever runs Glimpse can give it more memory (--max-memory).",
        *needed as f64 / 1e9,
        *budget as f64 / 1e9
    )]
    TooMuchMemory { rows: usize, needed: u64, budget: u64 },
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error(
        "The model's numbers are not finite: its weights are damaged, or too large for this dtype. Try --dtype f32 where it is another, or download the checkpoint again."
    )]
    NotFinite,
    #[error(
        "The rules leave no token that could be drawn. Use a smaller repetition penalty, a larger no-repeat n-gram size, or a higher temperature."
    )]
    NothingToDraw,
    #[error("The model failed: {}. Try again.", .0.to_string().lines().next().unwrap_or_default())]
    Model(#[from] candle_core::Error),
}

/// One generated token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeneratedToken {
    pub id: u32,
    /// Natural logarithm of the token's probability, before any rule changed it.
    pub logprob: f32,
    /// The token ends the answer and is no part of its text.
    pub is_end: bool,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model said its end token, or completed a stop string.
    Stop,
    /// The answer reached the allowed number of tokens, or the model its last position.
    Length,
}

/// A finished answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    pub tokens: Vec<GeneratedToken>,
    pub finish_reason: FinishReason,
    /// Of beam search: the sum of the log-probabilities that the rules left, divided by the
    /// length to the power of the length penalty (`sequences_scores`).
    pub score: Option<f32>,
}

/// What a step of the work brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// The next token of the (first) answer.
    Token(GeneratedToken),
    /// Nothing to show yet: beams are being searched, or further answers written.
    Working,
}

/// An answer being generated: call [`Answer::step`] or [`Answer::next_token`] until it gives
/// `None`, then take the [`Answer::sequences`].
///
/// Greedy and drawn tokens come as they are chosen. Beam search knows its answer at the end
/// only, and gives the tokens of the best one then.
pub struct Answer<'model> {
    decoder: Decoder<'model>,
    strategy: Strategy,
    seed: Option<u64>,
}

enum Strategy {
    Rows(Rows),
    Beams(Box<BeamSearch>),
}

impl Blip2 {
    /// Prefill: reads picture and prompt (ids with the picture tokens in front). What was
    /// read of the picture is kept in it for the next prompt.
    ///
    /// # Errors
    /// The prompt leaves no position for an answer, or the options do not fit together.
    pub fn generate(
        &self,
        picture: &EncodedPicture,
        prompt_ids: &[u32],
        options: &GenerationOptions,
    ) -> Result<Answer<'_>, GenerationError> {
        options.check()?;
        let decoder = Decoder::prefill(self, picture, prompt_ids, options)?;
        let seed = options
            .do_sample
            .then(|| options.seed.unwrap_or_else(|| rand::random::<u64>() >> 11)); // whole in a JSON reader's f64
        let before = self.config().text_config.ids_before_answer(prompt_ids);
        let strategy = if options.num_beams > 1 {
            Strategy::Beams(Box::new(BeamSearch::new(before, options, seed)))
        } else {
            Strategy::Rows(Rows::new(before, options, seed))
        };
        Ok(Answer {
            decoder,
            strategy,
            seed,
        })
    }
}

impl Answer<'_> {
    /// Does the work of one token, or gives the next one of those that are known; `None`
    /// behind the last. Between two steps the answer can be given up.
    pub fn step(&mut self) -> Result<Option<Step>, GenerationError> {
        match &mut self.strategy {
            Strategy::Rows(rows) => rows.step(&mut self.decoder),
            Strategy::Beams(beams) => beams.step(&mut self.decoder),
        }
    }

    /// The next token of the first answer, or `None` when all answers are finished.
    pub fn next_token(&mut self) -> Result<Option<GeneratedToken>, GenerationError> {
        loop {
            match self.step()? {
                Some(Step::Token(token)) => return Ok(Some(token)),
                Some(Step::Working) => {}
                None => return Ok(None),
            }
        }
    }

    /// Why the first answer ended; known as soon as its last token was given.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        match &self.strategy {
            Strategy::Rows(rows) => rows.finish_reason(),
            Strategy::Beams(beams) => beams.finish_reason(),
        }
    }

    /// All answers, the first one first (of beams, the best). Empty until they are finished.
    pub fn sequences(&self) -> Vec<Sequence> {
        match &self.strategy {
            Strategy::Rows(rows) => rows.sequences(),
            Strategy::Beams(beams) => beams.sequences().to_vec(),
        }
    }

    /// What the tokens are drawn from, where they are drawn.
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// The logits that the next token of the first row is chosen by, before any rule: `[vocabulary]`.
    pub fn logits(&self) -> &[f32] {
        self.decoder.logits(0)
    }
}
