//! What is behind the button. The style shows only the fields that matter for the chosen way of
//! decoding, which works without JavaScript too; the others are not asked.

use leptos::prelude::*;

use super::fields;
use super::presets::Presets;
use crate::app::components::about_model::AboutModel;
use crate::app::state::{ModelsState, SettingsState};

#[component]
pub fn Panel(settings: SettingsState, models: ModelsState, reset: impl Fn() + 'static) -> impl IntoView {
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
            <fieldset class="decoding">
                <legend>"Decoding"</legend>
                <div class="choices">
                    {fields::decoding(settings, "greedy", "Greedy")}
                    {fields::decoding(settings, "beams", "Beam search")}
                    {fields::decoding(settings, "sampling", "Sampling")}
                </div>
                <p class="hint of-greedy">"Takes the likeliest word each time."</p>
                <p class="hint of-beams">"Follows several answers, and shows the best one when all are complete."</p>
                <p class="hint of-sampling">"Draws words by their probability: another answer each time."</p>
            </fieldset>
            <div class="of-beams">
                {number("num_beams", "More take longer.")}
                {number("length_penalty", "Above 0, longer answers win.")}
                {fields::early_stopping(settings)}
                {fields::check(settings, "do_sample", "As Sampling does, in every beam.")}
            </div>
            <div class="of-drawing">
                {number("temperature", "Higher is more varied.")}
                {number("top_k", "So many likeliest words to draw from; 0 is all.")}
                {number("top_p", "The likeliest words that share this probability.")}
                {number("seed", "Same seed, same answer.")}
            </div>
            <div class="of-beams of-sampling">{number("num_return_sequences", "How many to show.")}</div>
            {number("max_new_tokens", "A token is about a word.")}
            {number("context_turns", context_hint)}
            <details class="more">
                <summary>"More"</summary>
                {number("min_new_tokens", "No answer ends before.")}
                {number("repetition_penalty", "Above 1, words repeat less.")}
                {number("no_repeat_ngram_size", "So many tokens in a row come once only; 0 is off.")}
                {fields::words(settings, "prefix", "Describe goes on from here.", "a photo of")}
                {fields::stop_strings(settings)}
                {fields::check(settings, "raw", "Without “Question: … Answer:” and earlier turns.")}
            </details>
            <button type="button" class="reset" on:click=move |_| reset()>"Reset"</button>
        </div>
        {move || view! { <AboutModel model=models.info()/> }}
    }
}
