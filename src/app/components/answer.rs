//! What a model answered, as it comes and when it is there.

use leptos::either::Either;
use leptos::prelude::*;

use super::about_model::{short_name, without_owner};
use super::answer_tools::{AnswerTools, seconds};
use super::matches::Matches;
use crate::api::{FinishReason, TurnState, t};
use crate::app::actions::ask_again;
use crate::app::state::{LiveTurn, State};

/// What a model answered.
#[component]
pub fn Answer(state: State, turn: LiveTurn) -> impl IntoView {
    let tools = turn.clone();
    let LiveTurn {
        question,
        answer,
        state: outcome,
        further_answers,
        scores,
        num_beams,
        model,
        total_ms,
        ..
    } = turn;
    let is_busy = {
        let outcome = outcome.clone();
        move || outcome.with(|outcome| *outcome == TurnState::Answering)
    };
    let is_empty = {
        let answer = answer.clone();
        move || answer.with(|answer| answer.trim().is_empty())
    };
    let is_coming = {
        let (is_busy, is_empty) = (is_busy.clone(), is_empty.clone());
        move || is_busy() && !is_empty()
    };
    let is_caption = question.is_empty();
    let is_comparing = scores.is_some();
    // Where the eye is: what goes on until there are words.
    let waiting = {
        let (is_busy, is_empty) = (is_busy.clone(), is_empty.clone());
        move || {
            let (beams, is_empty) = (num_beams.get(), is_empty());
            (is_busy() && !is_comparing).then(|| view! { <Waiting state beams is_empty/> })
        }
    };
    let bars = scores.map(|scores| {
        let outcome = RwSignal::from(outcome.clone());
        let is_coming = move || outcome.with(|outcome| *outcome == TurnState::Answering);
        let texts = question.lines().map(str::to_owned).collect();
        view! { <Matches texts scores is_coming/> }
    });
    let again = {
        let (outcome, turn) = (outcome.clone(), tools.clone());
        move || {
            outcome
                .with(has_no_end)
                .then(|| view! { <AskAgain state turn=turn.clone()/> })
        }
    };
    let said = {
        let is_empty = is_empty.clone();
        move || {
            let is_empty = !is_comparing && is_empty();
            outcome.with(|outcome| note(outcome, is_empty, is_caption))
        }
    };
    // With one model it is known.
    let by = (state.models.are_several() && !model.is_empty()).then(|| {
        let name = state.models.named(&model);
        let name = name.map_or_else(
            || without_owner(&model).to_owned(),
            |known| short_name(&known).to_owned(),
        );
        view! { <p class="by"><span>{name}</span>{move || total_ms.get().map(|time| [" · ", &seconds(time)].concat())}</p> }
    });
    view! {
        {by}
        {match bars {
            Some(bars) => Either::Left(bars),
            None => Either::Right(view! {
                <p class="answer" class:coming=is_coming lang="en" dir="auto" hidden=is_empty>{move || answer.with(|answer| answer.trim_start().to_owned())}</p>
            }),
        }}
        {waiting}
        {move || further_answers.with(|further| (!further.is_empty()).then(|| further_list(further)))}
        {move || said().map(|note| view! { <p class="note">{note}</p> })}
        {again}
        {move || (!is_comparing && !is_busy()).then(|| view! { <AnswerTools state turn=tools.clone()/> })}
    }
}

/// What goes on until there are words, and whatever else goes on behind them: a connection that is lost.
#[component]
fn Waiting(state: State, beams: usize, is_empty: bool) -> impl IntoView {
    let progress = move || {
        state
            .progress
            .get()
            .filter(|progress| is_empty || progress != t("progress.answering"))
    };
    view! {
        <div class="waiting" aria-hidden="true" hidden=move || progress().is_none()>
            <p><strong>{progress}</strong></p>
            {(is_empty && beams > 1).then(|| view! { <p><span>{t("answer.whole")}</span></p> })}
        </div>
    }
}

/// The other answers, where several were asked for.
fn further_list(answers: &[String]) -> impl IntoView + use<> {
    let items = answers.iter().map(|answer| answer.trim().to_owned());
    view! {
        <ul class="further" aria-label=t("answer.further")>
            {items.map(|answer| view! { <li lang="en" dir="auto">{answer}</li> }).collect_view()}
        </ul>
    }
}

/// Whether an answer broke off through no wish of the visitor's.
fn has_no_end(state: &TurnState) -> bool {
    matches!(
        state,
        TurnState::Failed { .. }
            | TurnState::Done {
                finish_reason: FinishReason::Interrupted
            }
    )
}

/// The way out of an answer that broke off.
#[component]
fn AskAgain(state: State, turn: LiveTurn) -> impl IntoView {
    let is_comparing = turn.scores.is_some();
    let is_caption = turn.question.is_empty();
    let click = move |_| ask_again(state, &turn);
    // The model that is chosen by now may be for something else.
    let is_offered = move || {
        let offers = state.models.offers();
        match (is_comparing, is_caption) {
            (true, _) => offers.matching,
            (false, true) => offers.captions,
            (false, false) => offers.questions,
        }
    };
    let label = if is_comparing {
        t("answer.match_again")
    } else {
        t("answer.again")
    };
    view! {
        <button
            type="button"
            class="again"
            hidden=move || !is_offered()
            disabled=move || state.conversation.is_answering()
            on:click=click
        >
            {label}
        </button>
    }
}

/// What there is to say about an answer besides its text.
fn note(state: &TurnState, is_empty: bool, is_caption: bool) -> Option<String> {
    match state {
        TurnState::Done {
            finish_reason: FinishReason::Stop | FinishReason::Length,
        } if is_empty => Some(no_answer(is_caption).to_owned()),
        TurnState::Answering
        | TurnState::Done {
            finish_reason: FinishReason::Stop,
        } => None,
        TurnState::Done {
            finish_reason: FinishReason::Cancelled,
        } => Some(t("answer.stopped").to_owned()),
        TurnState::Done {
            finish_reason: FinishReason::Interrupted,
        } => Some(t("answer.interrupted").to_owned()),
        TurnState::Done {
            finish_reason: FinishReason::Length,
        } => Some(t("answer.as_long").to_owned()),
        TurnState::Failed { error } => Some(error.message.clone()),
    }
}

/// In the place of an answer without words.
fn no_answer(is_caption: bool) -> &'static str {
    if is_caption {
        t("answer.no_caption")
    } else {
        t("answer.none")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_words_is_said_to_be_none() {
        let done = |finish_reason| TurnState::Done { finish_reason };
        let said = |state, is_empty| note(&state, is_empty, false).unwrap_or_default();
        assert!(said(done(FinishReason::Stop), true).starts_with("The model gave no answer."));
        assert!(said(done(FinishReason::Length), true).starts_with("The model gave no answer."));
        assert_eq!(said(done(FinishReason::Cancelled), true), "Stopped");
        assert_eq!(said(done(FinishReason::Stop), false), "");
        assert_eq!(said(TurnState::Answering, true), "");
    }
}
