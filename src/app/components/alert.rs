//! What went wrong, until the visitor has seen it or goes on.

use leptos::prelude::*;

use super::icon::{CLOSE, WARNING, icon, quiet_face};
use crate::app::state::State;

#[component]
pub fn Alert(state: State) -> impl IntoView {
    move || {
        state.alert.get().map(|sentence| {
            view! {
                <div class="alert">
                    <i inner_html=icon(WARNING)></i>
                    <p role="alert">{sentence}</p>
                    <button
                        type="button"
                        class="tool"
                        title="Dismiss"
                        on:click=move |_| state.alert.set(None)
                        inner_html=quiet_face(CLOSE, "Dismiss")
                    ></button>
                </div>
            }
        })
    }
}
