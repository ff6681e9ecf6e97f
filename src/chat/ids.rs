//! Ids: 128 random bits in hexadecimal, so that nobody can guess another visitor's.

use rand::Rng;
use sha2::{Digest, Sha256};

/// A name of 32 hexadecimal digits.
macro_rules! ids {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        $($(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// One that nobody has: of the operating system's seeded generator.
            pub fn random() -> Self {
                Self(format!("{:032x}", rand::rng().random::<u128>()))
            }

            /// A text that is an id: 32 lower-case hexadecimal digits.
            pub fn parse(text: &str) -> Option<Self> {
                is_hexadecimal(text, 32).then(|| Self(text.to_owned()))
            }

            /// Its 32 digits, as they stand in addresses and in the database.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        })+
    };
}

ids! {
    /// Names a conversation. Its address has it; knowing it gives no right to read or write.
    ConversationId;
    /// Names a turn of a conversation.
    TurnId;
    /// Names one answer of a turn.
    AnswerId;
    /// Names the preview of a conversation's picture, for whoever may see the conversation:
    /// browsers ask for pictures without saying who they are.
    PreviewKey;
    /// Makes the address at which anybody may read what was said in a conversation. It is a secret of whoever
    /// shares, and kept nowhere but as its [`key`](ShareId::key).
    ShareId;
}

impl ShareId {
    /// What is stored in its place.
    pub fn key(&self) -> ShareKey {
        ShareKey(Sha256::digest(self.0.as_bytes()).into())
    }
}

/// The SHA-256 of a [`ShareId`], which cannot be had from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShareKey(pub [u8; 32]);

/// Names a picture by the SHA-256 of its size and pixels. It never leaves the server: it
/// would tell who else has put that picture in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PictureId(pub [u8; 32]);

impl PictureId {
    /// From 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        if !is_hexadecimal(text, 64) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl std::fmt::Display for PictureId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_hexadecimal(&self.0, f)
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn write_hexadecimal(bytes: &[u8], f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Whether a text has this many lower-case hexadecimal digits and nothing else.
pub(super) fn is_hexadecimal(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_text_and_nothing_else_is_one() {
        let id = ConversationId::random();
        assert_eq!(ConversationId::parse(id.as_str()), Some(id.clone()));
        assert_ne!(id, ConversationId::random());
        for text in [
            "",
            "1",
            "../../etc/passwd",
            &"0".repeat(31),
            &"0".repeat(33),
            &"F".repeat(32),
            &"é".repeat(16),
        ] {
            assert_eq!(ConversationId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_pictures_id_is_its_text() {
        let id = PictureId(std::array::from_fn(|index| index as u8 * 7));
        assert_eq!(PictureId::parse(&id.to_string()), Some(id));
        assert_eq!(PictureId::parse(&"é".repeat(32)), None);
    }
}
