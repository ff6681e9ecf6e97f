//! What Glimpse promises, checked from outside: one crate, so that the program is linked once.
#![cfg(feature = "ssr")]

mod addresses;
mod conversation;
mod decoding;
mod edge;
mod engine;
mod floods;
mod fuzz;
mod hub;
mod loading;
mod naming;
mod page_rooms;
mod parity;
mod picture_memory;
mod pictures;
mod proxies;
mod rooms;
mod server;
mod settings;
mod support;
mod t5;
mod terminal;
mod visitors;

#[global_allocator]
static ALLOCATOR: support::memory::Counting = support::memory::Counting;
