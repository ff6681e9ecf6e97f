//! What is behind the button. The style shows only the fields that matter for the chosen way of
//! decoding, which works without JavaScript too; the others are not asked.

use leptos::prelude::*;

use super::appearance::Appearance;
use super::fields;
use super::presets::Presets;
use crate::api::drawn;
use crate::app::components::about_model::AboutModel;
use crate::app::components::icon::{MORE, face};
use crate::app::state::{ModelsState, SettingsState};

#[component]
pub fn Panel(settings: SettingsState, models: ModelsState) -> impl IntoView {
    let context_hint = match untrack(|| models.info()).is_demo {
        _ if models.are_several() => drawn("hint.context_suits"),
        true => drawn("hint.context_two"),
        false => drawn("hint.context_fit"),
    };
    let number = move |name, hint| fields::number(settings, name, hint);
    let compares = move || models.offers().matching;
    view! {
        <p class="of-matching" hidden=move || !compares() inner_html=drawn("hint.matching")></p>
        <div class="of-writing" hidden=compares>
            <Presets settings models/>
            <fieldset class="choice decoding">
                <legend>{drawn("setting.decoding")}</legend>
                <div class="choices">
                    {fields::decoding(settings, "greedy", drawn("setting.greedy"))}
                    {fields::decoding(settings, "beams", drawn("setting.beams"))}
                    {fields::decoding(settings, "sampling", drawn("setting.sampling"))}
                </div>
                <p class="hint of-greedy">{drawn("hint.greedy")}</p>
                <p class="hint of-beams">{drawn("hint.beams")}</p>
                <p class="hint of-sampling">{drawn("hint.sampling")}</p>
            </fieldset>
            <div class="of-beams">
                {number("num_beams", drawn("hint.num_beams"))}
                {number("length_penalty", drawn("hint.length_penalty"))}
                {fields::early_stopping(settings)}
                {fields::check(settings, "do_sample", drawn("hint.do_sample"))}
            </div>
            <div class="of-drawing">
                {number("temperature", drawn("hint.temperature"))}
                {number("top_k", drawn("hint.top_k"))}
                {number("top_p", drawn("hint.top_p"))}
                {number("seed", drawn("hint.seed"))}
            </div>
            <div class="of-beams of-sampling">{number("num_return_sequences", drawn("hint.num_return_sequences"))}</div>
            {number("max_new_tokens", drawn("hint.max_new_tokens"))}
            {number("context_turns", context_hint)}
            <details class="more">
                <summary inner_html=face(MORE, drawn("setting.more"))></summary>
                {number("min_new_tokens", drawn("hint.min_new_tokens"))}
                {number("repetition_penalty", drawn("hint.repetition_penalty"))}
                {number("no_repeat_ngram_size", drawn("hint.no_repeat_ngram_size"))}
                {fields::words(settings, "prefix", drawn("hint.prefix"), "a photo of")}
                {fields::stop_strings(settings)}
                {fields::check(settings, "raw", drawn("hint.raw"))}
            </details>
        </div>
        <Appearance/>
        {move || view! { <AboutModel model=models.info()/> }}
    }
}
