//! What page and server say to each other: the types that travel, and the
//! server functions that carry them. The only contract between the two builds.

mod base;
mod client;
mod error;
mod functions;
mod settings;
mod types;

pub use base::Base;
pub use client::set_base;
pub use error::{ApiError, ErrorKind};
pub use functions::*;
pub use settings::*;
pub use types::*;
