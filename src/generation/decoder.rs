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
        let rows = options.num_beams.max(options.num_return_sequences);
        check_memory(model, rows, prompt_ids.len(), max_length.min(limit))?;
        let is_one_row = rows == 1;
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
            self.cache.reorder(parents)?;
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

/// Checks before anything is read that all rows fit into memory at their longest.
fn check_memory(model: &Blip2, rows: usize, prompt: usize, positions: usize) -> Result<(), GenerationError> {
    let numbers = model.config().text_config.cached_numbers(rows, prompt, positions);
    let bytes = numbers.saturating_mul(model.precision().dtype.size_in_bytes() as u128);
    let (needed, budget) = (u64::try_from(bytes).unwrap_or(u64::MAX), model.cache_budget());
    if needed > budget {
        return Err(GenerationError::TooMuchMemory { rows, needed, budget });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::blip2::config::Blip2Config;

    #[test]
    fn ten_beams_of_a_long_conversation_take_gigabytes_where_one_answer_does_not() {
        let opt = r#"{"text_config": {"model_type": "opt", "hidden_size": 2560, "num_hidden_layers": 32,
                      "num_attention_heads": 32, "ffn_dim": 10240}}"#;
        let opt = Blip2Config::from_json(opt).expect("it is sound").text_config;
        assert_eq!(4 * opt.cached_numbers(1, 50, 70), 4 * 70 * 2 * 32 * 2560);
        assert!(4 * opt.cached_numbers(10, 1850, 1900) > 12_000_000_000);
        let t5 = r#"{"text_config": {"model_type": "t5", "d_model": 2048, "d_kv": 64, "num_heads": 32, "d_ff": 5120,
                     "num_layers": 24, "decoder_start_token_id": 0, "bos_token_id": 1}}"#;
        let t5 = Blip2Config::from_json(t5).expect("it is sound").text_config;
        // The prompt is there once for all rows.
        assert_eq!(t5.cached_numbers(10, 100, 20), (10 * 20 + 100) * 2 * 24 * 2048);
        assert_eq!(t5.cached_numbers(usize::MAX, 0, usize::MAX), u128::MAX);
    }
}
