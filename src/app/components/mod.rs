//! The pieces of the page, from top to bottom.

mod alert;
mod bound;
mod composer;
mod examples;
mod from_address;
mod header;
mod listeners;
mod model;
mod page;
mod picture;
mod settings;
mod transcript;
mod turn;
mod welcome;

pub use page::Page;
