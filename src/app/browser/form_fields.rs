//! Fields of a form, and what is in them.

use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{Element, EventTarget, HtmlInputElement, HtmlSelectElement, HtmlTextAreaElement};

/// One field. The browser has a type for each kind, and no common one.
pub enum Control {
    /// With a text or a number.
    Input(HtmlInputElement),
    /// That is on or off.
    Check(HtmlInputElement),
    /// One of several of which one is on.
    Radio(HtmlInputElement),
    Select(HtmlSelectElement),
    Area(HtmlTextAreaElement),
}

impl Control {
    /// None where the element is no field.
    pub fn new(element: Element) -> Option<Self> {
        let element = match element.dyn_into::<HtmlInputElement>() {
            Ok(input) => {
                return Some(match input.type_().as_str() {
                    "radio" => Self::Radio(input),
                    "checkbox" => Self::Check(input),
                    _ => Self::Input(input),
                });
            }
            Err(element) => element,
        };
        match element.dyn_into() {
            Ok(select) => Some(Self::Select(select)),
            Err(element) => element.dyn_into().ok().map(Self::Area),
        }
    }

    pub fn name(&self) -> String {
        match self {
            Self::Input(input) | Self::Check(input) | Self::Radio(input) => input.name(),
            Self::Select(select) => select.name(),
            Self::Area(area) => area.name(),
        }
    }

    /// What is typed or chosen, empty where it is off. None of one of several choices that is
    /// not the chosen one.
    pub fn value(&self) -> Option<String> {
        match self {
            // A browser gives no text for what is not a number.
            Self::Input(input) if input.validity().bad_input() => Some("?".to_owned()),
            Self::Input(input) => Some(input.value()),
            Self::Check(input) => Some(if input.checked() { input.value() } else { String::new() }),
            Self::Radio(input) => input.checked().then(|| input.value()),
            Self::Select(select) => Some(select.value()),
            Self::Area(area) => Some(area.value()),
        }
    }

    /// Puts a value in, unless it is there: what is set moves the text cursor.
    pub fn set_value(&self, value: &str) {
        if self.value().as_deref() == Some(value) {
            return;
        }
        match self {
            Self::Input(input) => input.set_value(value),
            Self::Check(input) | Self::Radio(input) => input.set_checked(input.value() == value),
            Self::Select(select) => select.set_value(value),
            Self::Area(area) => area.set_value(value),
        }
    }
}

/// Whether an event is about a place where text is typed.
pub fn takes_text(target: Option<EventTarget>) -> bool {
    target.is_some_and(|target| {
        target.has_type::<HtmlTextAreaElement>()
            || target
                .dyn_into::<HtmlInputElement>()
                .is_ok_and(|input| !matches!(input.type_().as_str(), "file" | "radio" | "checkbox"))
    })
}
