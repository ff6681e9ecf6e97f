//! Glimpse: ask a picture a question, and BLIP-2 answers.
//!
//! The rooms, from the visitor down to the model; arrows go down only:
//!
//! - [`app`]: what a person sees; Leptos components. Knows [`api`], nothing else.
//! - [`api`]: what page and server say to each other.
//! - [`server`]: axum: router, layers, who asks, errors to HTTP, static files.
//! - [`chat`]: the words as types: visitor, conversation, turn, answer, settings, errors.
//! - [`service`]: what Glimpse does, without HTTP: pictures, conversations, answers, quotas.
//! - [`capfilt`]: pairs of pictures and texts from the web, cleaned by a captioner and a filter.
//! - [`store`]: conversations and pictures that outlive a request.
//! - [`remote`]: pictures from addresses, and from public ones only on a server.
//! - [`engine`]: who answers when: queue, worker, cancelling, streaming.
//! - [`models`]: which models there are, what they need, and how one is opened.
//! - [`blip2`]: BLIP-2, on candle. Start reading at its own page.
//! - [`blip`]: BLIP, the first of the family: captions, short answers, matching.
//! - [`nn`]: the layers that networks share, and the switch between our kernels and candle's.
//! - [`cpu`]: our kernels for the CPU.
//! - [`generation`]: token after token.
//! - [`processor`]: a picture's bytes to pixel values, text to token ids and back.
//! - [`checkpoint`]: the files of a checkpoint, wherever they are, and the tensors in them.
//! - [`commands`]: one file a subcommand of the `glimpse` program.
//!
//! The crate is built twice: with the feature `ssr` it is the server and the
//! command line, with `hydrate` it is the page in WebAssembly.

#![recursion_limit = "256"]

pub mod api;
pub mod app;

#[cfg(feature = "ssr")]
pub mod blip;
#[cfg(feature = "ssr")]
pub mod blip2;
#[cfg(feature = "ssr")]
pub mod capfilt;
#[cfg(feature = "ssr")]
pub mod chat;
#[cfg(feature = "ssr")]
pub mod checkpoint;
#[cfg(feature = "ssr")]
pub mod commands;
#[cfg(feature = "ssr")]
pub mod cpu;
#[cfg(feature = "ssr")]
pub mod engine;
#[cfg(feature = "ssr")]
pub mod generation;
#[cfg(feature = "ssr")]
pub mod models;
#[cfg(feature = "ssr")]
pub mod nn;
#[cfg(feature = "ssr")]
pub mod processor;
#[cfg(feature = "ssr")]
pub mod remote;
#[cfg(feature = "ssr")]
pub mod server;
#[cfg(feature = "ssr")]
pub mod service;
#[cfg(feature = "ssr")]
pub mod store;

/// The page's entry: takes over the HTML that the server rendered.
#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    api::set_base(&api::Base::current());
    api::set_visitor(app::visitor_secret());
    leptos::mount::hydrate_body(app::App);
}
