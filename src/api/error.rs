//! The one error that crosses the wire.

use leptos::server_fn::codec::JsonEncoding;
use leptos::server_fn::error::{FromServerFnError, ServerFnErrorErr};
use serde::{Deserialize, Serialize};

/// What kind of thing went wrong; the page and scripts decide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request was not understood.
    BadRequest,
    /// It came by a name that is not ours, or from another site's page.
    Forbidden,
    /// The file is not a picture that Glimpse reads, or is damaged.
    PictureUnreadable,
    /// The file has too many bytes or pixels.
    PictureTooLarge,
    /// Nothing is fetched from this address, or it gave nothing.
    AddressRefused,
    /// The question is empty or too long.
    QuestionRefused,
    /// The conversation or example does not exist (any more).
    NotFound,
    /// An answer of this conversation is still being generated.
    Busy,
    /// The queue is full.
    Overloaded,
    /// The page could not reach the server.
    Unreachable,
    /// Our fault.
    Internal,
}

/// What went wrong, in one sentence that a visitor understands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub kind: ErrorKind,
    pub message: String,
}

impl ApiError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl FromServerFnError for ApiError {
    type Encoder = JsonEncoding;

    fn from_server_fn_error(error: ServerFnErrorErr) -> Self {
        match error {
            ServerFnErrorErr::Request(_) => Self::new(
                ErrorKind::Unreachable,
                "The server cannot be reached; check the connection and try again.",
            ),
            // In the browser it is the server's reply that was not understood.
            ServerFnErrorErr::Deserialization(_) if cfg!(feature = "hydrate") => Self::new(
                ErrorKind::Internal,
                "The server's reply could not be read. Reload the page and try again.",
            ),
            ServerFnErrorErr::Args(detail)
            | ServerFnErrorErr::MissingArg(detail)
            | ServerFnErrorErr::Deserialization(detail) => Self::new(
                ErrorKind::BadRequest,
                format!("The request was not understood ({detail}). Load the page again."),
            ),
            _ => Self::new(
                ErrorKind::Internal,
                format!("Something went wrong on our side: {error}."),
            ),
        }
    }
}
