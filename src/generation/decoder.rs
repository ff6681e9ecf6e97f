//! The model with its cache: one row for each sequence that is being written.

use candle_core::{DType, Tensor};

use super::logits::log_sum_exp;
use super::stopping::Stopping;
use super::{FinishReason, GeneratedToken, GenerationError, GenerationOptions, LogitsProcessors};
use crate::blip2::language_model::Cache;
use crate::blip2::{Blip2, EncodedPicture};

/// What all ways of decoding share: the next logits of every row, and the rules.
pub(super) struct Decoder<'model> {
    model: &'model Blip2,
    cache: Cache,
    /// Logits of the next token, f32 on the host, one row a sequence.
    logits: Vec<Vec<f32>>,
    /// Of each row, the logarithm of the sum of exponentials.
    log_sums: Vec<f64>,
    processors: LogitsProcessors,
    pub stopping: Stopping,
}

impl<'model> Decoder<'model> {
    /// Reads picture and prompt, into one row.
    pub fn prefill(
        model: &'model Blip2,
        picture: &EncodedPicture,
        prompt_ids: &[u32],
        options: &GenerationOptions,
    ) -> Result<Self, GenerationError> {
        let config = &model.config().text_config;
        let context = config.context();
        if prompt_ids.len() > context.longest_prompt() {
            return Err(GenerationError::PromptTooLong {
                tokens: prompt_ids.len(),
                limit: context.longest_prompt(),
            });
        }
        let (length, limit) = (config.ids_before_answer(prompt_ids).len(), context.decoder_positions());
        // The last token is not read any more, and needs no position.
        let max_length = (limit + 1).min(length.saturating_add(options.max_new_tokens));
        let is_one_row = options.num_beams.max(options.num_return_sequences) == 1;
        let room = if is_one_row { max_length.min(limit) } else { length };
        let end_tokens = config.end_tokens();
        let (hidden, cache) = model.read_prompt(picture, prompt_ids, room)?;
        let mut decoder = Self {
            model,
            cache,
            logits: Vec::new(),
            log_sums: Vec::new(),
            processors: LogitsProcessors::new(options, length, end_tokens),
            stopping: Stopping::new(max_length, options.stop_strings.clone(), end_tokens),
        };
        decoder.take_logits(&hidden)?;
        Ok(decoder)
    }

    /// Reads one more token in each row: row `i` goes on from the row `parents[i]` that was.
    pub fn advance(&mut self, parents: &[usize], tokens: &[u32]) -> Result<(), GenerationError> {
        let is_same = parents.len() == self.logits.len() && parents.iter().copied().eq(0..parents.len());
        if !is_same {
            self.cache.select_rows(parents)?;
        }
        let language_model = &self.model.language_model;
        let hidden = language_model.read(tokens.len(), tokens, &mut self.cache)?;
        self.take_logits(&hidden)
    }

    /// Takes the logits behind the last of these positions.
    fn take_logits(&mut self, hidden: &Tensor) -> Result<(), GenerationError> {
        let last = hidden.narrow(1, hidden.dim(1)? - 1, 1)?;
        let logits = self.model.language_model.logits(&last)?.squeeze(1)?;
        self.logits = logits.to_dtype(DType::F32)?.to_vec2()?;
        self.log_sums = self.logits.iter().map(|logits| log_sum_exp(logits)).collect();
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
            is_end: self.stopping.is_end(id),
        }
    }

    pub fn reason_to_finish(&self, ids: &[u32]) -> Option<FinishReason> {
        self.stopping.reason(ids)
    }
}
