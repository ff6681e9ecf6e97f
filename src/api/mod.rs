//! What page and server say to each other: the types that travel, and the
//! server functions that carry them. The only contract between the two builds.

mod base_path;
mod client;
mod error;
mod functions;
mod language;
mod settings;
mod theme;
mod types;
mod upload;

pub use base_path::Base;
pub use client::{VISITOR_HEADER, set_base, set_visitor};
pub use error::{ApiError, ErrorCode};
pub use functions::*;
#[cfg(feature = "ssr")]
pub use language::{LANGUAGE_FIELD, Language, find_with};
pub use language::{LANGUAGE_HEADER, WORDS_ID, drawn, t, t_count, t_with};
pub use settings::*;
pub use theme::{THEME, Theme};
pub use types::*;
pub use upload::{send_picture, stop_sending};
