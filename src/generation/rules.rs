//! What all ways of decoding share: the logits of a pass, and the rules.

use super::logits::log_sum_exp;
use super::pass::Beginning;
use super::stopping::Stopping;
use super::{FinishReason, GeneratedToken, GenerationError, GenerationOptions, LogitsProcessors};

/// The rules that change logits and that end answers.
pub(super) struct Rules {
    processors: LogitsProcessors,
    pub stopping: Stopping,
}

impl Rules {
    pub fn new(beginning: &Beginning, options: &GenerationOptions) -> Self {
        let eos_token_ids = &beginning.eos_token_ids;
        Self {
            processors: LogitsProcessors::new(options, beginning.ids_before.len(), eos_token_ids),
            stopping: Stopping::new(beginning.max_length, options.stop_strings.clone(), eos_token_ids),
        }
    }

    /// `scores`, logits or their log-softmax, as the rules leave them for the token behind `ids`.
    pub fn process(&self, ids: &[u32], mut scores: Vec<f32>) -> Vec<f32> {
        self.processors.apply(ids, &mut scores);
        scores
    }

    /// A token that was chosen by a row of a pass, with its probability.
    pub fn token(&self, logits: &PassLogits, sequence: usize, id: u32) -> GeneratedToken {
        GeneratedToken {
            id,
            logprob: logits.log_probability(sequence, id),
            is_end: self.stopping.is_eos(id),
        }
    }

    pub fn finish_reason(&self, ids: &[u32]) -> Option<FinishReason> {
        self.stopping.finish_reason(ids)
    }
}

/// The logits behind a pass, `[vocabulary]` in each row.
pub(super) struct PassLogits<'a> {
    rows: &'a [Vec<f32>],
    /// Of each row, the logarithm of the sum of exponentials.
    log_sums: Vec<f64>,
}

impl<'a> PassLogits<'a> {
    /// # Errors
    /// They are not finite.
    pub fn new(rows: &'a [Vec<f32>]) -> Result<Self, GenerationError> {
        let log_sums: Vec<f64> = rows.iter().map(|logits| log_sum_exp(logits)).collect();
        if rows.is_empty() || log_sums.iter().any(|sum| !sum.is_finite()) {
            return Err(GenerationError::NotFinite);
        }
        Ok(Self { rows, log_sums })
    }

    /// The row that a sequence reads its logits from: behind the prompt there is one for all.
    fn row(&self, sequence: usize) -> usize {
        sequence.min(self.rows.len() - 1)
    }

    pub fn of(&self, sequence: usize) -> &[f32] {
        &self.rows[self.row(sequence)]
    }

    fn log_probability(&self, sequence: usize, id: u32) -> f32 {
        let row = self.row(sequence);
        (f64::from(self.rows[row][id as usize]) - self.log_sums[row]) as f32
    }
}
