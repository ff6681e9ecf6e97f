//! The kinds of fields that settings have. Each shows its setting, and is found by its label.
//!
//! Functions, and one kind of `<input>` for all: each further kind of view is code that the
//! page has to load. Their limits and hints are drawn by the server: a page that takes over
//! what is drawn leaves texts and attributes as they are.

use leptos::prelude::*;
use leptos::web_sys::Element;

use crate::api::{NumberSetting, drawn, label, t_with};
use crate::app::browser::form_fields::Control;
use crate::app::components::text_box::as_html;
use crate::app::state::SettingsState;

/// Keeps a field, used as `use:bound=settings`, as its setting says, by its name. What was
/// typed before the page listened holds.
fn bound(element: Element, settings: SettingsState) {
    let Some(control) = Control::new(element) else {
        return;
    };
    let name = control.name();
    if let Some(typed) = control.value() {
        settings.set(&name, typed);
    }
    Effect::new(move || control.set_value(&settings.value(&name)));
}

/// What distinguishes an `<input>`.
#[derive(Default)]
struct Input {
    kind: &'static str,
    name: &'static str,
    /// What is chosen with a radio button or check box.
    choice: Option<&'static str>,
    min: Option<String>,
    max: Option<String>,
    step: Option<&'static str>,
    keys: Option<&'static str>,
    placeholder: Option<String>,
}

impl Input {
    fn view(self, settings: SettingsState) -> impl IntoView {
        let value = settings.first_value(self.name);
        let is_chosen = self.choice == Some(value.as_str());
        view! {
            <input
                type=self.kind
                name=self.name
                form="ask"
                autocomplete="off"
                min=self.min
                max=self.max
                step=self.step
                inputmode=self.keys
                placeholder=self.placeholder
                aria-describedby=hint_id(self.name)
                value=self.choice.map_or(value, str::to_owned)
                checked=is_chosen
                use:bound=settings
            />
        }
    }
}

/// A field with its label and what there is to know of it.
fn field(name: &'static str, hint: String, control: impl IntoView) -> impl IntoView {
    view! {
        <div class="field">
            <label>
                <span>{label(name)}</span>
                {control}
            </label>
            <p class="hint" id=hint_id(name)>{hint}</p>
        </div>
    }
}

fn hint_id(name: &str) -> String {
    ["hint-", name].concat()
}

/// One of the ways of decoding.
pub fn decoding(settings: SettingsState, value: &'static str, words: &'static str) -> impl IntoView {
    let input = Input {
        kind: "radio",
        name: "decoding",
        choice: Some(value),
        ..Input::default()
    };
    view! {
        <label>
            {input.view(settings)}
            <span>{words}</span>
        </label>
    }
}

/// From here on a limit is beyond what anybody would choose.
const ENDLESS: f64 = 1e5;

/// A number; empty is its default.
pub fn number(settings: SettingsState, name: &'static str, hint: &'static str) -> impl IntoView {
    let NumberSetting {
        min,
        max,
        is_whole,
        default,
        ..
    } = settings.number(name);
    let hint = if max < ENDLESS {
        t_with(
            "hint.range",
            &[("min", &min.to_string()), ("max", &max.to_string()), ("hint", hint)],
        )
    } else {
        hint.to_owned()
    };
    let input = Input {
        kind: "number",
        name,
        // A fraction's steps are counted from its least value, where there is one.
        min: is_whole.then(|| min.to_string()),
        max: Some(max.to_string()),
        step: Some(if is_whole { "1" } else { "0.1" }),
        // Not every phone's keys for numbers have a minus.
        keys: Some(match (min < 0.0, is_whole) {
            (true, _) => "text",
            (false, true) => "numeric",
            (false, false) => "decimal",
        }),
        placeholder: Some(default.map_or_else(|| drawn("setting.automatic").to_owned(), |default| default.to_string())),
        ..Input::default()
    };
    field(name, hint, input.view(settings))
}

/// Something that is on or off.
pub fn check(settings: SettingsState, name: &'static str, hint: &'static str) -> impl IntoView {
    let input = Input {
        kind: "checkbox",
        name,
        choice: Some("true"),
        ..Input::default()
    };
    field(name, hint.to_owned(), input.view(settings))
}

/// A line of text.
pub fn words(
    settings: SettingsState,
    name: &'static str,
    hint: &'static str,
    placeholder: &'static str,
) -> impl IntoView {
    let input = Input {
        kind: "text",
        name,
        placeholder: Some(placeholder.to_owned()),
        ..Input::default()
    };
    field(name, hint.to_owned(), input.view(settings))
}

pub fn early_stopping(settings: SettingsState) -> impl IntoView {
    let name = "early_stopping";
    let chosen = settings.first_value(name);
    let choice = |value: &'static str, words: &'static str| {
        let is_chosen = chosen == value;
        view! { <option value=value selected=is_chosen>{words}</option> }
    };
    let choices = [
        choice("", drawn("setting.early_stopping_automatic")),
        choice("never", drawn("setting.early_stopping_never")),
        choice("true", drawn("setting.early_stopping_at_once")),
    ];
    let control = view! {
        <select name=name form="ask" aria-describedby=hint_id(name) use:bound=settings>
            {choices}
        </select>
    };
    let hint = drawn("hint.early_stopping");
    field(name, hint.to_owned(), control)
}

pub fn stop_strings(settings: SettingsState) -> impl IntoView {
    let name = "stop_strings";
    let control = view! {
        <textarea
            name=name
            form="ask"
            rows="2"
            autocomplete="off"
            spellcheck="false"
            aria-describedby=hint_id(name)
            inner_html=as_html(&settings.first_value(name))
            use:bound=settings
        ></textarea>
    };
    let hint = drawn("hint.stop_strings");
    field(name, hint.to_owned(), control)
}
