//! What the page says about the model that answers.

use leptos::prelude::*;

use super::text_box::as_html;
use crate::api::{ModelInfo, t, t_with};

/// The model in one line.
pub fn line(model: &ModelInfo) -> String {
    [short_name(model), " · ", &model.device].concat()
}

/// What it is called where there is little room.
pub fn short_name(model: &ModelInfo) -> &str {
    match model.is_demo {
        true => t("model.demo"),
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
    let words = if model.is_demo {
        t("about.demo").to_owned()
    } else {
        let key = if model.offers.matching {
            "about.compared"
        } else {
            "about.answered"
        };
        let [name, device, dtype] = [&model.name, &model.device, &model.dtype].map(|text| as_html(text));
        t_with(key, &[("model", &name), ("device", &device), ("dtype", &dtype)])
    };
    view! { <p class="about-model" inner_html=words></p> }
}
