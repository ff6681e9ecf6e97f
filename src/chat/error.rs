//! What can go wrong for a visitor: a code with its data.
//!
//! Use the variant whose reader has something to do about it; [`Error::Internal`] where only
//! the host has. Written out, an error speaks to the host; what visitors are told is made of
//! code and data where the page's own calls are answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RequestId;

/// A code with its data; kept with a failed answer in this form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Error {
    #[error("the request was not understood: {detail}")]
    BadRequest {
        #[serde(flatten)]
        detail: Detail,
    },
    #[error("the request came slower than {bytes_per_second} bytes a second")]
    BodyTooSlow { bytes_per_second: u32 },
    #[error("the request has more than {limit} bytes")]
    BodyTooLarge { limit: usize },
    #[error("the {what} is not there, or is not this visitor's")]
    NotFound { what: Missing },
    #[error("an answer of this conversation is still being given")]
    TurnInProgress,
    #[error("the conversation has {limit} turns")]
    TooManyTurns { limit: usize },
    #[error("the question is empty")]
    QuestionEmpty,
    #[error("the question has {chars} characters, and at most {limit} are accepted")]
    QuestionTooLong { chars: usize, limit: usize },
    #[error("there is no text to compare the picture with")]
    NoTexts,
    #[error("{count} texts are to be compared with the picture, and at most {limit} are accepted")]
    TooManyTexts { count: usize, limit: usize },
    /// Text number `number`, from 1.
    #[error("text {number} has {chars} characters, and at most {limit} are accepted")]
    TextTooLong { number: usize, chars: usize, limit: usize },
    /// The model cannot be asked this: the prompt is too long for it, or has its own tokens.
    #[error("the question cannot be put to the model: {detail}")]
    QuestionRefused {
        #[serde(flatten)]
        detail: Detail,
    },
    #[error(
        "reading the question for {rows} answers or beams takes {needed} bytes of memory, and {budget} are there for it"
    )]
    QuestionTooLarge { rows: usize, needed: u64, budget: u64 },
    /// A setting that is out of its range, or contradicts another.
    #[error("a setting was refused: {detail}")]
    SettingRefused {
        #[serde(flatten)]
        detail: Detail,
        /// Of the limit that made its range narrower.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flag: Option<String>,
    },
    #[error("the picture has more than the {limit} {limited} that are accepted")]
    PictureTooLarge {
        limited: PictureLimit,
        /// None where only that it is more was found out.
        actual: Option<u64>,
        limit: u64,
    },
    #[error("the picture cannot be read: {detail}")]
    PictureUnreadable {
        #[serde(flatten)]
        detail: Detail,
    },
    #[error("nothing is fetched from this address: {detail}")]
    AddressRefused {
        #[serde(flatten)]
        detail: Detail,
    },
    #[error("visitors may put in no addresses")]
    AddressesNotAllowed,
    /// What may be held for visitors is held already.
    #[error("pictures already take the memory that they may")]
    MemoryFull,
    /// What is kept could not be read or written in time, and another time may be.
    #[error("conversations are asked for faster than the disk gives them")]
    StoreBusy,
    #[error("too many pictures are being fetched")]
    FetchesFull,
    #[error("{limit} questions are waiting")]
    QueueFull { limit: usize },
    #[error("{limit} questions of this visitor are waiting")]
    VisitorQueueFull { limit: usize },
    #[error("{limit} questions from this visitor's network are waiting")]
    NetworkQueueFull { limit: usize },
    #[error("this visitor, or his network, asked {limit} questions within a minute")]
    TooManyQuestions { limit: usize, retry_after_seconds: u64 },
    #[error("this visitor, or his network, had {limit} pictures fetched within a minute")]
    TooManyFetches { limit: usize, retry_after_seconds: u64 },
    #[error("the model did not come to the question within {seconds} seconds")]
    WaitedTooLong { seconds: u64 },
    #[error("the answer took longer than {seconds} seconds")]
    TooSlow { seconds: u64 },
    #[error("the server is ending, and takes no more questions")]
    Ending,
    #[error("the model failed")]
    ModelFailed {
        /// The request that the log tells more of; so with those that follow.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
    },
    /// The model is not in memory, and could not be brought there; why is in the log. Another time it may be.
    #[error("the model {model} could not be loaded")]
    ModelNotLoaded { model: String },
    #[error("the model has stopped; start Glimpse again")]
    ModelGone {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
    },
    #[error("something failed on our side")]
    Internal {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
    },
}

/// Faults, which name the request that met them: each is to be logged where it is made.
impl Error {
    /// The model could not answer this question, and goes on with others.
    pub fn model_failed() -> Self {
        let request = RequestId::current();
        Self::ModelFailed { request }
    }

    /// The thread that answers has ended; nobody is answered before Glimpse is started again.
    pub fn model_gone() -> Self {
        let request = RequestId::current();
        Self::ModelGone { request }
    }

    /// Anything else that a visitor can do nothing about, such as a disk that refuses.
    pub fn internal() -> Self {
        let request = RequestId::current();
        Self::Internal { request }
    }

    /// Its code by itself, as it is written out with its data.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest { .. } => "bad_request",
            Self::BodyTooSlow { .. } => "body_too_slow",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::NotFound { .. } => "not_found",
            Self::TurnInProgress => "turn_in_progress",
            Self::TooManyTurns { .. } => "too_many_turns",
            Self::QuestionEmpty => "question_empty",
            Self::QuestionTooLong { .. } => "question_too_long",
            Self::NoTexts => "no_texts",
            Self::TooManyTexts { .. } => "too_many_texts",
            Self::TextTooLong { .. } => "text_too_long",
            Self::QuestionRefused { .. } => "question_refused",
            Self::QuestionTooLarge { .. } => "question_too_large",
            Self::SettingRefused { .. } => "setting_refused",
            Self::PictureTooLarge { .. } => "picture_too_large",
            Self::PictureUnreadable { .. } => "picture_unreadable",
            Self::AddressRefused { .. } => "address_refused",
            Self::AddressesNotAllowed => "addresses_not_allowed",
            Self::MemoryFull => "memory_full",
            Self::StoreBusy => "store_busy",
            Self::FetchesFull => "fetches_full",
            Self::QueueFull { .. } => "queue_full",
            Self::VisitorQueueFull { .. } => "visitor_queue_full",
            Self::NetworkQueueFull { .. } => "network_queue_full",
            Self::TooManyQuestions { .. } => "too_many_questions",
            Self::TooManyFetches { .. } => "too_many_fetches",
            Self::TooSlow { .. } => "too_slow",
            Self::WaitedTooLong { .. } => "waited_too_long",
            Self::Ending => "ending",
            Self::ModelFailed { .. } => "model_failed",
            Self::ModelNotLoaded { .. } => "model_not_loaded",
            Self::ModelGone { .. } => "model_gone",
            Self::Internal { .. } => "internal",
        }
    }

    /// The flag of the limit that was met, by which a host can set another one.
    pub fn flag(&self) -> Option<&str> {
        Some(match self {
            Self::BodyTooSlow { .. } => "--min-body-rate",
            Self::BodyTooLarge { .. } => "--max-upload-bytes",
            Self::QuestionTooLarge { .. } => "--max-memory",
            Self::TooManyTurns { .. } => "--max-turns",
            Self::QuestionTooLong { .. } | Self::TextTooLong { .. } => "--max-question-chars",
            Self::TooManyTexts { .. } => "--max-texts",
            Self::PictureTooLarge { limited, .. } => return limited.flag(),
            Self::AddressesNotAllowed => "--allow-picture-urls",
            Self::MemoryFull => "--max-picture-memory",
            Self::QueueFull { .. } => "--max-waiting",
            Self::VisitorQueueFull { .. } | Self::NetworkQueueFull { .. } => "--max-waiting-per-visitor",
            Self::TooManyQuestions { .. } => "--max-questions-per-minute",
            Self::TooManyFetches { .. } => "--max-fetches-per-minute",
            Self::WaitedTooLong { .. } => "--max-wait-seconds",
            Self::TooSlow { .. } => "--max-answer-seconds",
            Self::SettingRefused { flag, .. } => return flag.as_deref(),
            _ => return None,
        })
    }
}

/// What a lower room says is wrong: which of its sentences, what is filled in, and how that reads in English.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// A whole sentence, for the log, and for visitors where nothing else is known.
    #[serde(rename = "detail")]
    pub text: String,
    /// None of what was kept before there were reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is filled in, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}

impl Detail {
    pub fn new<const N: usize>(reason: &str, text: impl Into<String>, values: [(&str, String); N]) -> Self {
        Self {
            text: text.into(),
            reason: Some(reason.to_owned()),
            values: values.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    }
}

/// A sentence of which nothing else is known.
impl From<String> for Detail {
    fn from(text: String) -> Self {
        Self {
            text,
            reason: None,
            values: BTreeMap::new(),
        }
    }
}

impl std::fmt::Display for Detail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    Conversation,
    Example,
    Answer,
    Turn,
    Picture,
    /// A model that is asked by name.
    Model,
    /// What an answer was made of, by which it could be explained.
    Explanation,
    /// The file of a conversation's picture, which somebody else has taken away.
    PictureFile,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Conversation => "conversation",
            Self::Example => "example",
            Self::Answer => "answer",
            Self::Turn => "question",
            Self::Picture => "picture",
            Self::Model => "model",
            Self::Explanation => "answer's tokens",
            Self::PictureFile => "picture's file",
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
    /// Bytes that a visitor may keep.
    Kept,
    /// Bytes that may be kept of all visitors.
    Stored,
}

impl PictureLimit {
    /// The flag that sets it, where one does.
    pub fn flag(self) -> Option<&'static str> {
        match self {
            Self::Bytes => Some("--max-upload-bytes"),
            Self::Pixels => Some("--max-pixels"),
            Self::Side => None,
            Self::Memory => Some("--max-picture-memory"),
            Self::Kept => Some("--max-megabytes-per-visitor"),
            Self::Stored => Some("--max-stored-megabytes"),
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
            Self::Kept => "bytes that a visitor may keep",
            Self::Stored => "bytes that may be kept",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_what_is_written_out() {
        let one_of_each = [
            Error::BodyTooSlow { bytes_per_second: 1 },
            Error::NotFound { what: Missing::Answer },
            Error::TurnInProgress,
            Error::QuestionTooLarge {
                rows: 1,
                needed: 2,
                budget: 1,
            },
            Error::AddressesNotAllowed,
            Error::MemoryFull,
            Error::StoreBusy,
            Error::NetworkQueueFull { limit: 1 },
            Error::TooSlow { seconds: 1 },
            Error::WaitedTooLong { seconds: 1 },
            Error::Ending,
            Error::NoTexts,
            Error::TooManyTexts { count: 2, limit: 1 },
            Error::TextTooLong {
                number: 1,
                chars: 2,
                limit: 1,
            },
            Error::ModelNotLoaded { model: "a".into() },
            Error::model_gone(),
            Error::internal(),
        ];
        for error in one_of_each {
            let written = serde_json::to_value(&error).expect("it has a JSON form");
            assert_eq!(written["code"], error.code());
        }
    }
}
