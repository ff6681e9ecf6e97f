//! Pictures from http(s) addresses, with no way to reach anything private.
//!
//! A [`Fetcher`] reads an address ([`address`]), looks its host up, asks of every number
//! that comes back whether it is public ([`policy`]), and connects to these numbers and to
//! no other: a name that leads elsewhere a moment later does not lead us there. Each
//! redirect goes the same way again. No proxy, cookie or password takes part. The addresses of
//! this machine are out of reach also where they are public ([`own_addresses`]).
//!
//! What a server says its bytes are keeps out what is certainly no picture, early and with
//! a fitting sentence. Stores of files often do not know and say nothing: then, as always,
//! the decoder decides, and what leaves the server is a picture that Glimpse has encoded
//! anew, never the bytes that came.
//!
//! In the terminal whoever asks is at his own machine, so that all addresses are allowed
//! there, as with `curl`; `glimpse serve` fetches for strangers, from public ones only.

pub mod address;
mod error;
mod fetch;
mod own_addresses;
mod pinned;
pub mod policy;
mod proxy;

pub use error::RemoteError;
pub use fetch::{FetchLimits, Fetcher};

use std::net::SocketAddr;

/// Whether a text is meant as an address, rather than as a file's name.
pub fn is_address(text: &str) -> bool {
    let begins_with = |scheme: &str| {
        text.get(..scheme.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    };
    begins_with("http://") || begins_with("https://")
}

/// From where pictures may be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// From wherever this machine can.
    Anywhere,
    /// From public addresses, and from these as well.
    Public { also: Vec<SocketAddr> },
}

impl Reach {
    /// Whether this very place was named as one to fetch from.
    fn names(&self, place: SocketAddr) -> bool {
        matches!(self, Self::Public { also } if also.contains(&place))
    }

    /// Why this place is out of reach, in words that follow "is".
    fn refusal(&self, place: SocketAddr) -> Option<&'static str> {
        match self {
            Self::Anywhere => None,
            Self::Public { .. } if self.names(place) => None,
            Self::Public { .. } => policy::refusal(place.ip()),
        }
    }
}
