//! How well texts fit the picture: a bar for each, the best first.

use std::cmp::Ordering;

use leptos::either::Either;
use leptos::prelude::*;

use crate::api::{TextScore, t, t_with};

/// A text of a turn, and how well it fits, once that is known.
#[derive(Clone, Debug, PartialEq)]
struct Match {
    /// In the order in which they were typed.
    place: usize,
    text: String,
    score: Option<TextScore>,
}

/// The texts of a turn: those whose scores have come in front, the best first.
fn matches(texts: &[String], scores: &[TextScore]) -> Vec<Match> {
    let texts = texts.iter().enumerate().map(|(place, text)| Match {
        place,
        text: text.clone(),
        score: scores.get(place).cloned(),
    });
    let mut matches: Vec<Match> = texts.collect();
    matches.sort_by(|one, other| match (&one.score, &other.score) {
        (Some(one), Some(other)) => better(one, other),
        (one, other) => other.is_some().cmp(&one.is_some()),
    });
    matches
}

/// By the matching head's verdict, as it is shown; where it says the same of both, by the cosine, which tells more
/// of texts that all fit, or none.
fn better(one: &TextScore, other: &TextScore) -> Ordering {
    let by_head = whole_percent(other.probability).total_cmp(&whole_percent(one.probability));
    by_head.then(other.cosine.total_cmp(&one.cosine))
}

fn whole_percent(probability: f32) -> f32 {
    (probability * 100.0).round()
}

/// A bar for each text of a turn; `is_coming` says whether further scores come.
#[component]
pub fn Matches(
    texts: Vec<String>,
    scores: ArcRwSignal<Vec<TextScore>>,
    is_coming: impl Fn() -> bool + Copy + Send + Sync + 'static,
) -> impl IntoView {
    let all = move || scores.with(|scores| matches(&texts, scores));
    view! {
        <ol class="matches" aria-label=t("scores")>
            <For each=all key=|found: &Match| (found.place, found.score.is_some()) let(found)>
                <li>
                    <span class="text" dir="auto">{found.text}</span>
                    {match found.score {
                        Some(score) => Either::Left(bar(&score)),
                        None => {
                            let words = move || if is_coming() { "…" } else { t("scores.missing") };
                            Either::Right(view! { <span class="match missing">{words}</span> })
                        }
                    }}
                </li>
            </For>
        </ol>
    }
}

fn bar(score: &TextScore) -> impl IntoView + use<> {
    let width = format!("{:.1}", score.probability * 100.0);
    view! {
        <span class="match"><span class="word">{[t("scores.match"), " "].concat()}</span>{percent(score.probability)}</span>
        <svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">
            <rect width=width height="1"/>
        </svg>
        <span class="cosine">{t_with("scores.cosine", &[("cosine", &format!("{:.3}", score.cosine))])}</span>
    }
}

/// In whole percent; what is next to nothing, or to certain, is not said to be that.
fn percent(probability: f32) -> String {
    let percent = match whole_percent(probability) {
        0.0 if probability > 0.0 => "<1".to_owned(),
        100.0 if probability < 1.0 => ">99".to_owned(),
        percent => percent.to_string(),
    };
    t_with("percent", &[("percent", &percent)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(text: &str, probability: f32, cosine: f32) -> TextScore {
        TextScore {
            text: text.to_owned(),
            probability,
            cosine,
        }
    }

    #[test]
    fn the_best_is_first_and_what_is_not_known_last() {
        let texts = ["a cat", "a dog", "a bee", "an ant"].map(str::to_owned);
        let scores = [
            score("a cat", 0.002, 0.2),
            score("a dog", 0.9, 0.1),
            score("a bee", 0.001, 0.3),
        ];
        let order = |scores: &[TextScore]| -> Vec<String> {
            matches(&texts, scores).into_iter().map(|found| found.text).collect()
        };
        assert_eq!(order(&scores), ["a dog", "a bee", "a cat", "an ant"]);
        assert_eq!(order(&scores[..1]), texts);
        assert_eq!(order(&[]), texts);
    }

    #[test]
    fn nothing_is_said_to_be_certain_that_is_not() {
        let said = [0.0, 0.004, 0.123, 0.996, 1.0].map(percent);
        assert_eq!(said, ["0 %", "<1 %", "12 %", ">99 %", "100 %"]);
    }
}
