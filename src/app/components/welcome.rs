//! In the place of a conversation that has not begun.

use leptos::prelude::*;

use super::about_model::AboutModel;
use crate::api::Offers;
use crate::app::state::State;

fn introduction(offers: Offers) -> &'static str {
    match offers {
        Offers { matching: true, .. } => "Put one in or try an example, and see how well texts fit it.",
        Offers { questions: false, .. } => "Put one in or try an example, and have it described.",
        Offers { captions: false, .. } => "Put one in or try an example, and ask what you want to know.",
        _ => "Put one in or try an example, ask what you want to know, and ask on.",
    }
}

#[component]
pub fn Welcome(state: State) -> impl IntoView {
    let models = state.models;
    view! {
        <div class="welcome">
            <h2>{move || if models.offers().matching { "Match texts with a picture" } else { "Ask a picture" }}</h2>
            <p class="intro">{move || introduction(models.offers())}</p>
            {move || view! { <AboutModel model=models.info()/> }}
        </div>
    }
}
