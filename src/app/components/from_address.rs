//! A picture from an address, behind a button. A popover, which opens without JavaScript.

use leptos::ev;
use leptos::prelude::*;

use super::text_box::bound;
use crate::api::t;
use crate::app::actions::open_address;
use crate::app::browser::clipboard_and_drag::is_web_address;
use crate::app::browser::popover;
use crate::app::state::State;

const PANEL: &str = "from-address";

/// A button that opens it, with an icon and words.
#[component]
pub fn FromAddressButton(face: String) -> impl IntoView {
    view! {
        <button
            type="button"
            class="tool from-address-button"
            title=t("address")
            popovertarget=PANEL
            aria-haspopup="dialog"
            inner_html=face
        ></button>
    }
}

/// What it opens. Part of the form that asks, so that nothing typed is lost when a browser
/// without JavaScript posts it; behind its other buttons, so that Enter still asks there.
#[component]
pub fn FromAddress(state: State) -> impl IntoView {
    let open = move || {
        let text = state.address.get_untracked().trim().to_owned();
        if is_web_address(&text) {
            popover::hide(PANEL);
            open_address(state, text);
        } else {
            state.alert.set(Some(t("alert.address").to_owned()));
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
        <div class="float from-address" id=PANEL popover="auto" role="dialog" aria-label=t("address.panel")>
            // Not of the type `url`: unseen, it could not say what is wrong with it.
            <input
                type="text"
                name="address"
                inputmode="url"
                dir="ltr"
                aria-label=t("address.field")
                placeholder="https://…"
                autocomplete="off"
                autocapitalize="none"
                spellcheck="false"
                autofocus
                value=state.address.get_untracked()
                use:bound=state.address
                on:input=move |event| state.address.set(event_target_value(&event))
                on:keydown=key
            />
            <button type="submit" name="action" value="open" on:click=click>{t("address.open")}</button>
        </div>
    }
}

/// Puts a pasted address into the field, for the visitor to open it.
pub fn offer(state: State, address: String) {
    if state.takes_addresses {
        state.address.set(address);
        popover::show(PANEL);
    }
}
