//! Has an answer explained: what the model looked at, and how sure it was.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api;
use crate::app::state::{LiveTurn, State};

/// Shows what the model looked at while it wrote an answer; one that is shown is hidden.
pub fn explain(state: State, turn: LiveTurn) {
    let (Some(conversation), Some(answer)) = (state.conversation.id.get_untracked(), turn.answer_id()) else {
        return;
    };
    if untrack(|| state.looked.is_of(Some(&answer))) {
        return state.looked.close();
    }
    state.looked.open(answer.clone());
    spawn_local(async move {
        let explained = api::explain(conversation, answer.clone()).await;
        if !untrack(|| state.looked.is_of(Some(&answer))) {
            return; // the visitor turned to something else
        }
        match explained {
            Ok(explanation) => state.looked.explanation.set(Some(explanation)),
            Err(error) => {
                state.looked.close();
                state.alert.set(Some(error.message));
            }
        }
    });
}
