//! Pasting and dropping, anywhere on the page.

use leptos::ev;
use leptos::prelude::*;

use super::from_address::offer;
use crate::app::actions::{open_address, open_file};
use crate::app::browser::clipboard_and_drag;
use crate::app::browser::form_fields::takes_text;
use crate::app::state::State;

/// What a link or a page that is dragged carries.
const LINKS: [&str; 2] = ["text/uri-list", "text/x-moz-url"];

/// Listens from now on; `over` says whether something that would be taken hangs on the pointer.
pub fn listen(state: State, over: RwSignal<bool>) {
    window_event_listener(ev::paste, move |event| pasted(state, &event));
    // A file or link that misses the drop zone would replace the page.
    window_event_listener(ev::dragover, move |event| {
        let has_file = clipboard_and_drag::carries(event.data_transfer(), &["Files"]);
        let is_taken = has_file || may_be_address(state, &event);
        if is_taken {
            event.prevent_default();
        }
        over.set(is_taken && (has_file || clipboard_and_drag::carries(event.data_transfer(), &LINKS)));
    });
    window_event_listener(ev::dragleave, move |event| {
        if event.related_target().is_none() {
            over.set(false);
        }
    });
    window_event_listener(ev::drop, move |event| {
        over.set(false);
        dropped(state, &event);
    });
}

fn pasted(state: State, event: &ev::ClipboardEvent) {
    let text = clipboard_and_drag::pasted_text(event.clipboard_data());
    let is_typing = takes_text(event.target());
    if let Some(file) = clipboard_and_drag::transferred_file(event.clipboard_data()) {
        // Word and Excel put a picture of the text beside it.
        if is_typing && !text.is_empty() && !clipboard_and_drag::names_file(&text, &file.name()) {
            return;
        }
        event.prevent_default();
        open_file(state, file);
    } else if clipboard_and_drag::is_web_address(&text) && !is_typing {
        offer(state, text);
    }
}

fn dropped(state: State, event: &ev::DragEvent) {
    if let Some(file) = clipboard_and_drag::transferred_file(event.data_transfer()) {
        event.prevent_default();
        open_file(state, file);
    } else if may_be_address(state, event) {
        event.prevent_default();
        let address = event.data_transfer().and_then(|data| {
            clipboard_and_drag::dragged_address(|format| clipboard_and_drag::dragged_text(&data, format))
        });
        if let Some(address) = address {
            open_address(state, address);
        }
    }
}

/// Whether what is dragged may be a picture's address. Until it is dropped a browser says
/// its formats only. Text that is dropped where text is typed stays text.
fn may_be_address(state: State, event: &ev::DragEvent) -> bool {
    state.takes_addresses
        && !takes_text(event.target())
        && (clipboard_and_drag::carries(event.data_transfer(), &LINKS)
            || clipboard_and_drag::carries(event.data_transfer(), &["text/plain"]))
}
