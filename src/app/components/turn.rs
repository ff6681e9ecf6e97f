//! One turn: a question and its answer.

use leptos::either::Either;
use leptos::prelude::*;

use super::about_model::without_owner;
use super::answer::Answer;
use super::asked::Asked;
use super::attempts::Attempts;
use super::icon::MARK;
use crate::api::t_with;
use crate::app::state::{LiveTurn, State};

#[component]
pub fn TurnArticle(state: State, turn: LiveTurn) -> impl IntoView {
    let is_busy = {
        let turn = turn.clone();
        move || turn.is_answering()
    };
    let is_busy = Memo::new(move |_| is_busy());
    let name = turn.element_id();
    view! {
        <article class="turn" tabindex="-1" aria-busy=move || is_busy.get().to_string() aria-labelledby=name>
            <Asked state turn=turn.clone()/>
            {match turn.beside.is_empty() {
                true => Either::Left(view! {
                    <div class="reply" class:busy=move || is_busy.get()>
                        <div inner_html=MARK></div>
                        <div class="said-back"><Attempts state turn/></div>
                    </div>
                }),
                false => Either::Right(view! { <Compared state turn/> }),
            }}
        </article>
    }
}

/// The answers of several models, side by side.
#[component]
fn Compared(state: State, turn: LiveTurn) -> impl IntoView {
    let answers = turn.all().cloned().map(|answer| {
        let label = t_with("answer.of", &[("model", without_owner(&answer.model))]);
        view! { <section class="of-model" aria-label=label><Answer state turn=answer/></section> }
    });
    view! { <div class="compared">{answers.collect_view()}</div> }
}
