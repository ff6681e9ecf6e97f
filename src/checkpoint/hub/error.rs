//! Why a checkpoint does not come from the hub; each a sentence with a way out.

use crate::checkpoint::readable_bytes;

/// What the hub answered, what is wrong with what came, or with the cache. Addresses in it have no
/// name and password.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error(
        "There is no folder {id}, and no repository {id} that may be read on {endpoint} ({status}). Check the spelling; for a private one, set HF_TOKEN to a token that may read it."
    )]
    NoRepository { id: String, endpoint: String, status: u16 },
    #[error(
        "{endpoint} does not accept the token that was sent ({status}). Set HF_TOKEN to a valid one, or log in again."
    )]
    BadToken { endpoint: String, status: u16 },
    #[error(
        "{id} is gated ({status}). Accept its conditions on {endpoint}/{id}, and set HF_TOKEN to a token of yours that may read it."
    )]
    Gated { id: String, endpoint: String, status: u16 },
    #[error("{endpoint} forbids to read {id} ({status}). Set HF_TOKEN to a token that may.")]
    Forbidden { id: String, endpoint: String, status: u16 },
    #[error("{id} has no revision {revision}. Name a branch, a tag or a commit that its page lists.")]
    NoRevision { id: String, revision: String },
    #[error("{id} has no {file}. Name a repository with a BLIP-2 checkpoint.")]
    NoFile { id: String, file: String },
    #[error("{endpoint} has had too many requests (429) and asks to wait {seconds} seconds. Try again then{hint}.")]
    TooManyRequests {
        endpoint: String,
        seconds: u64,
        hint: &'static str,
    },
    #[error("{endpoint} answers {status} for {what}. Try again later, or check HF_ENDPOINT.")]
    Status {
        endpoint: String,
        status: u16,
        what: String,
    },
    #[error("{endpoint} cannot be reached: {reason}. Check the connection (and HF_ENDPOINT), or name a folder.")]
    Unreachable { endpoint: String, reason: String },
    #[error(
        "{endpoint} answers for {file} without {missing}, so it is not a hub as Hugging Face's. Check HF_ENDPOINT."
    )]
    NotAHub {
        endpoint: String,
        file: String,
        missing: &'static str,
    },
    #[error("{id} is not complete in the cache {cache}: {file} is missing. {why}")]
    Incomplete {
        id: String,
        cache: String,
        file: String,
        why: String,
    },
    #[error(
        "{file} broke off {} before its end ({reason}), again and again. Run the command again: it goes on where it stopped.",
        readable_bytes(*.left)
    )]
    Interrupted { file: String, left: u64, reason: String },
    #[error(
        "{file} came with {found} bytes where the hub announces {expected}. It was thrown away: run the command again."
    )]
    WrongSize { file: String, expected: u64, found: u64 },
    #[error(
        "{file} came with another checksum (SHA-256 {found}) than the hub announces ({expected}). It was thrown away: run the command again."
    )]
    WrongChecksum {
        file: String,
        expected: String,
        found: String,
    },
    #[error("{path} cannot be written: {reason}. Make room there or allow it, or set HF_HUB_CACHE to another folder.")]
    Cache { path: String, reason: String },
}

impl HubError {
    /// Whether what is in the cache may serve instead, as in Python: the hub may be down, or
    /// not let us in; but what it says does not exist, does not.
    pub fn allows_cache(&self) -> bool {
        !matches!(
            self,
            Self::NoRevision { .. }
                | Self::NoFile { .. }
                | Self::WrongSize { .. }
                | Self::WrongChecksum { .. }
                | Self::Cache { .. }
                | Self::Incomplete { .. }
        )
    }
}
