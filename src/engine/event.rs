//! What happens to a question.

use std::time::Duration;

use super::EngineError;
use crate::chat::TextScore;
use crate::generation::{FinishReason, GeneratedToken, Sequence};

/// The events of one question, in order. Dropping it cancels: a question that waits leaves
/// the queue, an answer ends at its next token.
pub type Events = tokio::sync::mpsc::UnboundedReceiver<Event>;

/// What happens to a question, in this order: `Queued` at least once, `Loading` where the model is not in memory,
/// `Started`, `Token`s of the
/// first answer (of beam search all at once, when it is over) or a `Score` for each text, and `Done` or
/// `Failed` last.
/// A channel that ends without these says that the engine is gone.
#[derive(Debug)]
pub enum Event {
    /// Waiting; position 1 is next. Comes again when the position has changed.
    Queued {
        position: usize,
        /// How long until it begins, if answers take as long as they did of late.
        expected: Option<Duration>,
    },
    /// It waits until the model is loaded, and until there is memory for it. `Queued` follows once more.
    Loading,
    /// The model has begun.
    Started {
        /// The text that is sent with the picture; empty for a caption.
        prompt: String,
        /// Its ids, counted as in [`Summary::prompt_ids`].
        prompt_tokens: usize,
        num_beams: usize,
    },
    /// A token, with the text that it completes (which may be empty).
    Token {
        token: GeneratedToken,
        text: String,
    },
    /// How well the next of the texts fits.
    Score(TextScore),
    Done(Summary),
    Failed(EngineError),
}

/// What is known of an answer when it is complete.
#[derive(Clone, Debug)]
pub struct Summary {
    pub finish_reason: FinishReason,
    /// The prompt's ids, picture tokens included; of a model whose answers begin anew, those that they begin
    /// with.
    pub prompt_ids: Vec<u32>,
    pub generated_tokens: usize,
    pub timings: Timings,
    /// What the tokens were drawn from, where they were drawn.
    pub seed: Option<u64>,
    /// All answers, first the one whose tokens were sent.
    pub answers: Vec<WrittenAnswer>,
}

/// An answer with its text.
#[derive(Clone, Debug)]
pub struct WrittenAnswer {
    pub text: String,
    pub sequence: Sequence,
}

/// How long each part took, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Pixels, vision tower, Q-Former and projection; next to nothing for a picture that
    /// was asked about before.
    pub image: f64,
    /// The prompt, up to the first token's logits.
    pub prefill: f64,
    /// All further tokens.
    pub decode: f64,
    /// From the first of these to the last token; waiting is not counted.
    pub total: f64,
}
