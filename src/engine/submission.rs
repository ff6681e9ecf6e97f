//! What is asked of an engine.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::ClientKey;
use crate::chat::VisitorId;
use crate::generation::GenerationOptions;
use crate::processor::{Exchange, Picture};

/// A question about a picture, and whose it is.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Who asks: clients are served in turn.
    pub client: ClientKey,
    /// The network that he asks from, whose clients share its turn; `None` where it says nothing
    /// of who he is.
    pub network: Option<IpAddr>,
    /// Where it has not begun by then it fails, with
    /// [`EngineError::Deadline`](super::EngineError::Deadline).
    pub deadline: Option<Instant>,
    /// As [`Engine::prepare`](super::Engine::prepare) gave it. Two pictures of the same pixels
    /// are one to the engine: what the model sees of the latest is remembered.
    pub picture: Arc<Picture>,
    pub instruction: Instruction,
    /// Without stop strings, which only the engine can turn into tokens.
    pub options: GenerationOptions,
    /// Texts that end an answer; they stay part of it.
    pub stop_strings: Vec<String>,
}

/// What the model is to do with the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Describe it.
    Caption {
        /// How the caption begins; the answer is how it goes on.
        prefix: Option<String>,
    },
    /// Go on with this text, which is sent as it is.
    Raw(String),
    /// Answer a question.
    Question {
        question: String,
        /// What was asked and answered before, in this order. The oldest are left out where
        /// the model has no room for them.
        earlier: Vec<Exchange>,
        /// How many of them are sent, at most; `None` leaves it to the engine, which knows what
        /// its model was trained on.
        context_turns: Option<usize>,
    },
    /// Say how well each of these texts fits the picture.
    Compare { texts: Vec<String> },
}

impl Instruction {
    /// A question with nothing before it.
    pub fn question(question: impl Into<String>) -> Self {
        Self::Question {
            question: question.into(),
            earlier: Vec::new(),
            context_turns: None,
        }
    }
}

impl From<VisitorId> for ClientKey {
    fn from(visitor: VisitorId) -> Self {
        Self(visitor.0)
    }
}
