//! What a person sees: Leptos components, one file each.

use leptos::prelude::*;
use leptos_meta::provide_meta_context;

/// The HTML document around the page.
pub fn shell(options: LeptosOptions) -> impl IntoView {
    view! {
        <!DOCTYPE html>
        <html lang="en">
            <head><HydrationScripts options/></head>
            <body><App/></body>
        </html>
    }
}

/// The page.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    view! { <main>"Glimpse"</main> }
}
