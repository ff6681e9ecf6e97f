//! In the place of a conversation that has not begun.

use leptos::either::Either;
use leptos::prelude::*;

use super::about_model::AboutModel;
use crate::api::Offers;
use crate::app::actions::{ask_again, describe};
use crate::app::state::State;

fn title(offers: Offers) -> &'static str {
    match offers {
        Offers { matching: true, .. } => "Match texts with a picture",
        Offers { questions: false, .. } => "Have a picture described",
        _ => "Ask a picture anything",
    }
}

fn introduction(offers: Offers) -> &'static str {
    match offers {
        Offers { matching: true, .. } => "Put one in, then see how well texts fit it.",
        Offers { questions: false, .. } => "Put one in, and read what the model sees.",
        Offers { captions: false, .. } => "Put one in, then ask what you\u{2019}d like to know.",
        _ => "Put one in, then ask what you\u{2019}d like to know. Or have it described.",
    }
}

/// Questions that go with any picture.
const QUESTIONS: [&str; 3] = [
    "What is in the picture?",
    "How many things are there?",
    "What is on the left?",
];

#[component]
pub fn Welcome(state: State, is_begun: Memo<bool>, description: Option<String>) -> impl IntoView {
    let models = state.models;
    let intro = move || {
        description
            .clone()
            .unwrap_or_else(|| introduction(models.offers()).to_owned())
    };
    move || match is_begun.get() {
        true => Either::Left(view! { <Start state/> }),
        false => Either::Right(view! {
            <div class="welcome">
                <h2>{move || title(models.offers())}</h2>
                <p class="intro">{intro.clone()}</p>
                {move || view! { <AboutModel model=models.info()/> }}
            </div>
        }),
    }
}

/// A picture, and nothing asked yet: something to ask.
#[component]
fn Start(state: State) -> impl IntoView {
    let offers = move || state.models.offers();
    let question = move |question: &'static str| {
        view! {
            <button type="button" on:click=move |_| ask_again(state, question.to_owned(), false)>{question}</button>
        }
    };
    view! {
        <div class="start">
            <h2>{move || if offers().matching { "What might it show?" } else { "What would you like to know?" }}</h2>
            <div class="suggestions">
                <Show when=move || offers().captions>
                    <button type="button" on:click=move |_| describe(state)>"Describe the picture"</button>
                </Show>
                <Show when=move || offers().questions>{QUESTIONS.map(question).collect_view()}</Show>
            </div>
        </div>
    }
}
