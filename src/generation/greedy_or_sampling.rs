//! Greedy decoding and drawing: each sequence goes its own way, token by token.
//!
//! Source: transformers' `_sample`. Several answers are rows of one batch; a row that is
//! finished leaves it, where the reference goes on with padding.

use super::pass::Pass;
use super::row_logits::Needs;
use super::rules::{Known, PassLogits, Rules, log_probability};
use super::sampler::Sampler;
use super::top_k::argmax;
use super::{FinishReason, GeneratedToken, GenerationError, GenerationOptions, Sequence};

/// The sequences of one answer.
pub(super) struct GreedyOrSampling {
    rows: Vec<Row>,
    /// The sequences that are rows of the model, in their order; empty before the prompt's
    /// logits, for which there is one row for all.
    in_model: Vec<usize>,
}

struct Row {
    /// What stands before the answer, and the answer.
    ids: Vec<u32>,
    tokens: Vec<GeneratedToken>,
    /// Greedy without one.
    sampler: Option<Sampler>,
    finish_reason: Option<FinishReason>,
}

impl GreedyOrSampling {
    pub fn new(ids_before: &[u32], options: &GenerationOptions, seed: Option<u64>) -> Self {
        let row = |number| Row {
            ids: ids_before.to_vec(),
            tokens: Vec::new(),
            sampler: seed.map(|seed| Sampler::new(seed, number)),
            finish_reason: (options.max_new_tokens == 0).then_some(FinishReason::Length),
        };
        Self {
            rows: (0..options.num_return_sequences).map(row).collect(),
            in_model: Vec::new(),
        }
    }

    /// Of the logits of the next token.
    pub fn needs(&self, rules: &Rules) -> Needs {
        let is_plain = |row: &Row| row.sampler.is_none() && rules.change_nothing(row.ids.len());
        match self.rows.iter().all(is_plain) {
            true => Needs::BestToken,
            false => Needs::AllLogits,
        }
    }

    /// One more token for every unfinished sequence; gives the first one's.
    pub fn take(&mut self, logits: &PassLogits, rules: &Rules) -> Result<Vec<GeneratedToken>, GenerationError> {
        let unfinished = self.unfinished();
        for (place, number) in unfinished.iter().enumerate() {
            self.rows[*number].choose(place, logits, rules)?;
        }
        let first = unfinished.first().filter(|number| **number == 0);
        let token = first.and_then(|_| self.rows[0].tokens.last().copied());
        self.in_model = unfinished;
        Ok(token.into_iter().collect())
    }

    /// The last token of every unfinished sequence.
    pub fn pass(&self) -> Option<Pass> {
        let unfinished = self.unfinished();
        let last = |number: &usize| self.rows[*number].tokens.last().map(|token| token.id);
        let tokens: Vec<u32> = unfinished.iter().filter_map(last).collect();
        let is_first = self.rows.iter().all(|row| row.tokens.len() <= 1);
        let place = |number: &usize| self.in_model.iter().position(|other| other == number);
        let parents = unfinished
            .iter()
            .filter_map(place)
            .map(|place| if is_first { 0 } else { place });
        (!unfinished.is_empty()).then(|| Pass {
            parents: parents.collect(),
            tokens,
        })
    }

    fn unfinished(&self) -> Vec<usize> {
        let rows = self.rows.iter().enumerate();
        rows.filter(|(_, row)| row.finish_reason.is_none())
            .map(|(number, _)| number)
            .collect()
    }

    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.rows[0].finish_reason
    }

    pub fn sequences(&self) -> Vec<Sequence> {
        let sequence = |row: &Row| {
            Some(Sequence {
                tokens: row.tokens.clone(),
                finish_reason: row.finish_reason?,
                score: None,
            })
        };
        let all: Option<Vec<Sequence>> = self.rows.iter().map(sequence).collect();
        all.unwrap_or_default()
    }
}

impl Row {
    fn choose(&mut self, place: usize, logits: &PassLogits, rules: &Rules) -> Result<(), GenerationError> {
        let is_plain = self.sampler.is_none() && rules.change_nothing(self.ids.len());
        let (id, logprob) = match logits.of(place) {
            Known::BestToken { id, logprob } if is_plain => (id, logprob),
            _ => {
                let (all, log_sum) = logits.all_of(place)?;
                let scores = rules.process(&self.ids, all.to_vec());
                let id = match &mut self.sampler {
                    Some(sampler) => sampler.draw(&scores)?,
                    None => argmax(&scores) as u32,
                };
                (id, log_probability(all, log_sum, id))
            }
        };
        self.tokens.push(rules.token(id, logprob));
        self.ids.push(id);
        self.finish_reason = rules.finish_reason(&self.ids);
        Ok(())
    }
}
