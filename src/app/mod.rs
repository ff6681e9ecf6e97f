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
#[cfg(feature = "ssr")]
mod document;
mod state;

#[cfg(feature = "hydrate")]
pub use browser::storage::visitor_secret;
use components::Page;
#[cfg(feature = "ssr")]
pub use document::GROUNDS;
use leptos::prelude::*;

/// The HTML document around the page, which the server alone makes.
#[cfg(feature = "ssr")]
pub fn shell(options: LeptosOptions) -> impl IntoView {
    document::document(options, || view! { <App/> })
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
