//! What a visitor does: puts a picture in, asks, stops, goes back and forth. Each takes the
//! page's [`State`](super::state::State), and knows no component.

mod ask;
mod cancel;
mod events;
mod explain;
mod follow;
mod history;
mod lines;
mod load_state;
mod navigation;
mod open;
mod share;

pub use ask::{ask_again, ask_draft, ask_instead, ask_text, describe, go_on};
pub use cancel::cancel;
pub use explain::explain;
pub use history::{load_history, open_conversation, pin, remove, rename};
pub use navigation::{arrive, begin_anew, travel};
pub use open::{cancel_opening, open_address, open_example, open_file, remove_picture};
pub use share::{PANEL as SHARE_PANEL, export, load_shares, rate, share, unshare};
