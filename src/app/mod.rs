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
#[cfg(feature = "ssr")]
use leptos::nonce::use_nonce;
use leptos::prelude::*;

#[cfg(feature = "ssr")]
use crate::api::{Base, Language, WORDS_ID, t};

/// Keeps the language that was chosen where there are no cookies too, as in frames of other sites, and sends the
/// choice as soon as it is made. Before the page is seen, so that it is not seen in two languages.
#[cfg(feature = "ssr")]
const KEEPS_LANGUAGE: &str = r#"{
  const html = document.documentElement, address = new URL(location), asked = address.searchParams
  const key = "glimpse-language", code = html.lang.split("-")[0]
  try {
    const kept = localStorage.getItem(key)
    if (asked.has("language")) {
      localStorage.setItem(key, code)
      asked.delete("language")
      history.replaceState(null, "", address)
    } else if (kept && kept !== code) {
      asked.set("language", kept)
      location.replace(address)
    }
  } catch {}
  addEventListener("change", ({ target }) => target.id === "language" && target.form.submit())
}"#;

/// The HTML document around the page.
#[cfg(feature = "ssr")]
pub fn shell(options: LeptosOptions) -> impl IntoView {
    let base = Base::current();
    let root = base.as_str().to_owned();
    let language = Language::current();
    view! {
        <!DOCTYPE html>
        <html lang=language.tag() dir=language.direction() data-base=base.as_str().to_owned()>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content"/>
                <title>"Glimpse"</title>
                <meta name="description" content=t("page.description")/>
                <meta name="color-scheme" content="light dark"/>
                <script nonce=use_nonce() inner_html=KEEPS_LANGUAGE></script>
                <link rel="icon" href=base.at("/favicon.ico") sizes="32x32"/>
                <link rel="icon" href=base.at("/favicon.svg") type="image/svg+xml"/>
                <link rel="stylesheet" href=base.at("/pkg/glimpse.css")/>
                // Data, which no policy keeps from being there.
                <script type="application/json" id=WORDS_ID inner_html=language.words_of_page()></script>
                <link rel="modulepreload" href=base.at("/js/picture.js")/>
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
