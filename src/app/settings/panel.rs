//! The settings' fields, as the server draws them. The style shows only those that matter
//! for the chosen way of decoding; the others are not asked.

use leptos::prelude::*;

use super::label;
use crate::api::{Fields, ModelInfo, NumberSetting, SettingsPanel};
use crate::app::composer::as_html;
use crate::app::model::AboutModel;

#[component]
pub fn Panel(model: ModelInfo, panel: SettingsPanel) -> impl IntoView {
    let context_hint = if model.is_demo {
        "Automatic: the last two."
    } else {
        "Automatic: as many as fit."
    };
    let SettingsPanel { fields, numbers } = panel;
    provide_context(fields);
    let number = |name: &'static str, hint: &'static str| {
        let setting = numbers.iter().find(|setting| setting.name == name).cloned();
        setting.map(|setting| view! { <Number setting hint/> })
    };
    view! {
        <fieldset class="decoding">
            <legend>"Decoding"</legend>
            <div class="choices">
                <Choice value="greedy">"Greedy"</Choice>
                <Choice value="beams">"Beam search"</Choice>
                <Choice value="sampling">"Sampling"</Choice>
            </div>
            <p class="hint of-greedy">"Takes the likeliest word each time."</p>
            <p class="hint of-beams">"Follows several answers, and shows the best one when all are complete."</p>
            <p class="hint of-sampling">"Draws words by their probability: another answer each time."</p>
        </fieldset>
        <div class="of-beams">
            {number("num_beams", "More take longer.")}
            {number("length_penalty", "Above 0, longer answers win.")}
            <EarlyStopping/>
            <Check name="do_sample" hint="As Sampling does, in every beam."/>
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
            <Words name="prefix" hint="Describe goes on from here." placeholder="a photo of"/>
            <StopStrings/>
            <Check name="raw" hint="Without “Question: … Answer:” and earlier turns."/>
        </details>
        <button type="button" class="reset">"Reset"</button>
        <AboutModel model/>
    }
}

/// What stands in a field.
fn filled(name: &str) -> Option<String> {
    use_context::<Fields>()?.get(name).cloned()
}

/// One of the ways of decoding.
#[component]
fn Choice(value: &'static str, children: Children) -> impl IntoView {
    let chosen = filled("decoding").unwrap_or_else(|| "greedy".to_owned()) == value;
    view! {
        <label>
            <input type="radio" name="decoding" form="ask" value=value checked=chosen/>
            <span>{children()}</span>
        </label>
    }
}

/// A field with its label and what there is to know of it.
#[component]
fn Field(name: &'static str, #[prop(into)] hint: String, children: Children) -> impl IntoView {
    view! {
        <div class="field">
            <label>
                <span>{label(name)}</span>
                {children()}
            </label>
            <p class="hint" id=hint_id(name)>{hint}</p>
        </div>
    }
}

fn hint_id(name: &str) -> String {
    ["hint-", name].concat()
}

/// From here on a limit is beyond what anybody would choose.
const ENDLESS: f64 = 1e5;

/// A number; empty is its default.
#[component]
fn Number(setting: NumberSetting, hint: &'static str) -> impl IntoView {
    let NumberSetting {
        name,
        min,
        max,
        is_whole,
        default,
    } = setting;
    let hint = if max < ENDLESS {
        format!("{min} to {max}. {hint}")
    } else {
        hint.to_owned()
    };
    view! {
        <Field name hint>
            <input
                type="number"
                name=name
                form="ask"
                // A fraction's steps are counted from its least value, where there is one.
                min=is_whole.then_some(min)
                max=max
                step=if is_whole { "1" } else { "0.1" }
                // Not every phone's keys for numbers have a minus.
                inputmode=if min < 0.0 { "text" } else if is_whole { "numeric" } else { "decimal" }
                placeholder=default.map_or_else(|| "automatic".to_owned(), |default| default.to_string())
                aria-describedby=hint_id(name)
                value=filled(name)
            />
        </Field>
    }
}

#[component]
fn EarlyStopping() -> impl IntoView {
    let chosen = filled("early_stopping").unwrap_or_default();
    let choice = |value: &'static str, words: &'static str| {
        let is_chosen = chosen == value;
        view! { <option value=value selected=is_chosen>{words}</option> }
    };
    let choices = [
        choice("", "Automatic"),
        choice("never", "Never"),
        choice("true", "At once"),
    ];
    view! {
        <Field name="early_stopping" hint="Automatic: when no better answer is likely.">
            <select name="early_stopping" form="ask" aria-describedby=hint_id("early_stopping")>
                {choices}
            </select>
        </Field>
    }
}

/// Something that is on or off.
#[component]
fn Check(name: &'static str, hint: &'static str) -> impl IntoView {
    view! {
        <Field name hint>
            <input
                type="checkbox"
                name=name
                form="ask"
                value="true"
                aria-describedby=hint_id(name)
                checked=filled(name).is_some()
            />
        </Field>
    }
}

#[component]
fn Words(name: &'static str, hint: &'static str, placeholder: &'static str) -> impl IntoView {
    view! {
        <Field name hint>
            <input
                type="text"
                name=name
                form="ask"
                placeholder=placeholder
                autocomplete="off"
                aria-describedby=hint_id(name)
                value=filled(name)
            />
        </Field>
    }
}

#[component]
fn StopStrings() -> impl IntoView {
    let typed = as_html(&filled("stop_strings").unwrap_or_default());
    view! {
        <Field name="stop_strings" hint="An answer ends behind one of these; one a line.">
            <textarea
                name="stop_strings"
                form="ask"
                rows="2"
                autocomplete="off"
                spellcheck="false"
                aria-describedby=hint_id("stop_strings")
                inner_html=typed
            ></textarea>
        </Field>
    }
}
