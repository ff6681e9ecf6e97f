//! One answer by itself: a prompt is read, and its answer goes on token by token, with a KV pool of
//! its own. The engine does the same for many at once.

use std::collections::VecDeque;

use candle_core::{Result, Tensor};

use super::passes::{DecoderSequence, KvCache, PromptPart};
use super::{Blip2, EncodedPicture};
use crate::generation::{
    Answer, Beginning, FinishReason, GeneratedToken, GenerationError, GenerationOptions, Needs, Pass, RowLogits,
    Sequence,
};

impl Blip2 {
    /// Checks a prompt (ids with the picture tokens in front), and says what an answer to it
    /// goes on from.
    ///
    /// # Errors
    /// The prompt leaves no position for an answer, its keys and values do not fit into memory,
    /// or the options do not fit together.
    pub fn beginning(
        &self,
        prompt_ids: &[u32],
        options: &GenerationOptions,
    ) -> std::result::Result<Beginning, GenerationError> {
        options.check()?;
        self.check_picture_tokens(prompt_ids)?;
        let text = &self.config.text_config;
        let context = text.context();
        if prompt_ids.len() > context.longest_prompt() {
            return Err(GenerationError::PromptTooLong {
                tokens: prompt_ids.len(),
                limit: context.longest_prompt(),
            });
        }
        let ids_before = text.ids_before_answer(prompt_ids);
        let limit = context.decoder_positions();
        // The last token is not read any more, and needs no position.
        let max_length = (limit + 1).min(options.most_ids(ids_before.len())?);
        self.check_memory(options.rows(), prompt_ids.len(), max_length.min(limit))?;
        Ok(Beginning {
            ids_before: ids_before.to_vec(),
            eos_token_ids: self.config.eos_token_ids(options.preset),
            max_length,
        })
    }

    /// Checks before anything is read that all rows fit into memory at their longest.
    fn check_memory(&self, rows: usize, prompt: usize, positions: usize) -> std::result::Result<(), GenerationError> {
        let numbers = self.config.text_config.cached_numbers(rows, prompt, positions);
        let bytes = numbers.saturating_mul(self.precision.dtype.size_in_bytes() as u128);
        GenerationError::check_memory(rows, bytes, self.cache_budget)
    }

    /// Prefill: reads picture, as the language model sees it, and prompt (ids with the picture tokens
    /// in front).
    ///
    /// # Errors
    /// As [`Blip2::beginning`], and the device's.
    pub fn generate(
        &self,
        picture: &EncodedPicture,
        prompt_ids: &[u32],
        options: &GenerationOptions,
    ) -> std::result::Result<Generation<'_>, GenerationError> {
        let beginning = self.beginning(prompt_ids, options)?;
        let answer = Answer::new(&beginning, options)?;
        // Blocks are taken from the host as they are written: an answer seldom needs them all.
        let longest = beginning.max_length.max(prompt_ids.len()).min(MOST_POSITIONS);
        let most = options.rows().saturating_mul(KvCache::blocks_of(longest) + 1);
        let mut cache = self.new_cache(most, 0)?;
        let mut sequence = self.new_sequence(&cache, None, prompt_ids);
        let logits = self.prefill(&mut cache, &mut sequence, picture, prompt_ids)?;
        Ok(Generation {
            model: self,
            cache,
            rows: vec![sequence],
            answer,
            logits: vec![logits],
            is_taken: false,
            known: VecDeque::new(),
        })
    }

    /// Reads a whole prompt, and gives the logits behind it.
    fn prefill(
        &self,
        cache: &mut KvCache,
        sequence: &mut DecoderSequence,
        picture: &Tensor,
        prompt_ids: &[u32],
    ) -> Result<RowLogits> {
        let parts = &mut [PromptPart {
            sequence,
            ids: prompt_ids,
            picture: Some(picture),
            instruction: &[],
            tokens: prompt_ids.len(),
        }];
        let mut reading = self.begin_reading(cache, parts)?;
        while !self.read_on(cache, &mut reading)? {}
        let logits = self.finish_reading(cache, reading, parts, &[Needs::AllLogits])?;
        let logits = logits.into_iter().flatten().next();
        logits.ok_or_else(|| candle_core::Error::Msg("the prompt was not read to its end".into()))
    }
}

/// The most positions of an answer by itself.
const MOST_POSITIONS: usize = 1 << 14;

/// What a step of the work brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// The next token of the (first) answer.
    Token(GeneratedToken),
    /// Nothing to show yet: beams are being searched, or further answers written.
    Working,
}

/// An answer on its way: call [`Generation::step`] or [`Generation::next_token`] until it gives
/// `None`, then take the [`Generation::sequences`].
pub struct Generation<'model> {
    model: &'model Blip2,
    cache: KvCache,
    /// The model's rows.
    rows: Vec<DecoderSequence>,
    answer: Answer,
    /// Behind what was read last, one row each.
    logits: Vec<RowLogits>,
    is_taken: bool,
    /// Tokens that are known and were not given yet.
    known: VecDeque<GeneratedToken>,
}

impl Generation<'_> {
    /// Does the work of one token, or gives the next one of those that are known; `None`
    /// behind the last.
    ///
    /// # Errors
    /// The model's, or numbers that are not finite.
    pub fn step(&mut self) -> std::result::Result<Option<Step>, GenerationError> {
        if let Some(token) = self.known.pop_front() {
            return Ok(Some(Step::Token(token)));
        }
        let Some(pass) = self.answer.pass() else {
            return Ok(None);
        };
        if self.is_taken {
            self.logits = self.forward(&pass)?;
        }
        self.is_taken = true;
        self.known.extend(self.answer.take(&self.logits)?);
        Ok(Some(self.known.pop_front().map_or(Step::Working, Step::Token)))
    }

    fn forward(&mut self, pass: &Pass) -> Result<Vec<RowLogits>> {
        if !pass.parents.iter().copied().eq(0..self.rows.len()) {
            self.rows = pass.parents.iter().map(|parent| self.rows[*parent].fork()).collect();
        }
        let mut rows: Vec<&mut DecoderSequence> = self.rows.iter_mut().collect();
        let needs = vec![Needs::AllLogits; rows.len()];
        self.model.decode(&mut self.cache, &mut rows, &pass.tokens, &needs)
    }

    /// The next token of the first answer, or `None` when all answers are finished.
    ///
    /// # Errors
    /// As [`Generation::step`].
    pub fn next_token(&mut self) -> std::result::Result<Option<GeneratedToken>, GenerationError> {
        loop {
            match self.step()? {
                Some(Step::Token(token)) => return Ok(Some(token)),
                Some(Step::Working) => {}
                None => return Ok(None),
            }
        }
    }

    /// Why the first answer ended; known as soon as its last token was given.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.answer.finish_reason().filter(|_| self.known.is_empty())
    }

    /// All answers, the first one first (of beams, the best). Empty until they are finished.
    pub fn sequences(&self) -> Vec<Sequence> {
        self.answer.sequences()
    }

    /// What the tokens are drawn from, where they are drawn.
    pub fn seed(&self) -> Option<u64> {
        self.answer.seed()
    }

    /// The logits that the next token of the first row is chosen by, before any rule: `[vocabulary]`.
    pub fn logits(&self) -> &[f32] {
        match &self.logits[0] {
            RowLogits::All(logits) => logits,
            // All are asked for.
            RowLogits::BestToken { .. } => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::blip2::config::Blip2Config;

    #[test]
    fn beams_share_their_prompt_and_have_a_tail_each() {
        let opt = r#"{"text_config": {"model_type": "opt", "hidden_size": 2560, "num_hidden_layers": 32,
                      "num_attention_heads": 32, "ffn_dim": 10240}}"#;
        let opt = Blip2Config::from_json(opt).expect("it is sound").text_config;
        assert_eq!(4 * opt.cached_numbers(1, 50, 70), 4 * 70 * 2 * 32 * 2560);
        assert_eq!(opt.cached_numbers(10, 1850, 1900), (1850 + 10 * 50) * 2 * 32 * 2560);
        let t5 = r#"{"text_config": {"model_type": "t5", "d_model": 2048, "d_kv": 64, "num_heads": 32, "d_ff": 5120,
                     "num_layers": 24, "decoder_start_token_id": 0, "bos_token_id": 1}}"#;
        let t5 = Blip2Config::from_json(t5).expect("it is sound").text_config;
        assert_eq!(t5.cached_numbers(10, 100, 20), (10 * 20 + 100) * 2 * 24 * 2048);
        assert_eq!(t5.cached_numbers(usize::MAX, 0, usize::MAX), u128::MAX);
    }
}
