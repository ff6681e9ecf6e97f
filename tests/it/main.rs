//! What Glimpse promises, checked from outside: one crate, so that the program is linked once.
#![cfg(feature = "ssr")]

mod addresses;
mod attention;
mod blip;
mod capfilt;
mod connections;
mod conversation;
mod customization;
mod deadlines;
mod decoding;
mod drawn;
#[cfg(unix)]
mod ending;
mod engine;
mod explaining;
mod faults;
mod floods;
mod fuzz;
mod history;
mod hub;
mod import_rules;
mod installing;
mod instruct;
mod languages;
mod loading;
mod ops;
mod page_import_rules;
mod page_matching;
mod parity;
mod picture_memory;
mod pictures;
mod pool;
mod presets;
mod proxies;
mod quantised;
mod request_ids;
mod retrieval;
mod searching;
mod server;
mod settings;
mod setup;
mod several_models;
mod sharing;
mod support;
mod t5;
mod terminal;
mod visitors;
mod warm_up;

#[global_allocator]
static ALLOCATOR: support::memory::Counting = support::memory::Counting;
