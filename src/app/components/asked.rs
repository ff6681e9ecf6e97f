//! What was asked in a turn, and asking something else in its place.

use leptos::ev;
use leptos::html::Textarea;
use leptos::prelude::*;

use super::icon::EDIT;
use super::leaf::leaf;
use super::tool::tool;
use crate::api::{t, t_count, t_with};
use crate::app::actions::ask_instead;
use crate::app::state::{LiveTurn, State};

#[component]
pub fn Asked(state: State, turn: LiveTurn) -> impl IntoView {
    let is_edited = RwSignal::new(false);
    let id = turn.element_id();
    let is_caption = turn.question.is_empty();
    let is_question = !is_caption && turn.scores.is_none();
    let asked = asked(&turn);
    let branches = branches(state, &turn);
    let edited = turn.clone();
    view! {
        <div class="asked-line" hidden=move || is_edited.get()>
            <p class="asked" id=id class:caption=is_caption dir="auto">{asked}</p>
            {(is_question || branches.is_some()).then(|| view! {
                <div class="asked-tools">
                    {branches}
                    {is_question.then(|| tool(EDIT, t("question.edit"), move |_| is_edited.set(true)))}
                </div>
            })}
        </div>
        {move || is_edited.get().then(|| view! { <Edit state turn=edited.clone() is_edited/> })}
    }
}

/// What stands for the question, as it is known.
fn asked(turn: &LiveTurn) -> impl Fn() -> String + use<> {
    let (prompt, question) = (turn.prompt.clone(), turn.question.clone());
    let texts = turn.scores.as_ref().map(|_| question.lines().count());
    let is_caption = question.is_empty();
    move || match prompt.get() {
        _ if texts.is_some() => t_count("match_texts", texts.unwrap_or_default(), &[]),
        Some(prefix) if is_caption && !prefix.is_empty() => {
            t_with("conversation.describe_from", &[("prefix", &prefix)])
        }
        _ if is_caption => t("conversation.describe").to_owned(),
        _ => question.clone(),
    }
}

/// Leafs through what was asked in this place, where that is more than one thing.
fn branches(state: State, turn: &LiveTurn) -> Option<impl IntoView + use<>> {
    let branches = state.conversation.branches(turn);
    let place = branches.iter().position(|branch| branch.key == turn.key)?;
    let count = branches.len();
    let at = RwSignal::new(place);
    Effect::new(move |_| {
        let now = at.get();
        if now != place {
            state.conversation.show_branch(&branches[now]);
        }
    });
    (count > 1).then(|| leaf(at, count, t("question.previous"), t("question.next")))
}

/// The question, to be changed.
#[component]
fn Edit(state: State, turn: LiveTurn, is_edited: RwSignal<bool>) -> impl IntoView {
    let field = NodeRef::<Textarea>::new();
    let question = turn.question.clone();
    Effect::new(move || {
        if let Some(field) = field.get() {
            field.set_value(&question);
            let _ = field.focus();
        }
    });
    let turn = StoredValue::new(turn);
    let ask = move || {
        let text = field.get_untracked().map(|field| field.value()).unwrap_or_default();
        let text = text.trim();
        if !text.is_empty() && !untrack(|| state.conversation.is_answering()) {
            ask_instead(state, &turn.get_value(), text.to_owned());
        }
    };
    let key = move |event: ev::KeyboardEvent| match event.key().as_str() {
        "Enter" if !event.shift_key() && !event.is_composing() => {
            event.prevent_default();
            ask();
        }
        "Escape" => {
            event.stop_propagation();
            is_edited.set(false);
        }
        _ => {}
    };
    view! {
        <div class="edit">
            <textarea rows="2" aria-label=t("question.edited") dir="auto" autocomplete="off" node_ref=field on:keydown=key></textarea>
            <button type="button" disabled=move || state.conversation.is_answering() on:click=move |_| ask()>{t("ask")}</button>
            <button type="button" on:click=move |_| is_edited.set(false)>{t("question.cancel")}</button>
        </div>
    }
}
