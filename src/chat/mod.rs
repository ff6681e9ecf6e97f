//! The words of Glimpse as types: who asks, about what, and what came of it.
//!
//! A [`Conversation`] of a [`Visitor`] is about one picture and has turns; a [`Turn`] is a
//! question and its answers; an [`Answer`] grows by [`Event`]s. What goes wrong is an
//! [`Error`]: a code with its data, for which sentences are made where a reader is.
//!
//! No wire format, no database and no model: rooms that have one translate.

mod conversation;
mod error;
mod event;
mod explanation;
mod ids;
mod request_id;
mod settings;
mod visitor;

pub use conversation::{
    Answer, AnswerState, Conversation, ConversationEntry, FinishReason, PictureInfo, Place, TextScore, Timings, Turn,
};
pub use error::{Detail, Error, Missing, PictureLimit};
pub use event::{Completion, Event, EventKind};
pub use explanation::{ExplainedWord, Explanation, LookMap, Other};
pub use ids::{AnswerId, ConversationId, PictureId, PreviewKey, TurnId};
pub use request_id::RequestId;
pub use settings::{EarlyStopping, Never, Settings};
pub use visitor::{Secret, Visitor, VisitorId};
