//! What is behind the button. The style shows only the fields that matter for the chosen way of
//! decoding, which works without JavaScript too; the others are not asked.

use leptos::prelude::*;

use super::appearance::Appearance;
use super::fields;
use super::presets::Presets;
use crate::app::components::about_model::AboutModel;
use crate::app::components::icon::{MORE, face};
use crate::app::state::{ModelsState, SettingsState};

#[component]
pub fn Panel(settings: SettingsState, models: ModelsState) -> impl IntoView {
    let context_hint = match untrack(|| models.info()).is_demo {
        _ if models.are_several() => "Automatic: as many as suit the model.",
        true => "Automatic: the last two.",
        false => "Automatic: as many as fit.",
    };
    let number = move |name, hint| fields::number(settings, name, hint);
    let compares = move || models.offers().matching;
    view! {
        <p class="of-matching" hidden=move || !compares()>
            "Nothing is written, so there is nothing to set. "<strong>"Match"</strong>" is the probability that text and
            picture belong together: a verdict on one text. "<strong>"Cosine"</strong>" is how near their vectors are: of
            the published models 0.35 to 0.5 is near. It tells which of many texts is the best."
        </p>
        <div class="of-writing" hidden=compares>
            <Presets settings models/>
            <fieldset class="choice decoding">
                <legend>"Decoding"</legend>
                <div class="choices">
                    {fields::decoding(settings, "greedy", "Greedy")}
                    {fields::decoding(settings, "beams", "Beam search")}
                    {fields::decoding(settings, "sampling", "Sampling")}
                </div>
                <p class="hint of-greedy">"Always the likeliest word, so the answer is the same each time."</p>
                <p class="hint of-beams">"Weighs several answers against each other and shows the best, all at once."</p>
                <p class="hint of-sampling">"Rolls the dice for each word, so every try reads a little different."</p>
            </fieldset>
            <div class="of-beams">
                {number("num_beams", "More take longer.")}
                {number("length_penalty", "Above 0, longer answers win.")}
                {fields::early_stopping(settings)}
                {fields::check(settings, "do_sample", "As Sampling does, in every beam.")}
            </div>
            <div class="of-drawing">
                {number("temperature", "Low plays safe, high gets adventurous.")}
                {number("top_k", "Draws only from this many words. 0 means all.")}
                {number("top_p", "Draws only from the likeliest words that add up to this share.")}
                {number("seed", "The same number gives the same answer again.")}
            </div>
            <div class="of-beams of-sampling">{number("num_return_sequences", "How many to show.")}</div>
            {number("max_new_tokens", "The longest an answer may get. A token is about a word.")}
            {number("context_turns", context_hint)}
            <details class="more">
                <summary inner_html=face(MORE, "More")></summary>
                {number("min_new_tokens", "Keeps short answers going.")}
                {number("repetition_penalty", "Above 1, it repeats itself less.")}
                {number("no_repeat_ngram_size", "Never says the same run of this many tokens twice. 0 is off.")}
                {fields::words(settings, "prefix", "Describe goes on from here.", "a photo of")}
                {fields::stop_strings(settings)}
                {fields::check(settings, "raw", "Without “Question: … Answer:” and earlier turns.")}
            </details>
        </div>
        <Appearance/>
        {move || view! { <AboutModel model=models.info()/> }}
    }
}
