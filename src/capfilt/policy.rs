//! Which texts of a picture are kept, by their scores.

use std::collections::HashSet;

use super::row::{Choice, KeptText, Origin, Row, ScoredText};

/// Which texts are kept. A noisy one, whose match is below the threshold, never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The web's text and the synthetic ones are filtered alike, and those that pass stand side by side
    /// (the paper's).
    Paper,
    /// The web's text where it passes, else the best synthetic one that does (Nguyen et al. 2023).
    Replace,
    /// The one text that fits best, the web's ranked among the synthetic ones.
    Best,
    /// The web's text, where it passes.
    Filter,
}

impl Policy {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Replace => "replace",
            Self::Best => "best",
            Self::Filter => "filter",
        }
    }

    /// What is kept of a row.
    pub fn choose(self, row: &Row, threshold: f32) -> Choice {
        if row.error.is_some() {
            return Choice::default();
        }
        let passing = |text: &&ScoredText| passes(text, threshold);
        let web = Some(&row.web).filter(passing).map(|text| kept(text, Origin::Web));
        let synthetic = row.synthetic.iter().filter(passing);
        let best = |texts: &mut dyn Iterator<Item = KeptText>| {
            // Of equal ones the first.
            texts.reduce(|best, text| if text.matching > best.matching { text } else { best })
        };
        let mut synthetic = synthetic.map(|text| kept(text, Origin::Synthetic));
        let texts: Vec<KeptText> = match self {
            Self::Paper => web.into_iter().chain(synthetic).collect(),
            Self::Replace => web.or_else(|| best(&mut synthetic)).into_iter().collect(),
            Self::Best => best(&mut web.into_iter().chain(synthetic)).into_iter().collect(),
            Self::Filter => web.into_iter().collect(),
        };
        Choice {
            kept: !texts.is_empty(),
            texts: once(texts),
        }
    }
}

/// Of drawn texts that say the same the first. The web's and a drawn one stand side by side, as in the paper, also
/// where both say the same: that counts for more.
fn once(mut texts: Vec<KeptText>) -> Vec<KeptText> {
    let mut said = HashSet::new();
    texts.retain(|text| text.from == Origin::Web || said.insert(text.text.clone()));
    texts
}

/// Whether a text fits well enough; one without scores does not.
pub fn passes(text: &ScoredText, threshold: f32) -> bool {
    text.matching.is_some_and(|matching| matching >= threshold)
}

fn kept(text: &ScoredText, from: Origin) -> KeptText {
    KeptText {
        text: text.text.clone(),
        from,
        matching: text.matching,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str, matching: impl Into<Option<f32>>) -> ScoredText {
        ScoredText {
            text: text.into(),
            matching: matching.into(),
            cosine: None,
        }
    }

    fn chosen(policy: Policy, web: Option<f32>, synthetic: &[f32], threshold: f32) -> Vec<String> {
        let row = Row {
            web: text("web", web),
            synthetic: (0..)
                .zip(synthetic)
                .map(|(place, score)| text(&format!("s{place}"), *score))
                .collect(),
            ..Row::default()
        };
        let choice = policy.choose(&row, threshold);
        assert_eq!(choice.kept, !choice.texts.is_empty());
        choice.texts.into_iter().map(|text| text.text).collect()
    }

    #[test]
    fn each_policy_keeps_what_it_says() {
        let of = |policy, web, synthetic: &[f32]| chosen(policy, web, synthetic, 0.5);
        assert_eq!(of(Policy::Paper, Some(0.5), &[0.4, 0.9]), ["web", "s1"]);
        assert_eq!(of(Policy::Paper, Some(0.49), &[0.4]), [""; 0]);
        assert_eq!(of(Policy::Replace, Some(0.6), &[0.9]), ["web"]);
        assert_eq!(of(Policy::Replace, Some(0.1), &[0.7, 0.9, 0.9]), ["s1"]);
        assert_eq!(of(Policy::Replace, Some(0.1), &[0.2]), [""; 0]);
        assert_eq!(of(Policy::Best, Some(0.6), &[0.5, 0.9]), ["s1"]);
        assert_eq!(of(Policy::Best, Some(0.9), &[0.9]), ["web"]);
        assert_eq!(of(Policy::Filter, Some(0.4), &[0.9]), [""; 0]);
        assert_eq!(of(Policy::Filter, Some(0.8), &[0.9]), ["web"]);
    }

    #[test]
    fn drawn_texts_that_say_the_same_are_kept_once_beside_the_webs() {
        let row = Row {
            web: text("a cat", 0.9),
            synthetic: vec![text("a dog", 0.8), text("a dog", 0.8), text("a cat", 0.9)],
            ..Row::default()
        };
        let kept = Policy::Paper.choose(&row, 0.5).texts;
        let told: Vec<_> = kept.iter().map(|text| (text.text.as_str(), text.from)).collect();
        let expected = [
            ("a cat", Origin::Web),
            ("a dog", Origin::Synthetic),
            ("a cat", Origin::Synthetic),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_text_without_scores_is_dropped_whatever_the_threshold() {
        for policy in [Policy::Paper, Policy::Replace, Policy::Best] {
            assert_eq!(chosen(policy, None, &[0.1], 0.0), ["s0"]);
        }
        assert_eq!(chosen(Policy::Filter, None, &[0.1], 0.0), [""; 0]);
        let row = Row {
            error: Some("broken".into()),
            web: text("web", 1.0),
            ..Row::default()
        };
        assert_eq!(Policy::Paper.choose(&row, 0.0), Choice::default());
    }
}
