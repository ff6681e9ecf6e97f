//! The settings, behind their button. A popover, which opens without JavaScript.

use leptos::ev;
use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::Element;

use super::model::AboutModel;
use super::visit::Visit;
use crate::api::ModelInfo;

#[component]
pub fn Settings(visit: Visit, model: ModelInfo) -> impl IntoView {
    let open = RwSignal::new(false);
    let toggled = move |event: ev::Event| {
        let panel = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        open.set(panel.is_some_and(|panel| panel.matches(":popover-open").unwrap_or(false)));
    };
    let (most, turns) = visit.limits.with_value(|limits| (limits.max_new_tokens, limits.turns));
    let automatic = if model.is_demo {
        "the last two"
    } else {
        "as many as fit"
    };
    view! {
        <button
            type="button"
            class="settings-button"
            popovertarget="settings"
            aria-controls="settings"
            aria-expanded=move || if open.get() { "true" } else { "false" }
        >
            "Settings"
        </button>
        <div class="settings" id="settings" popover="auto" on:toggle=toggled>
            <label>
                <span>"Max new tokens"</span>
                <input
                    type="number"
                    name="max_new_tokens"
                    form="ask"
                    min="1"
                    max=most.to_string()
                    inputmode="numeric"
                    placeholder="automatic"
                    node_ref=visit.max_new_tokens
                />
            </label>
            <p class="hint">"The longest answer, from 1 to "{most}" tokens. A token is about a word."</p>
            <label>
                <span>"Earlier turns as context"</span>
                <input
                    type="number"
                    name="context_turns"
                    form="ask"
                    min="0"
                    max=turns.to_string()
                    inputmode="numeric"
                    placeholder="automatic"
                    node_ref=visit.context_turns
                />
            </label>
            <p class="hint">"How many questions and answers are sent along with the next question: 0 for none, automatic for "{automatic}"."</p>
            <AboutModel model/>
        </div>
    }
}
