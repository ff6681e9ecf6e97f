//! The pieces of the page, from top to bottom.

mod about_model;
mod alert;
mod answer;
mod answer_tools;
mod asked;
mod attempts;
mod camera;
mod choice;
mod composer;
mod dropping;
mod examples;
mod from_address;
mod header;
mod history;
mod icon;
mod keys;
mod leaf;
mod looked;
mod matches;
mod model_choice;
mod page;
mod paste_and_drop;
mod picture;
mod settings;
mod share;
mod suggestions;
mod text_box;
mod texts;
mod tool;
mod transcript;
mod turn;
mod welcome;

pub use page::Page;
