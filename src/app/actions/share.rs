//! What a visitor does with a conversation for others: lets them read it, saves it as a file, and says what he thinks
//! of an answer.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{self, ApiError, Base, ConversationId, Feedback};
use crate::app::browser::{download, history, popover};
use crate::app::state::{LiveTurn, State};

/// The dialog, by its id.
pub const PANEL: &str = "share";

/// Asks at how many addresses the conversation can be read.
pub fn load_shares(state: State) {
    with_conversation(state, async move |id| {
        let count = api::shares(id.clone()).await?;
        if is_shown(state, &id) {
            state.sharing.count.set(count);
        }
        Ok(())
    });
}

/// Makes an address at which anybody can read what was said until now.
pub fn share(state: State) {
    let last = state.conversation.last_known();
    with_conversation(state, async move |id| {
        let path = api::share(id.clone(), last).await?;
        if is_shown(state, &id) {
            let origin = history::origin();
            state.sharing.count.update(|count| *count += 1);
            state
                .sharing
                .address
                .set(Some([origin, Base::current().at(&path)].concat()));
            request_animation_frame(|| popover::select(PANEL));
        }
        Ok(())
    });
}

/// Makes all those addresses lead nowhere.
pub fn unshare(state: State) {
    with_conversation(state, async move |id| {
        api::unshare(id.clone()).await?;
        if is_shown(state, &id) {
            state.sharing.forget();
        }
        Ok(())
    });
}

/// Saves the conversation as a file with this ending.
pub fn export(state: State, ending: String) {
    let last = state.conversation.last_known();
    with_conversation(state, async move |id| {
        let file = api::export(id, ending, last).await?;
        download::save(&file.name, &file.media_type, &file.text);
        Ok(())
    });
}

/// Keeps what the visitor thinks of an answer; nothing takes it back.
pub fn rate(state: State, turn: &LiveTurn, feedback: Option<Feedback>) {
    let Some(answer) = turn.answer_id() else { return };
    let shown = turn.feedback.clone();
    let before = shown.get_untracked();
    shown.set(feedback.clone());
    with_conversation(state, async move |id| {
        let rated = api::rate(id, answer, feedback).await;
        rated.inspect_err(|_| shown.set(before))
    });
}

/// Does something with the conversation that is shown, and says what went wrong.
fn with_conversation<F: Future<Output = Result<(), ApiError>> + 'static>(
    state: State,
    work: impl FnOnce(ConversationId) -> F + 'static,
) {
    let Some(id) = state.conversation.id.get_untracked() else {
        return;
    };
    spawn_local(async move {
        if let Err(error) = work(id).await {
            popover::hide(PANEL);
            state.alert.set(Some(error.message));
        }
    });
}

fn is_shown(state: State, id: &ConversationId) -> bool {
    state.conversation.id.with_untracked(|shown| shown.as_ref() == Some(id))
}
