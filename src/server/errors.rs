//! Errors to HTTP: the one place where each becomes a status, a kind and a sentence.
//!
//! Rooms below have an error enum each; `From` here turns them into the [`ApiError`] that
//! crosses the wire, and [`status`] gives its HTTP status. Anything that is not the
//! visitor's doing is logged.

use axum::http::StatusCode;

use crate::api::{ApiError, ErrorKind};
use crate::engine::EngineError;
use crate::generation::GenerationError;
use crate::processor::{PictureError, TextError};
use crate::remote::RemoteError;
use crate::store::StoreError;

/// The HTTP status that goes with a kind of error.
pub fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::BadRequest => StatusCode::BAD_REQUEST,
        ErrorKind::PictureUnreadable | ErrorKind::AddressRefused | ErrorKind::QuestionRefused => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        ErrorKind::PictureTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Busy => StatusCode::CONFLICT,
        ErrorKind::Overloaded | ErrorKind::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<PictureError> for ApiError {
    fn from(error: PictureError) -> Self {
        let kind = match error {
            PictureError::TooManyBytes { .. } | PictureError::TooManyPixels { .. } | PictureError::TooLong { .. } => {
                ErrorKind::PictureTooLarge
            }
            _ => ErrorKind::PictureUnreadable,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<RemoteError> for ApiError {
    fn from(error: RemoteError) -> Self {
        let kind = match error {
            RemoteError::TooManyBytes { .. } => ErrorKind::PictureTooLarge,
            RemoteError::WebPage | RemoteError::Drawing | RemoteError::NotAPicture(_) => ErrorKind::PictureUnreadable,
            _ => ErrorKind::AddressRefused,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::NotFound => ErrorKind::NotFound,
            StoreError::Busy => ErrorKind::Busy,
            StoreError::TooManyTurns(_) => ErrorKind::QuestionRefused,
            StoreError::Preview(_) | StoreError::Folder { .. } => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let kind = match &error {
            EngineError::Overloaded { .. } => ErrorKind::Overloaded,
            EngineError::Prompt(TextError::ImageTokenInText)
            | EngineError::Generation(GenerationError::PromptTooLong { .. }) => ErrorKind::QuestionRefused,
            EngineError::Generation(GenerationError::NothingToDraw) => ErrorKind::BadRequest,
            EngineError::Gone | EngineError::Panicked => {
                tracing::error!("{error}");
                ErrorKind::Internal
            }
            // What exactly broke is for the log.
            EngineError::Prompt(_) | EngineError::Generation(_) => {
                tracing::error!("{error}");
                return Self::new(
                    ErrorKind::Internal,
                    "The model failed on this question. Ask another one.",
                );
            }
        };
        Self::new(kind, error.to_string())
    }
}
