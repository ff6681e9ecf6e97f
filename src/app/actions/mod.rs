//! What a visitor does: puts a picture in, asks, stops, goes back and forth. Each takes the
//! page's [`State`](super::state::State), and knows no component.

mod ask;
mod events;
mod follow;
mod lines;
mod open;
mod stop;
mod travel;

pub use ask::{ask_again, ask_draft, describe};
pub use open::{open_address, open_example, open_file};
pub use stop::stop;
pub use travel::{arrive, begin_anew, travel};
