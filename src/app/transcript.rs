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
        further_answers,
        seed,
        num_beams,
        ..
    } = turn;
    let is_busy = {
        let state = state.clone();
        move || state.with(|state| *state == TurnState::Answering)
    };
    let busy = {
        let is_busy = is_busy.clone();
        move || if is_busy() { "true" } else { "false" }
    };
    let searching = {
        let answer = answer.clone();
        let is_searching = move || is_busy() && num_beams.get() > 1 && answer.with(String::is_empty);
        move || is_searching().then_some("The answer comes whole, when all beams are complete.")
    };
    let is_caption = question.is_empty();
    let asked = {
        let prompt = prompt.clone();
        move || match prompt.get() {
            Some(prefix) if is_caption && !prefix.is_empty() => format!("Describe the picture: {prefix} …"),
            _ if is_caption => "Describe the picture".to_owned(),
            _ => question.clone(),
        }
    };
    view! {
        <article class="turn" aria-busy=busy>
            <p class="asked" class:caption=is_caption>{asked}</p>
            <p class="answer">{move || answer.with(|answer| answer.trim_start().to_owned())}</p>
            {move || searching().map(|note| view! { <p class="note">{note}</p> })}
            {move || further_answers.with(|further| (!further.is_empty()).then(|| further_list(further)))}
            {move || state.with(note).map(|note| view! { <p class="note">{note}</p> })}
            {move || prompt.get().map(|prompt| view! { <Sent prompt seed=seed.get()/> })}
        </article>
    }
}

/// The other answers, where several were asked for.
fn further_list(answers: &[String]) -> impl IntoView + use<> {
    let items = answers.iter().map(|answer| answer.trim().to_owned());
    view! {
        <ul class="further" aria-label="Further answers">
            {items.map(|answer| view! { <li>{answer}</li> }).collect_view()}
        </ul>
    }
}

/// What exactly the model was sent, for whoever wants to know.
#[component]
fn Sent(prompt: String, seed: Option<u64>) -> impl IntoView {
    view! {
        <details class="sent">
            <summary>"Prompt"</summary>
            {if prompt.is_empty() {
                Either::Left(view! { <p>"The picture, and no text."</p> })
            } else {
                Either::Right(view! { <p>"The picture, then:"</p><pre>{prompt}</pre> })
            }}
            {seed.map(|seed| view! { <p>"Drawn with seed "{seed}"."</p> })}
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
