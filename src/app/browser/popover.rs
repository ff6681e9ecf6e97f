//! Popovers, which open without a script; a script opens and closes them too.

use leptos::prelude::document;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{HtmlElement, HtmlInputElement};

/// Opens a popover, and goes to the field in it that wants the focus. An old browser that
/// knows no popovers shows it all the time.
pub fn show(id: &str) {
    if let Some(panel) = find(id) {
        let _ = panel.show_popover();
        let field = panel.query_selector("[autofocus]").ok().flatten();
        if let Some(field) = field.and_then(|field| field.dyn_into::<HtmlElement>().ok()) {
            let _ = field.focus();
        }
    }
}

/// Closes a popover, if it is open.
pub fn hide(id: &str) {
    if let Some(panel) = find(id) {
        let _ = panel.hide_popover();
    }
}

/// Goes to the field in a popover, all of its text chosen.
pub fn select(id: &str) {
    let field = find(id).and_then(|panel| panel.query_selector("input").ok()?);
    if let Some(field) = field.and_then(|field| field.dyn_into::<HtmlInputElement>().ok()) {
        let _ = field.focus();
        field.select();
    }
}

/// Opens a popover, or closes it.
pub fn toggle(id: &str) {
    if let Some(panel) = find(id) {
        let _ = panel.toggle_popover();
    }
}

/// Whether one is open, which the browser closes by itself.
pub fn is_any_open() -> bool {
    document()
        .query_selector(":popover-open")
        .is_ok_and(|open| open.is_some())
}

fn find(id: &str) -> Option<HtmlElement> {
    document().get_element_by_id(id)?.dyn_into().ok()
}
