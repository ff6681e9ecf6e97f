//! The HTML document around the page: its name, its icons, its style.

use leptos::nonce::use_nonce;
use leptos::prelude::*;

use crate::api::{Base, Branding, PageStyle};

/// What the page says of itself to search engines, where its host says nothing.
const DESCRIPTION: &str = "Put a picture in, ask a question, and BLIP-2 answers.";

/// The document, with the page as its body.
pub fn document<V: IntoView>(options: LeptosOptions, page: impl FnOnce() -> V) -> impl IntoView {
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
                {page()}
            </body>
        </html>
    }
}
