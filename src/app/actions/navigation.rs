//! From one conversation to another.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::cancel::cancel_unseen;
use super::follow::take_up;
use super::load_state::load_state;
use crate::app::browser::history;
use crate::app::state::{FocusQuestion, State};

/// Starts over with an empty page.
pub fn begin_anew(state: State) {
    cancel_unseen(state);
    state.alert.set(None);
    state.show(None);
    history::go(None);
    state.draft.set(String::new());
    state.texts.replace(&[]);
    state.focus.set(Some(FocusQuestion::Next));
}

/// Opens the conversation that the address names, where the server has not: it may have had no
/// cookie by which to know the visitor, whose secret goes with the page's own calls.
pub fn arrive(state: State) {
    let id = history::conversation(&history::current());
    if id.is_some() && state.conversation.id.get_untracked().is_none() {
        travel(state);
    } else {
        take_up(state);
    }
}

/// Follows the visitor through the browser's history.
pub fn travel(state: State) {
    let id = history::conversation(&history::current());
    if id == state.conversation.id.get_untracked() {
        state.opening.cancel();
        return;
    }
    state.alert.set(None);
    state.show(None);
    if id.is_none() {
        return;
    }
    spawn_local(async move {
        let page = load_state(state, id.clone()).await;
        if id != history::conversation(&history::current()) {
            return; // travelled on
        }
        match page {
            Ok(page) => {
                state.alert.set(page.error.map(|error| error.message));
                state.show(page.conversation);
                take_up(state);
            }
            Err(error) => state.alert.set(Some(error.message)),
        }
    });
}
