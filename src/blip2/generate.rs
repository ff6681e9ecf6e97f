//! Prefill, and the forward passes behind it that [`generation`](crate::generation) asks for.

use candle_core::{DType, Result, Tensor};

use super::language_model::Cache;
use super::{Blip2, EncodedPicture};
use crate::generation::{Answer, Forward, GenerationError, GenerationOptions, Prefilled};

impl Blip2 {
    /// Prefill: reads picture and prompt (ids with the picture tokens in front). What was
    /// read of the picture is kept in it for the next prompt.
    ///
    /// # Errors
    /// The prompt leaves no position for an answer, its keys and values do not fit into memory,
    /// or the options do not fit together.
    pub fn generate(
        &self,
        picture: &EncodedPicture,
        prompt_ids: &[u32],
        options: &GenerationOptions,
    ) -> std::result::Result<Answer<'_>, GenerationError> {
        options.check()?;
        let config = &self.config.text_config;
        let context = config.context();
        if prompt_ids.len() > context.longest_prompt() {
            return Err(GenerationError::PromptTooLong {
                tokens: prompt_ids.len(),
                limit: context.longest_prompt(),
            });
        }
        let ids_before = config.ids_before_answer(prompt_ids);
        let (length, limit) = (ids_before.len(), context.decoder_positions());
        // The last token is not read any more, and needs no position.
        let max_length = (limit + 1).min(length.saturating_add(options.max_new_tokens));
        let rows = options.num_beams.max(options.num_return_sequences);
        self.check_memory(rows, prompt_ids.len(), max_length.min(limit))?;
        let room = if rows == 1 { max_length.min(limit) } else { length };
        let (hidden, cache) = self.prefill(picture, prompt_ids, room)?;
        let logits = self.last_logits(&hidden)?.swap_remove(0);
        let prefilled = Prefilled {
            model: Box::new(DecodeState {
                model: self,
                cache,
                rows: 1,
            }),
            logits,
            ids_before: ids_before.to_vec(),
            eos_token_ids: config.eos_token_ids().to_vec(),
            max_length,
        };
        Answer::new(prefilled, options)
    }

    /// Checks before anything is read that all rows fit into memory at their longest.
    fn check_memory(&self, rows: usize, prompt: usize, positions: usize) -> std::result::Result<(), GenerationError> {
        let numbers = self.config.text_config.cached_numbers(rows, prompt, positions);
        let bytes = numbers.saturating_mul(self.precision.dtype.size_in_bytes() as u128);
        let (needed, budget) = (u64::try_from(bytes).unwrap_or(u64::MAX), self.cache_budget);
        if needed > budget {
            return Err(GenerationError::TooMuchMemory { rows, needed, budget });
        }
        Ok(())
    }

    /// The logits behind the last of these positions, in f32 on the host: `[rows][vocabulary]`.
    fn last_logits(&self, hidden: &Tensor) -> Result<Vec<Vec<f32>>> {
        let last = hidden.narrow(1, hidden.dim(1)? - 1, 1)?;
        let logits = self.language_model.logits(&last)?.squeeze(1)?;
        logits.to_dtype(DType::F32)?.to_vec2()
    }
}

/// Sequences behind one prompt, each a row of the cache.
struct DecodeState<'model> {
    model: &'model Blip2,
    cache: Cache,
    rows: usize,
}

impl Forward for DecodeState<'_> {
    fn forward(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Vec<Vec<f32>>> {
        let is_same = parents.len() == self.rows && parents.iter().copied().eq(0..self.rows);
        if !is_same {
            self.cache.reorder(parents)?;
            self.rows = parents.len();
        }
        let language_model = &self.model.language_model;
        let hidden = language_model.decode(tokens.len(), tokens, &mut self.cache)?;
        self.model.last_logits(&hidden)
    }
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
