//! What a model looked at while it wrote an answer, and how sure it was of each word.

use leptos::prelude::*;

use super::icon::CLOSE;
use super::tool::tool;
use crate::api::{ExplainedWord, OtherWord, t, t_with};
use crate::app::state::State;

/// The map that lies on the picture: that of the word that is pointed at, or of the whole answer.
pub fn map(state: State) -> Option<String> {
    let word = state.looked.word.get();
    state.looked.explanation.with(|explanation| {
        let explanation = explanation.as_ref()?;
        let word = word.and_then(|index| explanation.words.get(index));
        Some(word.map_or(&explanation.map, |word| &word.map).clone())
    })
}

/// The words of the answer beneath the picture; pointing at one shows its map.
#[component]
pub fn Looked(state: State) -> impl IntoView {
    let looked = state.looked;
    let words = move || {
        looked
            .explanation
            .with(|explanation| explanation.as_ref().map(|it| it.words.clone()))
            .unwrap_or_default()
    };
    let about = move || {
        let words = words();
        let word = looked.word.get().and_then(|index| words.get(index));
        match (word, words.is_empty()) {
            (Some(word), _) => sureness(word),
            (None, true) => t("look.wait").to_owned(),
            (None, false) => t("look.about").to_owned(),
        }
    };
    view! {
        <Show when=move || looked.answer.with(Option::is_some)>
            <div class="looked" role="group" aria-label=t("look")>
                <div class="looked-head">
                    <strong>{t("look")}</strong>
                    <p class="legend"><span>{t("look.less")}</span><span class="scale"></span><span>{t("look.more")}</span></p>
                    {tool(CLOSE, t("look.hide"), move |_| looked.close())}
                </div>
                <div class="words" role="group" aria-label=t("look.words")>
                    <button
                        type="button"
                        aria-pressed=move || if looked.word.get().is_none() { "true" } else { "false" }
                        on:click=move |_| looked.word.set(None)
                    >
                        {t("look.whole")}
                    </button>
                    {move || words().into_iter().enumerate().map(|(index, word)| word_button(state, index, word)).collect_view()}
                </div>
                <p class="hint" dir="auto">{about}</p>
            </div>
        </Show>
    }
}

fn word_button(state: State, index: usize, word: ExplainedWord) -> impl IntoView {
    let chosen = state.looked.word;
    let is_chosen = move || chosen.get() == Some(index);
    let class = match word.probability {
        0.9.. => "p4",
        0.6..0.9 => "p3",
        0.3..0.6 => "p2",
        _ => "p1",
    };
    view! {
        <button
            type="button"
            class=class
            aria-pressed=move || if is_chosen() { "true" } else { "false" }
            on:click=move |_| chosen.set(Some(index))
            on:pointerenter=move |event| {
                if event.pointer_type() == "mouse" {
                    chosen.set(Some(index));
                }
            }
            on:focus=move |_| chosen.set(Some(index))
        >
            <span lang="en" dir="auto">{word.text.trim().to_owned()}</span>
            <small>{percent(word.probability)}</small>
        </button>
    }
}

/// How sure the model was of a word, and what else it might have said.
fn sureness(word: &ExplainedWord) -> String {
    let other = |other: &OtherWord| match other.text.as_str() {
        "" => t_with("look.end", &[("percent", &percent(other.probability))]),
        word => t_with(
            "look.other",
            &[("word", word), ("percent", &percent(other.probability))],
        ),
    };
    let others: Vec<String> = word.others.iter().take(3).map(other).collect();
    let values = [
        ("percent", &*percent(word.probability)),
        ("word", word.text.trim()),
        ("others", &others.join(t("separator"))),
    ];
    t_with("look.sure", &values)
}

fn percent(probability: f32) -> String {
    let percent = match (probability * 100.0).round() {
        0.0 => "<1".to_owned(),
        percent => percent.to_string(),
    };
    t_with("percent", &[("percent", &percent)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_how_sure_the_model_was_and_what_else_there_was() {
        let other = |text: &str, probability| OtherWord {
            text: text.to_owned(),
            probability,
        };
        let word = ExplainedWord {
            text: " snails".to_owned(),
            probability: 0.934,
            others: vec![other("bees", 0.04), other("", 0.02), other("a", 0.001), other("b", 0.0)],
            map: String::new(),
        };
        assert_eq!(
            sureness(&word),
            "93 % sure of \u{201c}snails\u{201d}. It might have gone on with \u{201c}bees\u{201d} 4 %, the end 2 %, \u{201c}a\u{201d} <1 %."
        );
    }
}
