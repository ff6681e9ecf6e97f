//! Follows an answer to its end, and takes it up again where its stream breaks off.

use std::time::Duration;

use futures::future::{Either, select};
use leptos::prelude::*;
use leptos::server_fn::codec::ByteStream;
use leptos::task::spawn_local;

use super::events::{End, read};
use super::load_state::load_state;
use crate::api::{self, ApiError, Conversation, ConversationId, ErrorCode, PageState, TurnState, t};
use crate::app::browser::time;
use crate::app::state::{FocusQuestion, LiveTurn, State};

/// How long to wait before the first try to take up an answer whose stream broke off. Each
/// further wait is twice as long as the last, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// How long a turn that was given up waits for the network to be back or the page to be seen.
const GIVEN_UP_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a try may take; nothing comes back over a connection that died without a word.
const TRY_TAKES: Duration = Duration::from_secs(20);

/// How long a look at what the server knows may take, while the visitor waits to be told that his
/// question did not arrive.
const LOOK_TAKES: Duration = Duration::from_secs(5);

/// Takes up the answer that was coming when the page was loaded.
pub fn take_up(state: State) {
    let turns = state.conversation.all.get_untracked();
    for turn in turns.iter().flat_map(LiveTurn::all) {
        if untrack(|| turn.is_answering_itself()) {
            take_up_turn(state, turn.clone());
        }
    }
}

/// Takes up the answer of a turn that the server has named.
fn take_up_turn(state: State, turn: LiveTurn) {
    let Some(conversation) = state.conversation.id.get_untracked() else {
        return;
    };
    spawn_local(async move {
        if let Some(stream) = reconnect(state, &conversation, &turn).await {
            follow(state, conversation, turn, stream).await;
        }
    });
}

/// Reads a turn's stream to its end, taking it up again where it breaks off.
pub async fn follow(state: State, conversation: ConversationId, turn: LiveTurn, mut stream: ByteStream<ApiError>) {
    loop {
        match read(state, &turn, stream, |other| take_up_turn(state, other.clone())).await {
            End::Left => return,
            End::Done => break,
            End::Failed(error) => {
                fail(state, &turn, error);
                break;
            }
            End::Lost => {
                state.progress.set(Some(t("progress.lost").to_owned()));
                time::sleep_or_wake(FIRST_WAIT).await;
                match reconnect(state, &conversation, &turn).await {
                    Some(again) => {
                        stream = again;
                        // It may have ended to be another one.
                        spawn_local(async move {
                            let _ = load_state(state, None).await;
                        });
                    }
                    None => return,
                }
            }
        }
    }
    // Where two models are asked, both have answered.
    if untrack(|| !state.conversation.is_answering()) {
        state.focus.set(Some(FocusQuestion::Answered));
    }
}

/// Takes up a stream that broke off. None where that is not possible; the turn then shows
/// what the server knows, or that it cannot be reached.
///
/// It is tried for as long as the server keeps an answer after its end. Then the turn says that
/// it failed, and is tried again only when the network is back or the page is looked at.
async fn reconnect(state: State, conversation: &ConversationId, turn: &LiveTurn) -> Option<ByteStream<ApiError>> {
    let mut wait = FIRST_WAIT;
    let mut is_given_up = false;
    let tried_for = Duration::from_secs(state.limits.keep_answers_seconds);
    let began = time::now();
    loop {
        let last;
        match within_try(api::follow(
            conversation.clone(),
            turn.answer_id(),
            Some(turn.seq.get_value()),
        ))
        .await
        {
            _ if !state.conversation.has(turn) => return None,
            Ok(stream) => {
                turn.state.set(TurnState::Answering);
                return Some(stream);
            }
            Err(error) if error.code == ErrorCode::Unreachable => last = error,
            // The answer is not kept any more, was never begun, or the conversation is gone.
            Err(error) => match within_try(load_state(state, Some(conversation.clone()))).await {
                _ if !state.conversation.has(turn) => return None,
                Ok(PageState {
                    conversation: Some(known),
                    ..
                }) if !is_answering(&known) => {
                    state.progress.set(None);
                    state.conversation.update(known);
                    return None;
                }
                Ok(PageState {
                    conversation: None,
                    error: gone,
                    ..
                }) => {
                    fail(state, turn, gone.unwrap_or(error));
                    return None;
                }
                _ => last = error,
            },
        }
        // A device that slept for longer has had its one try when it woke.
        if !is_given_up && time::now().saturating_sub(began) >= tried_for {
            is_given_up = true;
            wait = GIVEN_UP_WAIT;
            fail(state, turn, last);
        }
        if !is_given_up {
            state.progress.set(Some(t("progress.lost").to_owned()));
        }
        time::sleep_or_wake(wait).await;
        // The page shows something else, or the visitor has asked on.
        if !state.conversation.has(turn) || (is_given_up && !state.conversation.is_last(turn)) {
            return None;
        }
        if !is_given_up {
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// Ends a turn without an answer. The turn says why; the page's alert is for what has no turn.
fn fail(state: State, turn: &LiveTurn, error: ApiError) {
    let is_alone = |turns: &Vec<LiveTurn>| turns.last().is_none_or(|last| last.beside.is_empty());
    // Where another model has answered it, it is no draft any more.
    if state.conversation.turns.with_untracked(is_alone) {
        state.give_back(turn);
    }
    state.progress.set(None);
    turn.state.set(TurnState::Failed { error });
}

/// A try's outcome; one that takes too long has not reached the server.
async fn within_try<T>(attempt: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    within(TRY_TAKES, attempt).await
}

async fn within<T>(limit: Duration, attempt: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    match select(Box::pin(attempt), Box::pin(time::sleep(limit))).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => Err(unreachable()),
    }
}

/// Shows what was said elsewhere in this conversation, in another tab.
pub async fn catch_up(state: State, conversation: &ConversationId) {
    if let Ok(PageState {
        conversation: Some(known),
        ..
    }) = within(LOOK_TAKES, load_state(state, Some(conversation.clone()))).await
        && state.conversation.id.get_untracked().as_ref() == Some(conversation)
    {
        state.conversation.update(known);
        take_up(state);
    }
}

fn is_answering(conversation: &Conversation) -> bool {
    let mut all = conversation
        .turns
        .iter()
        .flat_map(|turn| std::iter::once(turn).chain(&turn.compared));
    all.any(|turn| turn.state == TurnState::Answering)
}

fn unreachable() -> ApiError {
    ApiError::new(ErrorCode::Unreachable, t("alert.lost"))
}
