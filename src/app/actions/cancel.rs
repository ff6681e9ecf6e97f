//! Cancels an answer.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{self, t};
use crate::app::state::State;

/// Asks the server to cancel the answer; its stream then ends by itself.
pub fn cancel(state: State) {
    let Some(conversation) = state.conversation.id.get_untracked() else {
        return;
    };
    let stopping = t("progress.stopping");
    let before = state.progress.get_untracked().filter(|words| words != stopping);
    state.progress.set(Some(stopping.to_owned()));
    spawn_local(async move {
        if let Err(error) = api::cancel(conversation).await {
            // It goes on as before, unless its stream has said more meanwhile.
            if state.progress.get_untracked().as_deref() == Some(stopping) {
                state.progress.set(before);
            }
            state.alert.set(Some(error.message));
        }
    });
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
