//! Why a question got no answer.

use super::queue::Refusal;
use crate::generation::GenerationError;
use crate::processor::TextError;

/// Why a question got no answer. [`Engine::submit`](super::Engine::submit) gives those that
/// concern the queue and the device; what is wrong with a question itself comes as
/// [`Event::Failed`](super::Event::Failed).
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("{limit} questions are waiting already, which is as many as may (--max-waiting). Try again in a moment.")]
    QueueFull { limit: usize },
    #[error(
        "{limit} questions of yours are waiting already, which is as many as may (--max-waiting-per-visitor). Wait for an answer first."
    )]
    ClientQueueFull { limit: usize },
    #[error(
        "{limit} questions from your network are waiting already, which is as many as may (four times --max-waiting-per-visitor, and three quarters of --max-waiting at most). Try again in a moment."
    )]
    NetworkQueueFull { limit: usize },
    #[error("The model did not come to this question in time. Try again later.")]
    Deadline,
    #[error("The model has stopped. Start Glimpse again.")]
    Gone,
    #[error("The device that the model runs on has failed. Start Glimpse again.")]
    DeviceFailed,
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

impl From<Refusal> for EngineError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full { limit } => Self::QueueFull { limit },
            Refusal::ClientFull { limit } => Self::ClientQueueFull { limit },
            Refusal::NetworkFull { limit } => Self::NetworkQueueFull { limit },
            Refusal::Closed => Self::Gone,
        }
    }
}
