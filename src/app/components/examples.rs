//! Pictures to try, each with a question.

use leptos::prelude::*;

use super::icon::{EXAMPLES, face};
use crate::api::{Base, Example, t, t_count};
use crate::app::actions::open_example;
use crate::app::browser::popover;
use crate::app::state::State;

const PANEL: &str = "examples";

/// The button that they are behind, once there is a picture.
#[component]
pub fn ExamplesButton() -> impl IntoView {
    view! {
        <button
            type="button"
            class="tool wordy examples-button"
            title=t("examples")
            popovertarget=PANEL
            aria-haspopup="dialog"
            inner_html=face(EXAMPLES, t("examples"))
        ></button>
    }
}

/// What it opens.
#[component]
pub fn ExamplesFloat(state: State, examples: Vec<Example>) -> impl IntoView {
    view! {
        <div class="float examples-float" id=PANEL popover="auto" role="dialog" aria-label=t("examples.panel")>
            <Examples state examples/>
        </div>
    }
}

#[component]
pub fn Examples(state: State, examples: Vec<Example>) -> impl IntoView {
    let buttons = examples
        .into_iter()
        .enumerate()
        .map(|(index, example)| view! { <ExampleButton state index example/> });
    view! {
        <form class="examples" method="post" action=Base::current().at("/ask") enctype="multipart/form-data">
            <h2 class="small-head">{t("examples.title")}</h2>
            <div role="group" aria-label=t("examples")>{buttons.collect_view()}</div>
        </form>
    }
}

#[component]
fn ExampleButton(state: State, index: usize, example: Example) -> impl IntoView {
    // In words, and as a tooltip in full.
    let question = {
        let example = example.clone();
        move |is_short: bool| {
            let offers = state.models.offers();
            match (example.texts_for(offers), example.question_for(offers)) {
                ([], "") => t("examples.describe").to_owned(),
                ([], question) => question.to_owned(),
                (texts, _) if is_short => t_count("match_texts", texts.len(), &[]),
                (texts, _) => texts.join("\n"),
            }
        }
    };
    // What is asked of the model is in the language that it knows.
    let is_models = untrack(|| {
        let offers = state.models.offers();
        example.texts_for(offers).is_empty() && !example.question_for(offers).is_empty()
    });
    let (url, alt, title) = (Base::current().at(&example.url), example.alt.clone(), question.clone());
    let open = move |event: leptos::ev::MouseEvent| {
        event.prevent_default();
        popover::hide(PANEL);
        open_example(state, index, example.clone());
    };
    view! {
        <button type="submit" name="example" value=index.to_string() title=move || title(false) on:click=open>
            <img src=url alt=alt lang="en" width="192" height="144"/>
            <span lang=is_models.then_some("en") dir="auto">{move || question(true)}</span>
        </button>
    }
}
