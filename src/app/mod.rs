//! What a person sees, in four rooms of which each knows only those before it:
//!
//! - [`state`]: what the page's components share, in signals. No browser, no components.
//! - [`browser`]: what the page asks of the browser: history, focus, files, storage.
//! - [`actions`]: what a visitor does: open a picture, ask, follow the answer, stop, travel.
//! - [`components`]: the pieces of the page, one short file each. What they hold of the
//!   document stays inside them.
//!
//! Every control is part of a plain form, so that the page works before its
//! WebAssembly is there, and without it.

mod actions;
mod browser;
mod components;
mod state;

#[cfg(feature = "hydrate")]
pub use browser::storage::visitor_secret;
use components::Page;
use leptos::nonce::use_nonce;
use leptos::prelude::*;

use crate::api::{Base, Branding, PageStyle};

/// What the page says of itself to search engines, where its host says nothing.
const DESCRIPTION: &str = "Put a picture in, ask a question, and BLIP-2 answers.";

/// The HTML document around the page.
#[cfg(feature = "ssr")]
pub fn shell(options: LeptosOptions) -> impl IntoView {
    let base = Base::current();
    let root = base.as_str().to_owned();
    let Branding { title, description, .. } = use_context().unwrap_or_default();
    let PageStyle(style) = use_context().unwrap_or_default();
    view! {
        <!DOCTYPE html>
        <html lang="en" data-base=base.as_str().to_owned()>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content"/>
                <title>{title}</title>
                <meta name="description" content=description.unwrap_or_else(|| DESCRIPTION.to_owned())/>
                <meta name="color-scheme" content="light dark"/>
                <link rel="icon" href=base.at("/favicon.ico") sizes="32x32"/>
                <link rel="icon" href=base.at("/favicon.svg") type="image/svg+xml"/>
                <link rel="stylesheet" href=base.at("/pkg/glimpse.css")/>
                {style.map(|style| view! { <style nonce=use_nonce() inner_html=style></style> })}
                <AutoReload options=options.clone()/>
                <HydrationScripts options root/>
            </head>
            <body>
                <App/>
            </body>
        </html>
    }
}

/// The page, at all its addresses. One view serves them all and stays while the
/// visitor goes from one to the other, so the browser needs no router: it would
/// be a quarter of the download.
#[component]
pub fn App() -> impl IntoView {
    view! {
        <Page/>
        <Addresses/>
    }
}

/// Tells the server which addresses there are. Adds nothing to the page.
#[cfg(feature = "ssr")]
#[component]
fn Addresses() -> impl IntoView {
    use leptos_router::components::{Route, Router, Routes};
    use leptos_router::{SsrMode, path};
    let nothing = || ();
    view! {
        <Router>
            <Routes fallback=|| ()>
                <Route path=path!("") view=nothing ssr=SsrMode::Async/>
                <Route path=path!("c/:id") view=nothing ssr=SsrMode::Async/>
                <Route path=path!("ask") view=nothing ssr=SsrMode::Async/>
            </Routes>
        </Router>
    }
}

#[cfg(not(feature = "ssr"))]
#[component]
fn Addresses() -> impl IntoView {}
