//! The page's own way in: the server's side of its server functions, the form of a browser
//! without JavaScript, its examples, and the pictures that it shows. `conversions` translates what
//! the service says, `settings` what the page's fields and scripts' settings mean,
//! `presets` how other programs generate in those fields. `shared` is what others may read, `export` what is taken
//! elsewhere: both are a `document`, in which `escaping` keeps text text.

mod answer_stream;
mod conversions;
mod document;
mod escaping;
mod examples;
pub mod export;
pub mod form;
pub mod functions;
mod heat_map;
mod manifest;
mod markdown;
pub mod pictures;
mod presets;
mod settings;
pub mod shared;

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use leptos::nonce::use_nonce;
use leptos::prelude::{provide_context, use_context};
use leptos_axum::ResponseOptions;

pub use examples::{Examples, ExamplesError, OWN as OWN_EXAMPLES, thumbnail as example_thumbnail};
pub use manifest::serve as serve_manifest;

use super::accent::Accent;
use super::assets;
use super::csp;
use super::customization::Customization;
use crate::api::{Base, FileAddress, Language, PageStyle, THEME, Theme};
use crate::service::Service;

/// Where pictures are shared to, from other programs.
pub const SHARE: &str = "/share";

/// What a page, and a server function, finds in its context. A page gets its scripts allowed.
pub fn provide_contexts(service: &Arc<Service>, customization: &Arc<Customization>) {
    provide_context(Arc::clone(service));
    provide_context(Arc::clone(customization));
    provide_context(customization.branding.clone());
    provide_context(PageStyle(customization.accent.as_ref().map(Accent::style)));
    provide_context(FileAddress(assets::address));
    let request = use_context::<Parts>();
    let theme = request.as_ref().map(|request| theme(&request.headers));
    provide_context(theme.unwrap_or_default());
    let extensions = request.as_ref().map(|request| &request.extensions);
    let base = extensions.and_then(|extensions| extensions.get::<Base>().cloned());
    provide_context(base.unwrap_or_default());
    let language = extensions.and_then(|extensions| extensions.get::<Language>().copied());
    provide_context(language.unwrap_or_default());
    if let (Some(nonce), Some(response)) = (use_nonce(), use_context::<ResponseOptions>()) {
        response.insert_header(
            header::CONTENT_SECURITY_POLICY,
            csp::with_scripts(&nonce, customization.accent.is_some()),
        );
    }
}

/// As the visitor has chosen, by a cookie.
fn theme(headers: &HeaderMap) -> Theme {
    let all = headers.get_all(header::COOKIE).iter();
    let pairs = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    let mut chosen = pairs.filter_map(|pair| pair.trim().strip_prefix(THEME)?.strip_prefix('='));
    Theme::named(chosen.next().unwrap_or_default())
}
