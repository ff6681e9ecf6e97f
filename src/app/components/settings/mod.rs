//! The settings, behind their button. A popover, which opens without JavaScript.
//!
//! What is typed and chosen is in [`SettingsState`](crate::app::state::SettingsState), and
//! remembered by the browser. The server alone checks what it says.

mod appearance;
mod fields;
mod language;
mod panel;
mod presets;

use leptos::ev;
use leptos::html::Div;
use leptos::prelude::*;

use self::panel::Panel;
use super::icon::{SETTINGS, face};
use super::tool::drawer_head;
use crate::api::{Fields, drawn, is_setting, t};
use crate::app::browser::form_fields::Control;
use crate::app::browser::{focus, storage};
use crate::app::state::State;

/// The button that opens them.
#[component]
pub fn SettingsButton(is_open: RwSignal<bool>) -> impl IntoView {
    view! {
        <button
            type="button"
            class="tool wordy settings-button"
            title=t("settings")
            popovertarget="settings"
            aria-controls="settings"
            aria-expanded=move || if is_open.get() { "true" } else { "false" }
            inner_html=face(SETTINGS, t("settings"))
        ></button>
    }
}

#[component]
pub fn Settings(state: State, is_open: RwSignal<bool>) -> impl IntoView {
    let settings = state.settings;
    let panel = NodeRef::<Div>::new();
    let toggled = move |event: ev::Event| {
        let panel = focus::target(event.target());
        is_open.set(panel.is_some_and(|panel| panel.matches(":popover-open").unwrap_or(false)));
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
    let reset = move |_| settings.replace(Fields::new());
    view! {
        <div
            class="drawer settings"
            id="settings"
            popover="auto"
            role="dialog"
            aria-labelledby="settings-title"
            node_ref=panel
            on:toggle=toggled
            on:input=changed
        >
            {drawer_head("settings", t("settings"))}
            <div class="drawer-body">
                <Panel settings models=state.models/>
                // Sent to the address that the page is at.
                <form class="field language" method="get" inner_html=language::fields()></form>
            </div>
            <div class="drawer-foot" hidden=move || state.models.offers().matching>
                <p class="hint">{drawn("hint.kept")}</p>
                <button type="button" class="reset" on:click=reset>{t("settings.reset")}</button>
            </div>
        </div>
    }
}
