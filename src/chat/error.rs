//! What can go wrong for a visitor: a code with its data.
//!
//! Use the variant whose reader has something to do about it; [`Error::Internal`] where only
//! the host has. Written out, an error speaks to the host, and names the flag of a limit;
//! what visitors are told is made of code and data on the page.

use serde::{Deserialize, Serialize};

/// A code with its data; kept with a failed answer in this form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Error {
    #[error("the request was not understood: {detail}")]
    BadRequest { detail: String },
    #[error("the {what} is not there, or is not this visitor's")]
    NotFound { what: Missing },
    #[error("an answer of this conversation is still being given")]
    TurnInProgress,
    #[error("the conversation has {limit} turns (--max-turns)")]
    TooManyTurns { limit: usize },
    #[error("the question is empty")]
    QuestionEmpty,
    #[error("the question has {chars} characters, and at most {limit} are accepted (--max-question-chars)")]
    QuestionTooLong { chars: usize, limit: usize },
    /// The model cannot be asked this: the prompt is too long for it, or has its own tokens.
    #[error("the question cannot be put to the model: {detail}")]
    QuestionRefused { detail: String },
    /// A setting that is out of its range, or contradicts another.
    #[error("a setting was refused: {detail}")]
    SettingRefused { detail: String },
    #[error("the picture has {actual} {limited}, and at most {limit} are accepted ({})", limited.flag())]
    PictureTooLarge {
        limited: PictureLimit,
        actual: u64,
        limit: u64,
    },
    #[error("the picture cannot be read: {detail}")]
    PictureUnreadable { detail: String },
    #[error("nothing is fetched from this address: {detail}")]
    AddressRefused { detail: String },
    #[error("visitors may put in no addresses (--allow-picture-urls)")]
    AddressesNotAllowed,
    /// What may be held for visitors is held already.
    #[error("pictures already take the {limit} bytes that they may (--max-picture-memory)")]
    MemoryFull { limit: u64 },
    #[error("too many pictures are being fetched")]
    FetchesFull,
    #[error("{limit} questions are waiting (--max-waiting)")]
    QueueFull { limit: usize },
    #[error("{limit} questions of this visitor are waiting (--max-waiting-per-visitor)")]
    VisitorQueueFull { limit: usize },
    #[error("this visitor, or his network, asked {limit} questions within a minute (--max-questions-per-minute)")]
    TooManyQuestions { limit: usize, retry_after_seconds: u64 },
    #[error("the answer took longer than {seconds} seconds (--max-answer-seconds)")]
    TooSlow { seconds: u64 },
    #[error("the model failed")]
    ModelFailed,
    #[error("the model has stopped; start Glimpse again")]
    ModelGone,
    #[error("something failed on our side")]
    Internal,
}

/// What is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    Conversation,
    Example,
    Answer,
    Picture,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Conversation => "conversation",
            Self::Example => "example",
            Self::Answer => "answer",
            Self::Picture => "picture",
        })
    }
}

/// What a picture may have too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureLimit {
    Bytes,
    Pixels,
    /// Pixels of its longer side.
    Side,
    /// Bytes that reading it would take.
    Memory,
}

impl PictureLimit {
    /// The flag that sets the limit.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Bytes => "--max-upload-bytes",
            Self::Pixels => "--max-pixels",
            Self::Side => "fixed",
            Self::Memory => "--max-picture-memory",
        }
    }
}

impl std::fmt::Display for PictureLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Pixels => "pixels",
            Self::Side => "pixels on its longer side",
            Self::Memory => "bytes to hold while it is read",
        })
    }
}
