//! Where the visitor is on the page.

use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{Element, EventTarget, HtmlBodyElement, HtmlSelectElement};

use super::form_fields::takes_text;

/// Whether fingers are used, so that the focus in a text box raises a keyboard over the page.
pub fn is_touched() -> bool {
    window()
        .match_media("(pointer: coarse)")
        .ok()
        .flatten()
        .is_some_and(|query| query.matches())
}

/// Whether the visitor is typing or choosing something.
pub fn is_in_field() -> bool {
    document()
        .active_element()
        .is_some_and(|element| element.has_type::<HtmlSelectElement>() || takes_text(Some(element.into())))
}

/// Whether the focus is on nothing, or on a button within what `selector` finds.
pub fn is_free_or_on_button(selector: &str) -> bool {
    document().active_element().is_none_or(|element| {
        element.has_type::<HtmlBodyElement>()
            || (element.tag_name() == "BUTTON" && element.closest(selector).is_ok_and(|within| within.is_some()))
    })
}

/// The element that an event is about.
pub fn target(target: Option<EventTarget>) -> Option<Element> {
    target.and_then(|target| target.dyn_into().ok())
}
