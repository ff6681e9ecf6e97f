//! What went wrong, until the visitor has seen it or goes on.

use leptos::prelude::*;

use crate::app::state::State;

#[component]
pub fn Alert(state: State) -> impl IntoView {
    move || {
        state.alert.get().map(|sentence| {
            view! {
                <div class="alert">
                    <p role="alert">{sentence}</p>
                    <button type="button" aria-label="Dismiss" on:click=move |_| state.alert.set(None)>"×"</button>
                </div>
            }
        })
    }
}
