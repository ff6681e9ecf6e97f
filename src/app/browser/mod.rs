//! What the page asks of the browser. Knows no component and no state of the page.

pub mod clipboard_and_drag;
pub mod download;
pub mod focus;
pub mod form_fields;
pub mod history;
pub mod popover;
pub mod storage;
pub mod theme;
pub mod time;

use leptos::prelude::document;

/// Tells tests (and style) that the page listens to its visitor now.
pub fn mark_hydrated() {
    if let Some(html) = document().document_element() {
        let _ = html.set_attribute("data-hydrated", "");
    }
}
