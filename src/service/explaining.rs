//! Why an answer is as it is, for whoever owns it.

use std::sync::Arc;

use super::blocking::run_within;
use super::{Result, Service};
use crate::chat::{
    Answer, AnswerId, ConversationId, Error, ExplainedWord, Explanation, LookMap, Missing, Other, Visitor,
};
use crate::engine::{self, ExplainedToken};

impl Service {
    /// What the words of an answer looked at, and how sure the model was of each. It takes about as long as the
    /// first token of an answer and counts as a question; one is explained at a time.
    ///
    /// # Errors
    /// The answer is not this visitor's, is still being given, was kept by a Glimpse that did not keep its
    /// tokens, or is not a text; its model is not in memory, or fails; he has asked enough.
    pub async fn explain(&self, visitor: &Visitor, id: &ConversationId, answer: &AnswerId) -> Result<Explanation> {
        let conversation = self.conversation(visitor, id).await?;
        let mut answers = conversation.turns.iter().flat_map(|turn| &turn.answers);
        let answer = answers.find(|other| other.id == *answer);
        let answer = answer.ok_or(Error::NotFound { what: Missing::Answer })?;
        if answer.is_running() {
            return Err(Error::TurnInProgress);
        }
        let (prompt, token_ids) = explainable(answer).ok_or(Error::NotFound {
            what: Missing::Explanation,
        })?;
        let not_loaded = || Error::ModelNotLoaded {
            model: answer.model.clone(),
        };
        let engine = self.engines.named(&answer.model).ok_or_else(not_loaded)?;
        let explainer = engine.explainer().ok_or_else(not_loaded)?;
        self.quotas.count_question(visitor)?;
        let room = self.room(visitor.network);
        let picture = self.pictures.prepared(&conversation.picture, engine, room).await?;
        let turn = Arc::clone(&self.explaining).acquire_owned();
        let turn = tokio::time::timeout(self.limits.wait_time, turn).await;
        let turn = turn.map_err(|_| Error::WaitedTooLong {
            seconds: self.limits.wait_time.as_secs(),
        })?;
        let work = move || explainer.explain(&picture, &prompt, &token_ids);
        let (_, explained) = run_within(turn, work).await?;
        Ok(of_words(&explained?))
    }
}

/// What an answer is explained by, where that is known.
fn explainable(answer: &Answer) -> Option<(String, Vec<u32>)> {
    let prompt = answer.prompt.clone()?;
    (!answer.token_ids.is_empty()).then(|| (prompt, answer.token_ids.clone()))
}

fn of_words(explained: &engine::Explanation) -> Explanation {
    let map = |tokens: &[ExplainedToken]| LookMap {
        columns: explained.columns,
        shares: mean(tokens, explained.rows * explained.columns),
    };
    let words = explained
        .tokens
        .chunk_by(|_, next| !next.text.starts_with(char::is_whitespace))
        .map(|tokens| ExplainedWord {
            text: tokens.iter().map(|token| token.text.as_str()).collect(),
            probability: tokens.iter().map(|token| token.probability).product(),
            others: tokens[0].others.iter().map(other).collect(),
            map: map(tokens),
        })
        .collect();
    Explanation {
        words,
        map: map(&explained.tokens),
    }
}

fn other((text, probability): &(String, f32)) -> Other {
    Other {
        text: text.trim().to_owned(),
        probability: *probability,
    }
}

/// The mean of what tokens gave each part.
fn mean(tokens: &[ExplainedToken], parts: usize) -> Vec<f32> {
    let mut sums = vec![0.0; parts];
    for token in tokens {
        sums.iter_mut().zip(&token.map).for_each(|(sum, share)| *sum += share);
    }
    let count = tokens.len().max(1) as f32;
    sums.into_iter().map(|sum| sum / count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_as_words() {
        let token = |text: &str, probability: f32, share: f32| ExplainedToken {
            text: text.into(),
            probability,
            others: vec![(format!(" not {text}"), 0.1)],
            map: vec![share, 1.0 - share],
        };
        let explained = engine::Explanation {
            tokens: vec![token("two", 0.5, 1.0), token(" snail", 0.8, 0.5), token("s", 0.5, 0.0)],
            rows: 1,
            columns: 2,
        };
        let Explanation { words, map } = of_words(&explained);
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts, ["two", " snails"]);
        assert!((words[1].probability - 0.4).abs() < 1e-6);
        assert_eq!(words[1].others[0].text, "not  snail");
        assert_eq!((map.columns, map.shares), (2, vec![0.5, 0.5]));
        assert_eq!(words[1].map.shares, [0.25, 0.75]);
    }
}
