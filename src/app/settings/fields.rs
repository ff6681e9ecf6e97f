//! The settings' fields in the browser: read, written and remembered.

use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{Element, HtmlInputElement, HtmlSelectElement, HtmlTextAreaElement, Storage};

use crate::api::Fields;

/// Where the browser keeps them.
const KEY: &str = "glimpse-settings";

/// One field. The browser has a type for each kind, and no common one.
enum Field {
    /// With a text or a number.
    Input(HtmlInputElement),
    /// That is on or off.
    Switch(HtmlInputElement),
    Select(HtmlSelectElement),
    Area(HtmlTextAreaElement),
}

impl Field {
    fn new(element: Element) -> Option<Self> {
        let element = match element.dyn_into::<HtmlInputElement>() {
            Ok(input) if matches!(input.type_().as_str(), "radio" | "checkbox") => return Some(Self::Switch(input)),
            Ok(input) => return Some(Self::Input(input)),
            Err(element) => element,
        };
        match element.dyn_into() {
            Ok(select) => Some(Self::Select(select)),
            Err(element) => element.dyn_into().ok().map(Self::Area),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Input(input) | Self::Switch(input) => input.name(),
            Self::Select(select) => select.name(),
            Self::Area(area) => area.name(),
        }
    }

    /// What is typed or chosen; nothing of what is off.
    fn value(&self) -> Option<String> {
        match self {
            // A browser gives no text for what is no number.
            Self::Input(input) if input.validity().bad_input() => Some("?".to_owned()),
            Self::Input(input) => Some(input.value()),
            Self::Switch(input) => input.checked().then(|| input.value()),
            Self::Select(select) => Some(select.value()),
            Self::Area(area) => Some(area.value()),
        }
    }

    fn set(&self, value: &str) {
        match self {
            Self::Input(input) => input.set_value(value),
            Self::Switch(input) => input.set_checked(input.value() == value),
            Self::Select(select) => select.set_value(value),
            Self::Area(area) => area.set_value(value),
        }
    }
}

fn all(panel: &Element) -> Vec<Field> {
    let Ok(found) = panel.query_selector_all("[name]") else {
        return Vec::new();
    };
    let elements = (0..found.length()).filter_map(|index| found.item(index)?.dyn_into().ok());
    elements.filter_map(Field::new).collect()
}

/// What is typed and chosen; what is empty or off is left out.
pub fn read(panel: &Element) -> Fields {
    let values = all(panel).into_iter().map(|field| (field.name(), field.value()));
    let set = values.filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    set.collect()
}

/// Puts values into their fields, and empties the others.
pub fn write(panel: &Element, fields: &Fields) {
    for field in all(panel) {
        field.set(fields.get(&field.name()).map(String::as_str).unwrap_or_default());
    }
}

/// Keeps the values for the visitor's next time, where the browser lets the page.
pub fn remember(fields: &Fields) {
    if let (Some(storage), Ok(json)) = (storage(), serde_json::to_string(fields)) {
        let _ = storage.set_item(KEY, &json);
    }
}

/// The values of the last time.
pub fn remembered() -> Option<Fields> {
    let json = storage()?.get_item(KEY).ok()??;
    serde_json::from_str(&json).ok()
}

/// Keeps nothing.
pub fn forget() {
    if let Some(storage) = storage() {
        let _ = storage.remove_item(KEY);
    }
}

/// None in a frame that may not store anything.
fn storage() -> Option<Storage> {
    window().local_storage().ok().flatten()
}
