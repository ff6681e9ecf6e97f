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
    #[error("{model} could not be loaded: {reason}")]
    NotLoaded {
        model: String,
        /// A sentence.
        reason: String,
    },
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

/// Why a model that was loaded cannot answer at all, or not what it would be asked; each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("The system gives the model no thread: {0}. End other programs, or allow more threads (`ulimit -u`).")]
    NoThread(#[from] std::io::Error),
    #[error(
        "{device} has no memory left for keys and values beside the model: {reason}. Use a smaller --dtype, or end other programs that use it."
    )]
    NoCache { device: String, reason: String },
    #[error(
        "The model is loaded on {device}, and cannot answer there about a blank picture: {reason}. If it is a GPU, check its driver (`nvidia-smi`) and who else uses it, or use --device cpu."
    )]
    NoAnswer { device: String, reason: String },
    #[error(
        "{model} compares pictures with texts, and neither answers questions nor writes captions. Use `glimpse match` with it, or name another model."
    )]
    WritesNothing { model: String },
}

impl StartError {
    /// The model cannot even answer about a blank picture.
    pub(super) fn no_answer(device: &str, error: &GenerationError) -> Self {
        let reason = match error {
            // Its sentence is for who has asked.
            GenerationError::Model(error) => first_line(error),
            error => error.to_string().trim_end_matches('.').to_owned(),
        };
        let device = device.to_owned();
        Self::NoAnswer { device, reason }
    }

    /// There is no room for what answers read.
    pub(super) fn no_cache(device: &str, error: &candle_core::Error) -> Self {
        Self::NoCache {
            device: device.to_owned(),
            reason: first_line(error),
        }
    }
}

fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
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
