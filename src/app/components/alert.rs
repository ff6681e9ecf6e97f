//! What went wrong, until the visitor has seen it or goes on.

use leptos::prelude::*;

use super::icon::{CLOSE, WARNING, icon};
use super::tool::tool;
use crate::api::t;
use crate::app::state::State;

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
