//! The one error that crosses the wire.

use leptos::server_fn::codec::JsonEncoding;
use leptos::server_fn::error::{FromServerFnError, ServerFnErrorErr};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{t, t_with};

/// What went wrong; the page decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request was not understood.
    BadRequest,
    /// It came by a name that is not ours, or from another site's page.
    Forbidden,
    /// The file is not a picture that Glimpse reads, or is damaged.
    PictureUnreadable,
    /// The file has too many bytes or pixels.
    PictureTooLarge,
    /// What stands between the page and the server takes no upload of this size.
    TooLargeForProxy,
    /// Nothing is fetched from this address, or it gave nothing.
    AddressRefused,
    /// Nothing is fetched from any address.
    AddressesNotAllowed,
    /// There is no question.
    QuestionEmpty,
    /// It has more characters than `--max-question-chars`; the data has both numbers.
    QuestionTooLong,
    /// There is no text to compare the picture with.
    NoTexts,
    /// There are more texts than `--max-texts`; the data has both numbers.
    TooManyTexts,
    /// A text has more characters than `--max-question-chars`; the data has both, and which it is.
    TextTooLong,
    /// The model cannot be asked this.
    QuestionRefused,
    /// A setting is out of its range, or contradicts another.
    SettingRefused,
    /// The conversation, answer or example does not exist (any more), or is another visitor's.
    NotFound,
    /// An answer of this conversation is still being generated.
    TurnInProgress,
    /// The conversation is full; a new one takes the question.
    TooManyTurns,
    /// As many pictures are held as may be.
    MemoryFull,
    /// What is kept could not be read or written in time.
    StoreBusy,
    /// As many pictures are being fetched as may be.
    FetchesFull,
    /// As many questions wait as may.
    QueueFull,
    /// As many of this visitor do.
    VisitorQueueFull,
    /// As many from this visitor's network do.
    NetworkQueueFull,
    /// The visitor has asked as many as he may within a minute.
    TooManyQuestions,
    /// As many pictures were fetched for him as may be within a minute.
    TooManyFetches,
    /// The model did not come to the question in time.
    WaitedTooLong,
    /// The answer took too long.
    TooSlow,
    /// The server is about to end, as it does to be started again.
    Ending,
    /// The model failed on this question.
    ModelFailed,
    /// The model could not be loaded; another time it may be.
    ModelNotLoaded,
    /// The model answers nobody any more.
    ModelGone,
    /// The page could not reach the server.
    Unreachable,
    /// Our fault.
    Internal,
}

/// What went wrong: a code with its data, and a sentence that a visitor understands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub code: ErrorCode,
    /// Limits and the like, by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
    /// What is wrong and what to do, as the page shows it.
    pub message: String,
}

impl ApiError {
    /// Without data, for what is refused before a [`chat`](crate::chat) error is made of it, and
    /// for what the page itself finds. The message is a whole sentence, with what to do.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            data: Map::new(),
            message: message.into(),
        }
    }

    /// Whether nothing is wrong with what was sent, so that the same may be taken another time.
    pub fn may_pass(&self) -> bool {
        matches!(
            self.code,
            ErrorCode::TooLargeForProxy
                | ErrorCode::MemoryFull
                | ErrorCode::StoreBusy
                | ErrorCode::QueueFull
                | ErrorCode::NetworkQueueFull
                | ErrorCode::TooManyQuestions
                | ErrorCode::Ending
                | ErrorCode::Unreachable
        )
    }

    /// The same with the flag by which a host can have it otherwise, which is no word for visitors.
    #[cfg(feature = "ssr")]
    #[must_use]
    pub fn with_flag(mut self, flag: &str) -> Self {
        self.data.insert("flag".into(), flag.into());
        self
    }
}

impl FromServerFnError for ApiError {
    type Encoder = JsonEncoding;

    fn from_server_fn_error(error: ServerFnErrorErr) -> Self {
        match error {
            ServerFnErrorErr::Request(_) => Self::new(ErrorCode::Unreachable, t("alert.unreachable")),
            // In the browser it is the server's reply that was not understood.
            ServerFnErrorErr::Deserialization(_) if cfg!(feature = "hydrate") => {
                Self::new(ErrorCode::Internal, t("alert.unread_reply"))
            }
            ServerFnErrorErr::Args(detail)
            | ServerFnErrorErr::MissingArg(detail)
            | ServerFnErrorErr::Deserialization(detail) => Self::new(
                ErrorCode::BadRequest,
                t_with("alert.not_understood", &[("detail", &detail)]),
            ),
            _ => Self::new(ErrorCode::Internal, t("alert.fault")),
        }
    }
}
