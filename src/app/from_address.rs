//! A picture from an address, behind a button. A popover, which opens without JavaScript.

use leptos::ev;
use leptos::prelude::*;

use super::opening::open_address;
use super::visit::Visit;
use super::{address, dom};

const PANEL: &str = "from-address";

/// The button, on the picture.
#[component]
pub fn FromAddressButton() -> impl IntoView {
    view! {
        <button type="button" class="from-address-button" popovertarget=PANEL aria-haspopup="dialog">
            "From an address"
        </button>
    }
}

/// What it opens. Part of the form that asks, so that nothing typed is lost when a browser
/// without JavaScript posts it; behind its other buttons, so that Enter still asks there.
#[component]
pub fn FromAddress(visit: Visit, draft: String) -> impl IntoView {
    let open = move || {
        let Some(input) = visit.address.get_untracked() else {
            return;
        };
        let text = input.value().trim().to_owned();
        if address::is_web(&text) {
            dom::hide_popover(PANEL);
            open_address(visit, text);
        } else {
            visit
                .alert
                .set(Some("Give an address that begins with https:// or http://.".to_owned()));
        }
    };
    let click = move |event: ev::MouseEvent| {
        event.prevent_default();
        open();
    };
    let key = move |event: ev::KeyboardEvent| {
        if event.key() == "Enter" && !event.is_composing() {
            event.prevent_default();
            open();
        }
    };
    view! {
        <div class="from-address" id=PANEL popover="auto" role="dialog" aria-label="Picture from an address">
            // Not of the type `url`: unseen, it could not say what is wrong with it.
            <input
                type="text"
                name="address"
                inputmode="url"
                aria-label="Picture address"
                placeholder="https://…"
                autocomplete="off"
                autocapitalize="none"
                spellcheck="false"
                autofocus
                value=draft
                node_ref=visit.address
                on:keydown=key
            />
            <button type="submit" name="action" value="open" on:click=click>"Open"</button>
        </div>
    }
}

/// Puts a pasted address into the field, for the visitor to open it.
pub fn offer(visit: Visit, text: &str) {
    if let Some(input) = visit.address.get_untracked() {
        dom::show_popover(PANEL);
        input.set_value(text);
        let _ = input.focus();
    }
}
