//! In the place of a conversation that has not begun.

use leptos::prelude::*;

use super::about_model::AboutModel;
use crate::api::ModelInfo;

#[component]
pub fn Welcome(model: ModelInfo) -> impl IntoView {
    view! {
        <div class="welcome">
            <h2>"Ask a picture"</h2>
            <p class="intro">"Put one in or try an example, ask what you want to know, and ask on."</p>
            <AboutModel model/>
        </div>
    }
}
