//! Where the visitor is on the page.

use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{Element, EventTarget, HtmlBodyElement, HtmlElement, HtmlSelectElement};

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

/// Goes to another of the elements that `selector` finds within what `around` does, where the focus is there:
/// `next` is told which of them has the focus, if one has, and which is the last, by number. Whether there was
/// one to go to.
pub fn go_among(around: &str, selector: &str, next: fn(Option<u32>, u32) -> u32) -> bool {
    let Some(element) = document().active_element() else {
        return false;
    };
    let closest = |selector: &str| element.closest(selector).ok().flatten();
    let Some(all) = closest(around).and_then(|around| around.query_selector_all(selector).ok()) else {
        return false;
    };
    let Some(last) = all.length().checked_sub(1) else {
        return false;
    };
    let own = closest(selector);
    let number = (0..=last).find(|number| own.is_some() && all.get(*number).as_ref() == own.as_deref());
    let found = all
        .get(next(number, last))
        .and_then(|node| node.dyn_into::<HtmlElement>().ok());
    found.is_some_and(|found| found.focus().is_ok())
}

/// The element that an event is about.
pub fn target(target: Option<EventTarget>) -> Option<Element> {
    target.and_then(|target| target.dyn_into().ok())
}
