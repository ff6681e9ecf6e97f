//! Errors to HTTP: the one place where each becomes a status, a kind and a sentence.
//!
//! Rooms below have an error enum each; `From` here turns them into the [`ApiError`] that
//! crosses the wire, and [`status`] gives its HTTP status. Anything that is not the
//! visitor's doing is logged.

use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::csp;
use crate::api::{ApiError, Base, ErrorKind};
use crate::engine::EngineError;
use crate::generation::GenerationError;
use crate::processor::{PictureError, TextError};
use crate::remote::RemoteError;
use crate::store::LegacyStoreError as StoreError;

use super::memory::MemoryError;
use super::multipart::FormError;

/// The HTTP status that goes with a kind of error.
pub fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
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

/// Who reads a page that is made here: whether it is a person, and where our addresses begin.
#[derive(Clone, Debug)]
pub struct Reader {
    accepts_html: bool,
    base: Base,
}

impl Reader {
    /// Of a request, by its parts.
    pub fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        Self {
            accepts_html: accepted.is_some_and(|value| value.contains("text/html")),
            base: extensions.get().cloned().unwrap_or_default(),
        }
    }
}

/// A sentence outside of the page: with a name and a way out for whoever looks at it, plain for
/// programs. Nothing in it is the sender's, so that nothing needs escaping.
pub fn page(status: StatusCode, title: &str, sentence: &str, reader: &Reader) -> Response {
    if !reader.accepts_html {
        return (status, sentence.to_owned()).into_response();
    }
    let (policy, nonce) = csp::with_style();
    let (icon, home) = (reader.base.at("/favicon.svg"), reader.base.at("/"));
    let html = format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · Glimpse</title>
<link rel="icon" href="{icon}" type="image/svg+xml">
<style nonce="{nonce}">
body {{ max-width: 32rem; margin: 20vh auto 0; padding: 0 1rem; font: 1.125rem/1.5 system-ui, sans-serif }}
h1 {{ font-size: 1.5rem }}
a {{ color: #0f6f68 }}
@media (prefers-color-scheme: dark) {{ a {{ color: #58c4b6 }} }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{sentence}</p>
<p><a href="{home}">Open Glimpse</a></p>
</main>
</body>
</html>
"#
    );
    (status, [(header::CONTENT_SECURITY_POLICY, policy)], Html(html)).into_response()
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

impl From<MemoryError> for ApiError {
    fn from(error: MemoryError) -> Self {
        let kind = match error {
            MemoryError::NeverFits { .. } => ErrorKind::PictureTooLarge,
            MemoryError::Full | MemoryError::CutOff => ErrorKind::Overloaded,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<FormError> for ApiError {
    fn from(error: FormError) -> Self {
        Self::new(ErrorKind::BadRequest, error.to_string())
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

/// An error with all that it came from, whose sentences a visitor is not told.
fn with_sources(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let kind = match &error {
            EngineError::QueueFull { .. } | EngineError::ClientQueueFull { .. } | EngineError::Deadline => {
                ErrorKind::Overloaded
            }
            EngineError::Prompt(TextError::ImageTokenInText)
            | EngineError::Generation(GenerationError::PromptTooLong { .. } | GenerationError::TooMuchMemory { .. }) => {
                ErrorKind::QuestionRefused
            }
            EngineError::Generation(GenerationError::NothingToDraw) => ErrorKind::BadRequest,
            EngineError::Gone | EngineError::DeviceFailed | EngineError::Panicked => {
                tracing::error!("{error}");
                ErrorKind::Internal
            }
            // What exactly broke is for the log.
            EngineError::Prompt(_) | EngineError::Generation(_) => {
                tracing::error!("{}", with_sources(&error));
                return Self::new(
                    ErrorKind::Internal,
                    "The model failed on this question. Ask another one.",
                );
            }
        };
        Self::new(kind, error.to_string())
    }
}
