//! Ids that nobody can guess.

use rand::Rng;

use crate::api::ConversationId;

/// 128 bits of the operating system's seeded generator, in hexadecimal.
pub fn unguessable() -> ConversationId {
    ConversationId(format!("{:032x}", rand::rng().random::<u128>()))
}
