//! Token after token: prefill, then decode with the KV cache.
//!
//! Source: transformers' `generate`. BLIP-2 hands generation to its language model, so the
//! end tokens are those of `text_config`; the checkpoint's own `generation_config.json` is
//! not asked. Read the files in this order:
//!
//! 1. [`GenerationOptions`] (`options`): the settings, and what they may be (`bounds`).
//! 2. [`LogitsProcessors`] (`logits`): the rules that change logits.
//! 3. [`StopStrings`] (`stopping`): when an answer is over.
//! 4. [`Pass`] (`pass`): what is asked of a model. No model is known here, and no cache:
//!    [`Answer::pass`] says what has to be read, [`Answer::needs`] what of the logits behind it
//!    (`row_logits`), and [`Answer::take`] takes them.
//! 5. `rules`: logits with the rules.
//! 6. `greedy_or_sampling`: greedy decoding, and drawing tokens (`sampler`).
//! 7. `beams`: beam search.

mod beams;
pub mod bounds;
mod greedy_or_sampling;
mod logits;
mod options;
mod pass;
mod row_logits;
mod rules;
mod sampler;
mod stopping;
mod top_k;

use beams::BeamSearch;
use greedy_or_sampling::GreedyOrSampling;
pub use logits::{LogitsProcessors, log_softmax, softmax};
pub use options::{EarlyStopping, GenerationOptions, OptionsError, Preset};
pub use pass::{Beginning, Pass};
pub use row_logits::{LogitsReader, Needs, RowLogits};
use rules::{PassLogits, Rules};
pub use stopping::StopStrings;

/// Why a prompt cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    #[error(
        "The question is {tokens} tokens long with its picture, and the model reads at most {limit}. Ask a shorter one."
    )]
    PromptTooLong { tokens: usize, limit: usize },
    #[error(
        "What stands in front of the answer is {tokens} tokens long, and with the answer it may be {limit}. Let it begin with less, or allow more (--max-new-tokens)."
    )]
    NoRoom { tokens: usize, limit: usize },
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

impl GenerationError {
    /// Refuses so many rows whose keys and values take more bytes than there are for them.
    ///
    /// # Errors
    /// [`GenerationError::TooMuchMemory`].
    pub fn check_memory(rows: usize, bytes: u128, budget: u64) -> Result<(), Self> {
        let needed = u64::try_from(bytes).unwrap_or(u64::MAX);
        match needed > budget {
            true => Err(Self::TooMuchMemory { rows, needed, budget }),
            false => Ok(()),
        }
    }
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

impl FinishReason {
    /// What it is called outside: `stop` or `length`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
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

/// An answer being generated: reads what [`Answer::pass`] asks for have to be done by whoever
/// has a model, and their logits go to [`Answer::take`], until there is nothing more to be read;
/// then the [`Answer::sequences`] are complete.
///
/// Greedy and drawn tokens come as they are chosen. Beam search knows its answer at the end
/// only, and gives the tokens of the best one then.
pub struct Answer {
    rules: Rules,
    strategy: Strategy,
    seed: Option<u64>,
}

enum Strategy {
    Sample(GreedyOrSampling),
    Beams(Box<BeamSearch>),
}

impl Answer {
    /// An answer of which nothing is known yet: the logits behind the prompt are to be taken
    /// first.
    ///
    /// # Errors
    /// The options do not fit together.
    pub fn new(beginning: &Beginning, options: &GenerationOptions) -> Result<Self, GenerationError> {
        options.check()?;
        let seed = options
            .do_sample
            .then(|| options.seed.unwrap_or_else(|| rand::random::<u64>() >> 11)); // whole in a JSON reader's f64
        let before = &beginning.ids_before;
        let strategy = if options.num_beams > 1 {
            Strategy::Beams(Box::new(BeamSearch::new(before, options, seed)))
        } else {
            Strategy::Sample(GreedyOrSampling::new(before, options, seed))
        };
        Ok(Self {
            rules: Rules::new(beginning, options),
            strategy,
            seed,
        })
    }

    /// What is needed of the logits that are taken next, the same in each row.
    pub fn needs(&self) -> Needs {
        match &self.strategy {
            Strategy::Sample(sample) => sample.needs(&self.rules),
            Strategy::Beams(_) => Needs::AllLogits,
        }
    }

    /// Takes the logits behind the prompt (one row), then those behind each [`Answer::pass`], as much
    /// of them as [`Answer::needs`] says or more. Gives the tokens of the first answer that are known
    /// by that.
    ///
    /// # Errors
    /// The logits are not finite, leave nothing to be drawn, or are less than is needed.
    pub fn take(&mut self, logits: &[RowLogits]) -> Result<Vec<GeneratedToken>, GenerationError> {
        let logits = PassLogits::new(logits)?;
        match &mut self.strategy {
            Strategy::Sample(sample) => sample.take(&logits, &self.rules),
            Strategy::Beams(beams) => beams.take(&logits, &self.rules),
        }
    }

    /// What has to be read behind what was taken; `None` where all answers are finished.
    pub fn pass(&self) -> Option<Pass> {
        match &self.strategy {
            Strategy::Sample(sample) => sample.pass(),
            Strategy::Beams(beams) => beams.pass(),
        }
    }

    /// Why the first answer ended; known as soon as its last token is.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        match &self.strategy {
            Strategy::Sample(sample) => sample.finish_reason(),
            Strategy::Beams(beams) => beams.finish_reason(),
        }
    }

    /// All answers, the first one first (of beams, the best). Empty until they are finished.
    pub fn sequences(&self) -> Vec<Sequence> {
        match &self.strategy {
            Strategy::Sample(sample) => sample.sequences(),
            Strategy::Beams(beams) => beams.sequences().to_vec(),
        }
    }

    /// What the tokens are drawn from, where they are drawn.
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }
}
