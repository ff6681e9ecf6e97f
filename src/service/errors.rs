//! What rooms below say, in the words of [`chat::Error`](Error); what is nobody's doing but
//! ours is logged here, once, with all that it came from.

use super::memory::MemoryError;
use crate::chat::{Error, Missing, PictureLimit};
use crate::engine::EngineError;
use crate::generation::GenerationError;
use crate::processor::{PictureError, TextError};
use crate::remote::RemoteError;
use crate::store::StoreError;

impl From<PictureError> for Error {
    fn from(error: PictureError) -> Self {
        let too_large = |limited, actual, limit| Self::PictureTooLarge {
            limited,
            actual: Some(actual),
            limit,
        };
        match error {
            PictureError::TooManyBytes { bytes, max_bytes } => {
                too_large(PictureLimit::Bytes, bytes as u64, max_bytes as u64)
            }
            PictureError::TooManyPixels { pixels, max_pixels, .. } => {
                too_large(PictureLimit::Pixels, pixels, max_pixels)
            }
            PictureError::TooLong {
                width,
                height,
                max_side,
            } => too_large(PictureLimit::Side, width.max(height), max_side),
            other => Self::PictureUnreadable {
                detail: other.to_string(),
            },
        }
    }
}

impl From<MemoryError> for Error {
    fn from(error: MemoryError) -> Self {
        match error {
            MemoryError::NeverFits { bytes, limit } => Self::PictureTooLarge {
                limited: PictureLimit::Memory,
                actual: Some(bytes as u64),
                limit: limit as u64,
            },
            MemoryError::Full | MemoryError::CutOff => Self::MemoryFull,
        }
    }
}

impl From<RemoteError> for Error {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::TooManyBytes { max_bytes } => Self::PictureTooLarge {
                limited: PictureLimit::Bytes,
                actual: None,
                limit: max_bytes as u64,
            },
            RemoteError::WebPage | RemoteError::Drawing | RemoteError::NotAPicture(_) => Self::PictureUnreadable {
                detail: error.to_string(),
            },
            other => Self::AddressRefused {
                detail: other.to_string(),
            },
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound {
                what: Missing::Conversation,
            },
            StoreError::NoPictureFile { .. } => {
                tracing::warn!("{error}");
                Self::NotFound {
                    what: Missing::PictureFile,
                }
            }
            StoreError::TurnInProgress => Self::TurnInProgress,
            StoreError::VisitorFull { bytes, limit } => Self::PictureTooLarge {
                limited: PictureLimit::Kept,
                actual: Some(bytes),
                limit,
            },
            StoreError::TooManyTurns { limit } => Self::TooManyTurns { limit },
            StoreError::Full { bytes, limit } => Self::PictureTooLarge {
                limited: PictureLimit::Stored,
                actual: Some(bytes),
                limit,
            },
            // The last thing that a process does.
            StoreError::Closed => Self::Ending,
            StoreError::TooSlow(_) => {
                tracing::warn!("{error}");
                Self::StoreBusy
            }
            other => internal(&other),
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match &error {
            EngineError::QueueFull { limit } => Self::QueueFull { limit: *limit },
            EngineError::ClientQueueFull { limit } => Self::VisitorQueueFull { limit: *limit },
            EngineError::NetworkQueueFull { limit } => Self::NetworkQueueFull { limit: *limit },
            EngineError::Generation(GenerationError::TooMuchMemory { rows, needed, budget }) => {
                Self::QuestionTooLarge {
                    rows: *rows,
                    needed: *needed,
                    budget: *budget,
                }
            }
            EngineError::Prompt(
                TextError::ImageTokenInText
                | TextError::AnswersNoQuestions
                | TextError::WritesNoCaptions
                | TextError::WritesNothing
                | TextError::ComparesNothing
                | TextError::TextTooLong { .. },
            )
            | EngineError::Generation(GenerationError::PromptTooLong { .. } | GenerationError::NoRoom { .. }) => {
                Self::QuestionRefused {
                    detail: error.to_string(),
                }
            }
            EngineError::Generation(GenerationError::NothingToDraw) => Self::SettingRefused {
                detail: error.to_string(),
                flag: None,
            },
            // Why is in the log already, once for all who waited.
            EngineError::NotLoaded { model, .. } => Self::ModelNotLoaded { model: model.clone() },
            EngineError::Gone | EngineError::DeviceFailed => {
                tracing::error!("{error}");
                Self::model_gone()
            }
            _ => {
                tracing::error!("{}", with_sources(&error));
                Self::model_failed()
            }
        }
    }
}

/// Something that only the host can mend: it goes into the log.
pub fn internal(error: &dyn std::error::Error) -> Error {
    tracing::error!("{}", with_sources(error));
    Error::internal()
}

/// An error with all that it came from.
fn with_sources(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_closed_is_that_of_a_process_that_ends() {
        assert_eq!(Error::from(StoreError::Closed), Error::Ending);
    }

    #[test]
    fn who_waits_for_the_store_in_vain_may_ask_again() {
        let waited = StoreError::from(sqlx::Error::PoolTimedOut);
        assert_eq!(Error::from(waited), Error::StoreBusy);
    }
}
