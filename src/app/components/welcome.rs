//! In the place of a conversation that has not begun.

use leptos::either::Either;
use leptos::prelude::*;

use super::about_model::AboutModel;
use super::suggestions::Suggestions;
use crate::api::{Offers, t};
use crate::app::state::State;

fn title(offers: Offers) -> &'static str {
    match offers {
        Offers { matching: true, .. } => t("welcome.title_match"),
        Offers { questions: false, .. } => t("welcome.title_describe"),
        _ => t("welcome.title"),
    }
}

fn introduction(offers: Offers) -> &'static str {
    match offers {
        Offers { matching: true, .. } => t("welcome.intro_match"),
        Offers { questions: false, .. } => t("welcome.intro_describe"),
        Offers { captions: false, .. } => t("welcome.intro_ask"),
        _ => t("welcome.intro"),
    }
}

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
    view! {
        <div class="start">
            <h2>{move || if offers().matching { t("start.match") } else { t("start.ask") }}</h2>
            <Suggestions state/>
        </div>
    }
}
