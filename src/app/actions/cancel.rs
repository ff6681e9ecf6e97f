//! Cancels an answer.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api;
use crate::app::state::State;

/// Asks the server to cancel the answer; its stream then ends by itself.
pub fn cancel(state: State) {
    if let Some(conversation) = state.conversation.id.get_untracked() {
        state.progress.set(Some("Stopping".to_owned()));
        spawn_local(async move {
            if let Err(error) = api::cancel(conversation).await {
                state.alert.set(Some(error.message));
            }
        });
    }
}

/// Cancels the answer that the visitor turns away from, so that the model is free for others.
pub fn cancel_unseen(state: State) {
    if let Some(conversation) = state.conversation.id.get_untracked()
        && untrack(|| state.conversation.is_answering())
    {
        spawn_local(async move {
            let _ = api::cancel(conversation).await;
        });
    }
}
