//! Every limit of the server: each has a default, a flag, and an error that names it.

use std::time::Duration;

use super::Pace;
use crate::processor::PictureLimits;

/// What one visitor, and all of them together, may ask of this server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub picture: PictureLimits,
    /// Characters of a question.
    pub question_chars: usize,
    /// Tokens of an answer, and how many it gets if the visitor does not say.
    pub max_new_tokens: usize,
    pub default_new_tokens: usize,
    /// Beams, and answers to one question.
    pub beams: usize,
    /// Connections at the same time.
    pub connections: u32,
    /// Connections at the same time from one address that is not this machine.
    pub connections_per_address: u32,
    /// How fast the body of a request has to come.
    pub pace: Pace,
    /// How long the head of a request may take to arrive, waiting for a next request included.
    pub head_time: Duration,
    /// How long a connection may take nothing of what is written to it.
    pub write_time: Duration,
    /// Bytes that pictures may take, on their way and while they are decoded.
    pub picture_memory: u64,
    /// How long one answer may take, waiting included.
    pub answer_time: Duration,
    /// How long an answer goes on when nobody listens any more.
    pub grace: Duration,
}
