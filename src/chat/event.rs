//! What happens to an answer, one thing after the other.

use super::{Error, FinishReason, TextScore, Timings};

/// Something that happened to an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Counts an answer's events from 1 without a gap, so that a stream that broke off can be
    /// taken up after the last that came.
    pub seq: u64,
    pub kind: EventKind,
}

/// What it was: `Queued` until the model begins, and `Loading` where it has to be loaded, `Started`, the `Token`s or `Score`s, and `Done` or `Failed`
/// last, which may come before any of the others.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// Waiting for the model; position 1 is next.
    Queued {
        position: usize,
        /// How long until the model begins, as far as can be told.
        expected_seconds: Option<f64>,
    },
    /// Waiting until the model is loaded, and there is memory for it.
    Loading,
    /// The model has begun. With more than one beam nothing follows until all are searched.
    Started { num_beams: usize },
    /// The next piece of the answer's text.
    Token { text: String },
    /// How well the next text fits, of a model that compares.
    Score(TextScore),
    /// The last event of an answer.
    Done(Completion),
    /// The last event where no answer could be given.
    Failed(Error),
}

/// What is known of an answer when it has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    pub finish_reason: FinishReason,
    pub timings: Timings,
    /// Those that stand for the picture included.
    pub prompt_tokens: usize,
    /// Of the first answer, with its end token.
    pub generated_tokens: usize,
    /// The text that was sent to the model with the picture; empty for a caption.
    pub prompt: String,
    /// The texts of the second answer on, where several were asked for.
    pub further_texts: Vec<String>,
    /// What the tokens were drawn from; `None` where they were not drawn.
    pub seed: Option<u64>,
}

impl EventKind {
    /// Whether nothing comes after it.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(_))
    }
}
