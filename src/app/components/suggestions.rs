//! What might be asked next: what goes with the model, and was not asked yet.

use leptos::prelude::*;

use crate::api::t;
use crate::app::actions::{ask_text, describe};
use crate::app::state::State;

/// Questions that go with any picture, in the language that models know.
const QUESTIONS: [&str; 6] = [
    "What is in the picture?",
    "How many things are there?",
    "What is on the left?",
    "What is on the right?",
    "What is in the middle?",
    "What colors are there?",
];

/// As many are offered at a time: behind an answer fewer, since that is to be read.
const AT_FIRST: usize = 4;
const BEHIND_AN_ANSWER: usize = 3;

#[component]
pub fn Suggestions(state: State) -> impl IntoView {
    let offered = move || {
        let offers = state.models.offers();
        let asked = state.conversation.turns.get();
        let is_new = |question: &str| !asked.iter().any(|turn| turn.question == question);
        let caption = (offers.captions && is_new("")).then_some("");
        let questions = QUESTIONS.into_iter().filter(|_| offers.questions);
        let questions = questions.filter(|question| is_new(question));
        let button = |question: &'static str| {
            let ask = move |_| match question {
                "" => describe(state),
                question => ask_text(state, question.to_owned()),
            };
            let (words, language) = match question {
                "" => (t("conversation.describe"), None),
                question => (question, Some("en")),
            };
            view! { <button type="button" lang=language dir="auto" on:click=ask>{words}</button> }
        };
        let most = if asked.is_empty() { AT_FIRST } else { BEHIND_AN_ANSWER };
        caption
            .into_iter()
            .chain(questions)
            .take(most)
            .map(button)
            .collect_view()
    };
    view! { <div class="suggestions" role="group" aria-label=t("suggestions")>{offered}</div> }
}
