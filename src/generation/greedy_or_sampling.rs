//! Greedy decoding and drawing: each sequence goes its own way, token by token.
//!
//! Source: transformers' `_sample`. Several answers are rows of one batch; a row that is
//! finished leaves it, where the reference goes on with padding.

use super::decoder::Decoder;
use super::sampler::Sampler;
use super::top_k::argmax;
use super::{FinishReason, GeneratedToken, GenerationError, GenerationOptions, Sequence, Step};

/// The sequences of one answer.
pub(super) struct GreedyOrSampling {
    rows: Vec<Row>,
    /// Which row of the model each unfinished sequence is, in their order; empty at the start.
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

    /// One more token for every unfinished sequence; `None` where there is none left.
    pub fn step(&mut self, decoder: &mut Decoder) -> Result<Option<Step>, GenerationError> {
        let unfinished = self.unfinished();
        if unfinished.is_empty() {
            return Ok(None);
        }
        if !self.in_model.is_empty() {
            self.read_last_tokens(&unfinished, decoder)?;
        }
        for (place, number) in unfinished.iter().enumerate() {
            self.rows[*number].choose(place, decoder)?;
        }
        let first = &self.rows[0];
        let step = match first.tokens.last() {
            Some(token) if unfinished[0] == 0 => Step::Token(*token),
            _ => Step::Working,
        };
        self.in_model = unfinished;
        Ok(Some(step))
    }

    fn unfinished(&self) -> Vec<usize> {
        let rows = self.rows.iter().enumerate();
        rows.filter(|(_, row)| row.finish_reason.is_none())
            .map(|(number, _)| number)
            .collect()
    }

    fn read_last_tokens(&self, unfinished: &[usize], decoder: &mut Decoder) -> Result<(), GenerationError> {
        let is_first = self.rows[unfinished[0]].tokens.len() == 1;
        let mut parents = Vec::with_capacity(unfinished.len());
        for (place, number) in self.in_model.iter().enumerate() {
            if unfinished.contains(number) {
                // Behind the prompt there is one row for all.
                parents.push(if is_first { 0 } else { place });
            }
        }
        let last = |number: &usize| self.rows[*number].tokens.last().map_or(0, |token| token.id);
        let tokens: Vec<u32> = unfinished.iter().map(last).collect();
        decoder.advance(&parents, &tokens)
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
    fn choose(&mut self, place: usize, decoder: &Decoder) -> Result<(), GenerationError> {
        let scores = decoder.process(&self.ids, decoder.logits(place).to_vec());
        let id = match &mut self.sampler {
            Some(sampler) => sampler.draw(&scores)?,
            None => argmax(&scores) as u32,
        };
        self.tokens.push(decoder.token(place, id));
        self.ids.push(id);
        self.finish_reason = decoder.finish_reason(&self.ids);
        Ok(())
    }
}
