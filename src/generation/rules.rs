//! What all ways of decoding share: the logits of a pass, and the rules.

use super::logits::log_sum_exp;
use super::pass::Beginning;
use super::row_logits::RowLogits;
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

    /// Whether logits of the token behind `length` ids stay as they are.
    pub fn change_nothing(&self, length: usize) -> bool {
        self.processors.change_nothing(length)
    }

    /// A token that was chosen, with the logarithm of its probability.
    pub fn token(&self, id: u32, logprob: f32) -> GeneratedToken {
        GeneratedToken {
            id,
            logprob,
            is_end: self.stopping.is_eos(id),
        }
    }

    pub fn finish_reason(&self, ids: &[u32]) -> Option<FinishReason> {
        self.stopping.finish_reason(ids)
    }
}

/// The logits behind a pass.
pub(super) struct PassLogits<'a> {
    rows: &'a [RowLogits],
    /// Of each row of which all are there, the logarithm of the sum of exponentials.
    log_sums: Vec<f64>,
}

/// What is known of one row.
pub(super) enum Known<'a> {
    /// `[vocabulary]`, and the logarithm of the sum of exponentials.
    All { logits: &'a [f32], log_sum: f64 },
    /// The likeliest token and its log-probability.
    BestToken { id: u32, logprob: f32 },
}

impl<'a> PassLogits<'a> {
    /// # Errors
    /// They are not finite.
    pub fn new(rows: &'a [RowLogits]) -> Result<Self, GenerationError> {
        let log_sum = |row: &RowLogits| match row {
            RowLogits::All(logits) => log_sum_exp(logits),
            RowLogits::BestToken { logprob, .. } => f64::from(*logprob),
        };
        let log_sums: Vec<f64> = rows.iter().map(log_sum).collect();
        if rows.is_empty() || log_sums.iter().any(|sum| !sum.is_finite()) {
            return Err(GenerationError::NotFinite);
        }
        Ok(Self { rows, log_sums })
    }

    /// Of a sequence; behind the prompt there is one row for all.
    pub fn of(&self, sequence: usize) -> Known<'a> {
        let row = sequence.min(self.rows.len() - 1);
        match &self.rows[row] {
            RowLogits::All(logits) => Known::All {
                logits,
                log_sum: self.log_sums[row],
            },
            RowLogits::BestToken { id, logprob } => Known::BestToken {
                id: *id,
                logprob: *logprob,
            },
        }
    }

    /// All of a sequence.
    ///
    /// # Errors
    /// Whoever ran the model kept them to himself.
    pub fn all_of(&self, sequence: usize) -> Result<(&'a [f32], f64), GenerationError> {
        match self.of(sequence) {
            Known::All { logits, log_sum } => Ok((logits, log_sum)),
            Known::BestToken { .. } => {
                let missing = "all logits are needed, and the best one alone was given";
                Err(candle_core::Error::Msg(missing.into()).into())
            }
        }
    }
}

/// The log-probability of a token among logits.
pub(super) fn log_probability(logits: &[f32], log_sum: f64, id: u32) -> f32 {
    (f64::from(logits[id as usize]) - log_sum) as f32
}
