//! The answers that were given to one question: one at a time, or side by side.

use leptos::either::Either;
use leptos::prelude::*;

use super::answer::Answer;
use super::icon::{COMPARE, quiet_face};
use super::leaf::leaf;

use crate::api::{t, t_with};
use crate::app::state::{LiveTurn, State};

/// The answer of a turn; with the ones before it, where it was asked for again.
#[component]
pub fn Attempts(state: State, turn: LiveTurn) -> impl IntoView {
    if turn.earlier.is_empty() {
        return Either::Left(view! { <Answer state turn/> });
    }
    let all: Vec<LiveTurn> = turn.earlier.iter().chain([&turn]).cloned().collect();
    let count = all.len();
    let at = RwSignal::new(count - 1);
    let is_beside = RwSignal::new(false);
    let shown =
        move || {
            let (first, last) = match is_beside.get() {
                true => (0, count),
                false => (at.get(), at.get() + 1),
            };
            let answers = all[first..last].iter().cloned().enumerate();
            let sections = answers.map(|(index, turn)| {
            let values = [("number", &*(first + index + 1).to_string()), ("count", &*count.to_string())];
            let label = t_with("answer.number", &values);
            view! { <section class:of-model=move || is_beside.get() aria-label=label><Answer state turn/></section> }
        });
            sections.collect_view()
        };
    Either::Right(view! {
        <div class="attempts">
            <span hidden=move || is_beside.get()>{leaf(at, count, t("answer.previous"), t("answer.next"))}</span>
            <button
                type="button"
                class="tool"
                title=t("answer.beside")
                aria-pressed=move || if is_beside.get() { "true" } else { "false" }
                on:click=move |_| is_beside.update(|is_beside| *is_beside = !*is_beside)
                inner_html=quiet_face(COMPARE, t("answer.beside"))
            ></button>
        </div>
        <div class:compared=move || is_beside.get()>{shown}</div>
    })
}
