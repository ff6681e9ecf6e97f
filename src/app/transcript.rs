//! What was said: one article a turn.

use leptos::either::Either;
use leptos::prelude::*;

use super::visit::{LiveTurn, Visit};
use crate::api::{FinishReason, TurnState};

/// The log is laid out from its end (see the style), so that the newest words
/// are in view without a script.
#[component]
pub fn Transcript(visit: Visit) -> impl IntoView {
    view! {
        <div class="log" role="log" aria-label="Conversation" tabindex="0" node_ref=visit.log>
            <div class="turns">
                <For each=move || visit.turns.get() key=|turn| turn.key let(turn)>
                    <TurnArticle turn/>
                </For>
            </div>
        </div>
    }
}

#[component]
fn TurnArticle(turn: LiveTurn) -> impl IntoView {
    let LiveTurn {
        question,
        answer,
        state,
        prompt,
        ..
    } = turn;
    let busy = {
        let state = state.clone();
        move || {
            if state.with(|state| *state == TurnState::Answering) {
                "true"
            } else {
                "false"
            }
        }
    };
    let is_caption = question.is_empty();
    let question = if is_caption {
        "Describe the picture".to_owned()
    } else {
        question
    };
    view! {
        <article class="turn" aria-busy=busy>
            <p class="asked" class:caption=is_caption>{question}</p>
            <p class="answer">{move || answer.with(|answer| answer.trim_start().to_owned())}</p>
            {move || state.with(note).map(|note| view! { <p class="note">{note}</p> })}
            {move || prompt.get().map(|prompt| view! { <Sent prompt/> })}
        </article>
    }
}

/// What exactly the model was sent, for whoever wants to know.
#[component]
fn Sent(prompt: String) -> impl IntoView {
    view! {
        <details class="sent">
            <summary>"Prompt"</summary>
            {if prompt.is_empty() {
                Either::Left(view! { <p>"The picture, and no text."</p> })
            } else {
                Either::Right(view! { <p>"The picture, then:"</p><pre>{prompt}</pre> })
            }}
        </details>
    }
}

/// What there is to say about an answer besides its text.
fn note(state: &TurnState) -> Option<String> {
    match state {
        TurnState::Answering
        | TurnState::Done {
            finish_reason: FinishReason::Stop,
        } => None,
        TurnState::Done {
            finish_reason: FinishReason::Cancelled,
        } => Some("Stopped".to_owned()),
        TurnState::Done {
            finish_reason: FinishReason::Length,
        } => Some("As long as allowed".to_owned()),
        TurnState::Failed { error } => Some(error.message.clone()),
    }
}
