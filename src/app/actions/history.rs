//! What a visitor does with his conversations: finds one again, names it, keeps it first, takes it away.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::navigation::{begin_anew, travel};
use crate::api::{self, ApiError, ConversationId};
use crate::app::browser::history;
use crate::app::state::State;

/// Asks the server for them.
pub fn load_history(state: State) {
    spawn_local(async move {
        match api::history().await {
            Ok(known) => state.history.known.set(Some(known)),
            Err(error) => state.alert.set(Some(error.message)),
        }
    });
}

/// Turns to one of them.
pub fn open_conversation(state: State, id: &ConversationId) {
    history::go(Some(id));
    travel(state);
}

/// Calls it so; an empty title gives it back its own.
pub fn rename(state: State, id: ConversationId, title: String) {
    change(state, api::rename(id, title));
}

/// Keeps it first, or no longer.
pub fn pin(state: State, id: ConversationId, is_pinned: bool) {
    change(state, api::pin(id, is_pinned));
}

/// Takes one away for good, or all.
pub fn remove(state: State, id: Option<ConversationId>) {
    let is_shown = state.conversation.id.with_untracked(|shown| {
        let is_it = |shown: &ConversationId| id.as_ref().is_none_or(|id| id == shown);
        shown.as_ref().is_some_and(is_it)
    });
    if is_shown {
        begin_anew(state);
    }
    change(state, api::remove(id));
}

fn change(state: State, done: impl Future<Output = Result<(), ApiError>> + 'static) {
    state.history.doing.set(None);
    spawn_local(async move {
        if let Err(error) = done.await {
            state.alert.set(Some(error.message));
        }
        load_history(state);
    });
}
