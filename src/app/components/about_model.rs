//! What the page says about the model that answers.

use leptos::either::Either;
use leptos::prelude::*;

use crate::api::ModelInfo;

/// The model in one line.
pub fn line(model: &ModelInfo) -> String {
    [short_name(model), " · ", &model.device].concat()
}

/// What it is called where there is little room.
pub fn short_name(model: &ModelInfo) -> &str {
    match model.is_demo {
        true => "Small demo model",
        false => without_owner(&model.name),
    }
}

/// The name of a model on the hub, without its owner's.
pub fn without_owner(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default()
}

/// What the model knows, plainly where that is little.
#[component]
pub fn AboutModel(model: ModelInfo) -> impl IntoView {
    if model.is_demo {
        Either::Left(view! {
            <p class="about-model">
                "The "<strong>"small demo model"</strong>" knows drawn scenes and simple shapes, not photos."
            </p>
        })
    } else {
        Either::Right(view! {
            <p class="about-model">{if model.offers.matching { "Compared by " } else { "Answered by " }}<strong>{model.name}</strong>" on "{model.device}" in "{model.dtype}"."</p>
        })
    }
}
