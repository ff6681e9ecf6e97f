//! The page's own way in: the server's side of its server functions, the form of a browser
//! without JavaScript, its examples, and the pictures that it shows. `conversions` translates what
//! the service says, `settings` what the page's fields and scripts' settings mean,
//! `presets` how other programs generate in those fields. `shared` is what others may read, `export` what is taken
//! elsewhere: both are a `document`, in which `escaping` keeps text text.

mod answer_stream;
mod conversions;
mod document;
mod escaping;
pub mod examples;
pub mod export;
pub mod form;
pub mod functions;
mod heat_map;
mod markdown;
pub mod pictures;
mod presets;
mod settings;
pub mod shared;

use std::sync::Arc;

use axum::http::header;
use axum::http::request::Parts;
use leptos::nonce::use_nonce;
use leptos::prelude::{provide_context, use_context};
use leptos_axum::ResponseOptions;

use super::csp;
use crate::api::{Base, Language};
use crate::service::Service;

/// What a page, and a server function, finds in its context. A page gets its scripts allowed.
pub fn provide_contexts(service: &Arc<Service>) {
    provide_context(Arc::clone(service));
    let request = use_context::<Parts>();
    let extensions = request.as_ref().map(|request| &request.extensions);
    let base = extensions.and_then(|extensions| extensions.get::<Base>().cloned());
    provide_context(base.unwrap_or_default());
    let language = extensions.and_then(|extensions| extensions.get::<Language>().copied());
    provide_context(language.unwrap_or_default());
    if let (Some(nonce), Some(response)) = (use_nonce(), use_context::<ResponseOptions>()) {
        response.insert_header(header::CONTENT_SECURITY_POLICY, csp::with_scripts(&nonce));
    }
}
