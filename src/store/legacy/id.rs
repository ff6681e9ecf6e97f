//! Ids that nobody can guess.

use rand::Rng;

use crate::api::ConversationId;

/// 128 bits of the operating system's seeded generator, in hexadecimal.
pub fn unguessable() -> ConversationId {
    ConversationId(format!("{:032x}", rand::rng().random::<u128>()))
}

/// A text that is an id.
pub fn parse(text: &str) -> Option<ConversationId> {
    let is_id = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| ConversationId(text.to_string()))
}
