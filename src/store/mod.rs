//! Conversations and pictures that outlive a request.

mod legacy;
mod preview;

pub use legacy::{LegacyStore, LegacyStoreError, LegacyStoreLimits};
