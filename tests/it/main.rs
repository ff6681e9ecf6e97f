//! What Glimpse promises, checked from outside: one crate, so that the program is linked once.
#![cfg(feature = "ssr")]

mod addresses;
mod conversation;
mod decoding;
mod edge;
mod floods;
mod hub;
mod loading;
mod naming;
mod page_rooms;
mod parity;
mod pictures;
mod proxies;
mod rooms;
mod server;
mod settings;
mod support;
mod t5;
mod terminal;
mod visitors;
