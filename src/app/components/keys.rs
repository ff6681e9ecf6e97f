//! The keyboard: a list of its keys, and what keys do wherever the focus is.

use leptos::ev;
use leptos::prelude::*;

use crate::app::actions;
use crate::app::browser::{focus, popover};
use crate::app::state::State;

pub const PANEL: &str = "keys";

/// The list, which the key `?` opens.
#[component]
pub fn Keys() -> impl IntoView {
    view! {
        <div class="float keys" id=PANEL popover="auto" role="dialog" aria-labelledby="keys-title" inner_html=list()></div>
    }
}

/// Each key, or several, with what it does, as HTML: the server alone draws it, and no browser draws it anew.
#[cfg(feature = "ssr")]
fn list() -> String {
    use super::icon::{CLOSE, quiet_face};
    use crate::api::{drawn, t};

    let rows = [
        ("Enter", drawn("hint.key_ask")),
        ("Shift Enter", drawn("hint.key_line")),
        ("Esc", drawn("hint.key_escape")),
        ("↑ ↓", drawn("hint.key_arrows")),
        ("Home End", drawn("hint.key_ends")),
        ("Ctrl V", drawn("hint.key_paste")),
        ("?", drawn("hint.key_list")),
    ];
    let row = |(keys, what): (&str, &str)| {
        let keys: String = keys.split(' ').map(|key| format!("<kbd>{key}</kbd> ")).collect();
        format!("<dt>{keys}</dt><dd>{what}</dd>")
    };
    let rows: String = rows.into_iter().map(row).collect();
    let (title, close, face) = (drawn("hint.keys"), t("close"), quiet_face(CLOSE, t("close")));
    format!(
        r#"<div class="drawer-head"><h2 id="keys-title">{title}</h2><button type="button" class="tool" title="{close}" popovertarget="{PANEL}" popovertargetaction="hide">{face}</button></div><dl>{rows}</dl>"#
    )
}

#[cfg(not(feature = "ssr"))]
fn list() -> &'static str {
    ""
}

/// Listens from now on.
pub fn listen(state: State) {
    window_event_listener(ev::keydown, move |event| {
        if event.is_composing() || event.ctrl_key() || event.alt_key() || event.meta_key() {
            return;
        }
        let is_done = match event.key().as_str() {
            "?" if !focus::is_in_field() => {
                popover::toggle(PANEL);
                true
            }
            "Escape" => close_or_stop(state),
            "ArrowUp" => focus::go_among(".log", ".turn", |turn, last| {
                turn.map_or(last, |turn| turn.saturating_sub(1))
            }),
            "ArrowDown" => focus::go_among(".log", ".turn", |turn, last| turn.map_or(0, |turn| last.min(turn + 1))),
            "Home" => focus::go_among(".log", ".turn", |_, _| 0),
            "End" => focus::go_among(".log", ".turn", |_, last| last),
            _ => false,
        };
        if is_done {
            event.prevent_default();
        }
    });
}

/// What is open is closed first: by the browser, or here. Then it is the answer that is stopped, and what has come
/// of it stays.
fn close_or_stop(state: State) -> bool {
    if popover::is_any_open() {
        return false;
    }
    if state.looked.answer.with_untracked(Option::is_some) {
        state.looked.close();
        return true;
    }
    let is_answering = untrack(|| state.conversation.is_answering());
    if is_answering {
        actions::cancel(state);
    }
    is_answering
}
