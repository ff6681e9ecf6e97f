//! Who answers when: one thread owns the model, a bounded queue stands before it.
//!
//! [`Engine::ask`] puts a [`Question`] into the queue and gives the receiver of its
//! [`Event`]s. Whoever holds the receiver decides how long the answer goes on: when it
//! is dropped, the work stops at the next token, or is never begun.

mod allocator;
mod device;
mod model;
mod queue;
mod worker;

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::generation::{FinishReason, GeneratedToken, GenerationError, GenerationOptions, Sequence};
use crate::processor::{Picture, Prompt, TextError};

pub use device::{DeviceChoice, DeviceError, DtypeChoice};
pub use model::{LoadError, Model, ModelDescription, offered_precisions};
use queue::{Job, Queue};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Of any size; a picture of the model's own size needs no resizing. What the model
    /// sees of it is remembered for as long as somebody holds this very `Arc`.
    pub picture: Arc<Picture>,
    pub prompt: Prompt,
    pub options: GenerationOptions,
}

/// What happens to a question, in this order: `Queued` at least once, `Token`s of the first
/// answer (of beam search all at once, when it is over), and `Done` or `Failed` last.
#[derive(Debug)]
pub enum Event {
    /// Waiting; position 1 is next, and at 0 the model begins.
    Queued {
        position: usize,
    },
    /// A token, with the text that it completes (which may be empty).
    Token {
        token: GeneratedToken,
        text: String,
    },
    Done(Summary),
    Failed(EngineError),
}

/// What is known of an answer when it is complete.
#[derive(Clone, Debug)]
pub struct Summary {
    pub finish_reason: FinishReason,
    /// The prompt's ids, picture tokens included.
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
    pub total: f64,
}

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(
        "{capacity} questions are waiting already, which is as many as may (--max-waiting). Try again in a moment."
    )]
    Overloaded { capacity: usize },
    #[error("The model has stopped. Start Glimpse again.")]
    Gone,
    #[error(transparent)]
    Prompt(#[from] TextError),
    #[error(transparent)]
    Generation(#[from] GenerationError),
    #[error("The model broke on this question. Ask another one.")]
    Panicked,
}

impl From<candle_core::Error> for EngineError {
    fn from(error: candle_core::Error) -> Self {
        Self::Generation(error.into())
    }
}

/// The way to the model's thread; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    queue: queue::Entrance,
    description: Arc<ModelDescription>,
}

impl Engine {
    /// Gives the model a thread of its own and a queue of `capacity` questions.
    ///
    /// The thread ends when the last `Engine` is gone and the queue is empty.
    pub fn start(model: Model, capacity: usize) -> std::io::Result<Self> {
        let description = Arc::new(model.description().clone());
        let (entrance, queue) = Queue::new(capacity);
        std::thread::Builder::new()
            .name("model".into())
            .spawn(move || worker::run(model, queue))?;
        Ok(Self {
            queue: entrance,
            description,
        })
    }

    /// Puts a question into the queue.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`] where the queue is full.
    pub fn ask(&self, question: Question) -> Result<mpsc::UnboundedReceiver<Event>, EngineError> {
        // Unbounded, but an answer has a bounded number of tokens.
        let (events, receiver) = mpsc::unbounded_channel();
        self.queue.enter(question, events)?;
        Ok(receiver)
    }

    /// The model behind the queue.
    pub fn model(&self) -> &ModelDescription {
        &self.description
    }
}
