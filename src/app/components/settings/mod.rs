//! The settings, behind their button. A popover, which opens without JavaScript.
//!
//! What is typed and chosen is in [`SettingsState`](crate::app::state::SettingsState), and
//! remembered by the browser. The server alone checks what it says.

mod fields;
mod panel;
mod presets;

use leptos::ev;
use leptos::html::Div;
use leptos::prelude::*;

use self::panel::Panel;
use crate::api::{Fields, is_setting};
use crate::app::browser::form_fields::Control;
use crate::app::browser::{focus, storage};
use crate::app::state::State;

#[component]
pub fn Settings(state: State) -> impl IntoView {
    let settings = state.settings;
    let panel = NodeRef::<Div>::new();
    let open = RwSignal::new(false);
    let toggled = move |event: ev::Event| {
        let panel = focus::target(event.target());
        open.set(panel.is_some_and(|panel| panel.matches(":popover-open").unwrap_or(false)));
    };
    // One listener for all fields: each says by its name what it sets.
    let changed = move |event: ev::Event| {
        if let Some(control) = focus::target(event.target()).and_then(Control::new)
            && let Some(value) = control.value()
            && is_setting(&control.name())
        {
            settings.set(&control.name(), value);
        }
    };
    Effect::new(move |is_begun: Option<bool>| {
        if panel.get().is_none() {
            return false; // the fields have not told what was typed before the page listened
        }
        // That, or what a form that failed brings back, goes before what is remembered.
        if is_begun != Some(true)
            && settings.fields().is_empty()
            && let Some(remembered) = storage::remembered()
        {
            settings.replace(remembered);
        }
        storage::remember(&settings.fields());
        true
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
            node_ref=panel
            on:toggle=toggled
            on:input=changed
        >
            <Panel settings models=state.models reset=move || settings.replace(Fields::new())/>
        </div>
    }
}
