//! What went wrong, until the visitor has seen it or goes on.

use leptos::prelude::*;

use super::visit::Visit;

#[component]
pub fn Alert(visit: Visit) -> impl IntoView {
    move || {
        visit.alert.get().map(|sentence| {
            view! {
                <div class="alert">
                    <p role="alert">{sentence}</p>
                    <button type="button" aria-label="Dismiss" on:click=move |_| visit.alert.set(None)>"×"</button>
                </div>
            }
        })
    }
}
