//! The settings, behind their button. A popover, which opens without JavaScript.
//!
//! What is typed and chosen stays in its fields ([`fields`]): it is read when a question is
//! asked, and remembered by the browser. The server draws the fields (`panel`), and alone
//! checks what they say.

mod fields;
#[cfg(feature = "ssr")]
mod labels;
#[cfg(feature = "ssr")]
mod panel;

use leptos::ev;
use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::Element;

use super::visit::Visit;
use crate::api::{Fields, ModelInfo, SettingsPanel};

#[cfg(feature = "ssr")]
pub use labels::{is_setting, label};

#[component]
pub fn Settings(visit: Visit, model: ModelInfo, panel: SettingsPanel) -> impl IntoView {
    let open = RwSignal::new(false);
    let toggled = move |event: ev::Event| {
        let panel = target(&event);
        open.set(panel.is_some_and(|panel| panel.matches(":popover-open").unwrap_or(false)));
    };
    let changed = move |_| fields::remember(&chosen(visit));
    let clicked = move |event: ev::MouseEvent| {
        if target(&event).is_some_and(|target| target.class_list().contains("reset"))
            && let Some(panel) = visit.settings.get_untracked()
        {
            fields::write(&panel, &untouched());
            fields::forget();
        }
    };
    Effect::new(move || {
        // What was typed before, or a form that failed brings back, goes before what is remembered.
        if let Some(panel) = visit.settings.get()
            && fields::read(&panel) == untouched()
            && let Some(remembered) = fields::remembered()
        {
            fields::write(&panel, &remembered);
        }
    });
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
        <div
            class="settings"
            id="settings"
            popover="auto"
            node_ref=visit.settings
            on:toggle=toggled
            on:input=changed
            on:click=clicked
            inner_html=inside(model, panel)
        ></div>
    }
}

/// The fields do not change, so the browser has them from the server and needs no code for them.
#[cfg(feature = "ssr")]
fn inside(model: ModelInfo, panel: SettingsPanel) -> String {
    view! { <panel::Panel model panel/> }.to_html()
}

#[cfg(not(feature = "ssr"))]
fn inside(_: ModelInfo, _: SettingsPanel) -> String {
    String::new()
}

/// The fields of whoever has set nothing.
fn untouched() -> Fields {
    Fields::from([("decoding".to_owned(), "greedy".to_owned())])
}

/// The settings as they stand on the page.
pub fn chosen(visit: Visit) -> Fields {
    let panel = visit.settings.get_untracked();
    panel.map(|panel| fields::read(&panel)).unwrap_or_default()
}

fn target(event: &ev::Event) -> Option<Element> {
    event.target().and_then(|target| target.dyn_into().ok())
}
