//! What the page asks of the browser. Knows no component and no state of the page.

pub mod control;
pub mod focus;
pub mod history;
pub mod popover;
pub mod storage;
pub mod time;
pub mod transfer;

use leptos::prelude::document;

/// Tells tests (and style) that the page listens to its visitor now.
pub fn mark_hydrated() {
    if let Some(html) = document().document_element() {
        let _ = html.set_attribute("data-hydrated", "");
    }
}
