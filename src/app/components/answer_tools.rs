//! What can be done with an answer, and what there is to know of it.

use std::time::Duration;

use leptos::either::Either;
use leptos::prelude::*;

use super::about_model::{short_name, without_owner};
use super::icon::{COPIED, COPY, INFO, LOOK, RETRY, icon, quiet_face};
use super::tool::tool;
use crate::api::{t, t_with};
use crate::app::actions::{ask_again, explain, go_on};
use crate::app::browser::clipboard_and_drag::copy;
use crate::app::state::{LiveTurn, State};

/// How long a button says that something was copied.
const SAID_FOR: Duration = Duration::from_secs(2);

/// The line beneath an answer that has ended.
#[component]
pub fn AnswerTools(state: State, turn: LiveTurn) -> impl IntoView {
    let has_words = {
        let turn = turn.clone();
        move || turn.can_be_explained()
    };
    let (tools, again, cut_off) = (turn.clone(), turn.clone(), turn.clone());
    let of_turn = state.conversation.turn_of(&turn);
    let is_alone = of_turn.is_some_and(|turn| turn.beside.is_empty());
    let continued = {
        let turn = turn.clone();
        move || {
            (is_alone && turn.is_cut_off()).then(|| {
            let cut_off = cut_off.clone();
            view! { <button type="button" class="again" on:click=move |_| go_on(state, &cut_off)>{t("answer.continue")}</button> }
        })
        }
    };
    view! {
        <div class="foot">
            <div class="actions" role="group" aria-label=t("answer.tools")>
                {continued}
                {move || has_words().then(|| view! { <WordTools state turn=tools.clone()/> })}
                {is_alone.then(|| view! { <span class="retry">{tool(RETRY, t("answer.retry"), move |_| ask_again(state, &again))}</span> })}
            </div>
            <Details state turn/>
        </div>
    }
}

/// What can be done with words.
#[component]
fn WordTools(state: State, turn: LiveTurn) -> impl IntoView {
    let is_copied = RwSignal::new(false);
    let answer = turn.answer.clone();
    let copy_answer = move |_| {
        if copy(answer.get_untracked().trim()) {
            is_copied.set(true);
            set_timeout(move || is_copied.set(false), SAID_FOR);
        }
    };
    let is_looked_at = {
        let turn = turn.clone();
        move || state.looked.is_of(turn.answer_id().as_ref())
    };
    view! {
        <button
            type="button"
            class="tool"
            title=t("answer.copy")
            on:click=copy_answer
            inner_html=move || if is_copied.get() { quiet_face(COPIED, t("answer.copied")) } else { quiet_face(COPY, t("answer.copy")) }
        ></button>
        <button
            type="button"
            class="tool"
            title=t("look")
            aria-pressed=move || if is_looked_at() { "true" } else { "false" }
            on:click=move |_| explain(state, turn.clone())
            inner_html=quiet_face(LOOK, t("look"))
        ></button>
    }
}

/// How an answer came about, for whoever wants to know.
#[component]
fn Details(state: State, turn: LiveTurn) -> impl IntoView {
    let LiveTurn {
        prompt,
        seed,
        model,
        total_ms,
        tokens,
        ..
    } = turn;
    let name = state.models.named(&model);
    let name = name.map_or_else(
        || without_owner(&model).to_owned(),
        |known| short_name(&known).to_owned(),
    );
    let time = total_ms.clone();
    let speed = move || {
        let (milliseconds, tokens) = (total_ms.get()?, tokens.get()?);
        (milliseconds > 0.0).then(|| {
            let speed = format!("{:.0}", tokens as f64 / milliseconds * 1e3);
            t_with("answer.speed", &[("tokens", &tokens.to_string()), ("speed", &speed)])
        })
    };
    let short = {
        let time = time.clone();
        move || time.get().map(seconds)
    };
    view! {
        <details class="details">
            <summary title=t("answer.details")>
                <i inner_html=icon(INFO)></i>
                <span>{short}</span>
                <span class="unseen">{[" ", t("answer.details")].concat()}</span>
            </summary>
            <div class="panel">
                <dl>
                    {(!name.is_empty()).then(|| term(t("model"), name))}
                    {move || time.get().map(|time| term(t("answer.time"), seconds(time)))}
                    {move || speed().map(|speed| term(t("answer.tokens"), speed))}
                    {move || seed.get().map(|seed| term(t("answer.seed"), seed.to_string()))}
                </dl>
                {move || prompt.get().map(|prompt| view! { <Sent prompt/> })}
            </div>
        </details>
    }
}

fn term(name: &'static str, value: String) -> impl IntoView {
    view! { <div><dt>{name}</dt><dd>{value}</dd></div> }
}

/// How long an answer took.
pub fn seconds(milliseconds: f64) -> String {
    t_with(
        "seconds",
        &[("seconds", &format!("{:.1}", (milliseconds / 1e3).max(0.1)))],
    )
}

/// What exactly the model was sent.
#[component]
fn Sent(prompt: String) -> impl IntoView {
    view! {
        <p class="cap">{t("answer.prompt")}</p>
        {if prompt.is_empty() {
            Either::Left(view! { <p>{t("answer.no_prompt")}</p> })
        } else {
            Either::Right(view! { <p>{t("answer.picture_then")}</p><pre lang="en" dir="auto">{prompt}</pre> })
        }}
    }
}
