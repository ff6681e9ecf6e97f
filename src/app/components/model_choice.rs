//! Which model is asked, where there are several, and which other one is compared with it.
//!
//! Both are part of the form that asks, so that a browser without JavaScript sends them too.

use leptos::prelude::*;

use super::about_model::short_name;
use super::icon::{COMPARE, face};
use super::text_box::bound;
use crate::api::{ModelInfo, t};
use crate::app::state::{ModelsState, State};

const PANEL: &str = "compare";

#[component]
pub fn ModelChoice(state: State) -> impl IntoView {
    let models = state.models;
    let chosen = models.chosen;
    let is_comparing = move || models.compared().is_some();
    view! {
        <div class="models">
            <select
                name="model"
                form="ask"
                aria-label=t("model")
                autocomplete="off"
                use:bound=chosen
                on:change=move |event| chosen.set(event_target_value(&event))
            >
                {models.all().iter().map(|model| option(model, untrack(|| chosen.get()) == model.name)).collect_view()}
            </select>
            <button
                type="button"
                class="tool wordy compare-button"
                title=t("compare")
                aria-pressed=move || if is_comparing() { "true" } else { "false" }
                popovertarget=PANEL
                aria-haspopup="dialog"
                disabled=move || models.comparable().is_empty()
                inner_html=face(COMPARE, t("compare"))
            ></button>
            <div class="float compare" id=PANEL popover="auto" role="dialog" aria-label=t("compare.panel")>
                <p>{t("compare.about")}</p>
                <label>
                    <span>{t("compare.with")}</span>
                    <select
                        name="compare_with"
                        form="ask"
                        autocomplete="off"
                        autofocus
                        on:change=move |event| models.beside.set(event_target_value(&event))
                    >
                        <Others models/>
                    </select>
                </label>
            </div>
        </div>
    }
}

/// Those that can be compared with the chosen one, and none of them.
#[component]
fn Others(models: ModelsState) -> impl IntoView {
    let options = move || {
        let beside = models.beside.get();
        let others = models.comparable();
        others
            .iter()
            .map(|model| option(model, model.name == beside))
            .collect_view()
    };
    view! {
        <option value="">{t("compare.none")}</option>
        {options}
    }
}

fn option(model: &ModelInfo, is_chosen: bool) -> impl IntoView + use<> {
    view! {
        <option value=model.name.clone() selected=is_chosen prop:selected=is_chosen>
            {short_name(model).to_owned()}
        </option>
    }
}
