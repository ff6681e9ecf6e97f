//! What all ways of decoding share: the next logits of every row, and the rules.

use super::forward::{Forward, Prefilled};
use super::logits::log_sum_exp;
use super::stopping::Stopping;
use super::{FinishReason, GeneratedToken, GenerationError, GenerationOptions, LogitsProcessors};

/// The model, one row for each sequence that is being written, and the rules.
pub(super) struct Decoder<'model> {
    model: Box<dyn Forward + 'model>,
    /// Logits of the next token, one row a sequence.
    logits: Vec<Vec<f32>>,
    /// Of each row, the logarithm of the sum of exponentials.
    log_sums: Vec<f64>,
    processors: LogitsProcessors,
    pub stopping: Stopping,
}

impl<'model> Decoder<'model> {
    /// Goes on from a prompt, in one row.
    pub fn new(prefilled: Prefilled<'model>, options: &GenerationOptions) -> Result<Self, GenerationError> {
        let eos_token_ids = &prefilled.eos_token_ids;
        let mut decoder = Self {
            processors: LogitsProcessors::new(options, prefilled.ids_before.len(), eos_token_ids),
            stopping: Stopping::new(prefilled.max_length, options.stop_strings.clone(), eos_token_ids),
            model: prefilled.model,
            logits: Vec::new(),
            log_sums: Vec::new(),
        };
        decoder.take_logits(vec![prefilled.logits])?;
        Ok(decoder)
    }

    /// Reads one more token in each row: row `i` goes on from the row `parents[i]` that was.
    pub fn advance(&mut self, parents: &[usize], tokens: &[u32]) -> Result<(), GenerationError> {
        let logits = self.model.forward(parents, tokens)?;
        self.take_logits(logits)
    }

    fn take_logits(&mut self, logits: Vec<Vec<f32>>) -> Result<(), GenerationError> {
        self.log_sums = logits.iter().map(|logits| log_sum_exp(logits)).collect();
        self.logits = logits;
        if self.log_sums.iter().all(|sum| sum.is_finite()) {
            Ok(())
        } else {
            Err(GenerationError::NotFinite)
        }
    }

    /// The row that a sequence reads its logits from: behind the prompt there is one for all.
    fn row(&self, sequence: usize) -> usize {
        sequence.min(self.logits.len() - 1)
    }

    pub fn logits(&self, sequence: usize) -> &[f32] {
        &self.logits[self.row(sequence)]
    }

    /// `scores`, logits or their log-softmax, as the rules leave them for the token behind `ids`.
    pub fn process(&self, ids: &[u32], mut scores: Vec<f32>) -> Vec<f32> {
        self.processors.apply(ids, &mut scores);
        scores
    }

    /// A chosen token with its probability.
    pub fn token(&self, sequence: usize, id: u32) -> GeneratedToken {
        let row = self.row(sequence);
        GeneratedToken {
            id,
            logprob: (f64::from(self.logits[row][id as usize]) - self.log_sums[row]) as f32,
            is_end: self.stopping.is_eos(id),
        }
    }

    pub fn finish_reason(&self, ids: &[u32]) -> Option<FinishReason> {
        self.stopping.finish_reason(ids)
    }
}
