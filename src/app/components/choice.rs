//! Several pictures that were put in at once: the visitor says which one. `public/pkg/choice.js` does what it does;
//! here are its words.

use leptos::prelude::*;

use super::icon::{CLOSE, quiet_face};
use crate::api::t;

#[component]
pub fn Choice() -> impl IntoView {
    let html = [
        "<p></p><button type=\"button\" class=\"tool\" title=\"",
        t("choice.close"),
        "\">",
        &quiet_face(CLOSE, t("choice.close")),
        "</button><div class=\"several-strip\"></div>",
    ];
    view! {
        <div
            id="choice"
            class="several"
            role="group"
            aria-label=t("choice")
            data-several=t("choice.several")
            data-one=t("choice.one_left")
            hidden
            inner_html=html.concat()
        ></div>
    }
}
