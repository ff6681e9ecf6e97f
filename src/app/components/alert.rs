//! What went wrong, until the visitor has seen it or goes on.

use leptos::prelude::*;

use super::icon::{CLOSE, INFO, WARNING, icon};
use super::tool::tool;
use crate::api::t;
use crate::app::browser::history::reload;
use crate::app::state::State;

/// Says that the page is of another Glimpse than the server by now, and what to do.
#[component]
pub fn Outdated(state: State) -> impl IntoView {
    view! {
        <Show when=move || state.is_outdated.get()>
            <div class="alert">
                <i inner_html=icon(INFO)></i>
                <p role="alert">{t("alert.outdated")}</p>
                <button type="button" on:click=move |_| reload()>{t("alert.reload")}</button>
            </div>
        </Show>
    }
}

#[component]
pub fn Alert(state: State) -> impl IntoView {
    move || {
        state.alert.get().map(|sentence| {
            view! {
                <div class="alert">
                    <i inner_html=icon(WARNING)></i>
                    <p role="alert">{sentence}</p>
                    {tool(CLOSE, t("alert.dismiss"), move |_| state.alert.set(None))}
                </div>
            }
        })
    }
}
