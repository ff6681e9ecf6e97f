//! Token after token: prefill, then decode with the KV cache, greedily.
//!
//! Source: transformers' `generate` with `do_sample=False, num_beams=1`. BLIP-2 hands
//! generation to its language model, so the end tokens are those of `text_config`;
//! the checkpoint's own `generation_config.json` is not asked.

use candle_core::{DType, Result, Tensor};

use super::Blip2;
use super::opt::OptCache;

/// How an answer is generated; names and defaults as in the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationOptions {
    /// The most tokens an answer may have, its end token included.
    pub max_new_tokens: usize,
    /// The end token is not taken before this many tokens.
    pub min_new_tokens: usize,
}

impl Default for GenerationOptions {
    fn default() -> Self {
        Self {
            max_new_tokens: 20,
            min_new_tokens: 0,
        }
    }
}

/// Why a prompt cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    #[error(
        "The question is {tokens} tokens long with its picture, and the model reads at most {limit}. Ask a shorter one."
    )]
    PromptTooLong { tokens: usize, limit: usize },
    #[error(
        "The model's numbers are not finite: its weights are damaged, or too large for this dtype. Try --dtype f32, or download the checkpoint again."
    )]
    NotFinite,
    #[error("The model failed: {}. Try again.", .0.to_string().lines().next().unwrap_or_default())]
    Model(#[from] candle_core::Error),
}

/// One generated token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeneratedToken {
    pub id: u32,
    /// Natural logarithm of the token's probability, before any rule changed it.
    pub logprob: f32,
    /// The token ends the answer and is no part of its text.
    pub is_end: bool,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model said its end token.
    Stop,
    /// The answer reached the allowed number of tokens, or the model its last position.
    Length,
}

/// An answer being generated: call [`Answer::next_token`] until it gives `None`.
pub struct Answer<'model> {
    model: &'model Blip2,
    cache: OptCache,
    /// Logits of the next token, f32 on the host.
    logits: Vec<f32>,
    options: GenerationOptions,
    generated: usize,
    last: Option<GeneratedToken>,
    finish_reason: Option<FinishReason>,
}

impl Blip2 {
    /// Prefill: reads picture (`[1, query tokens, width]`, of [`Blip2::encode_picture`])
    /// and prompt (ids with the picture tokens in front).
    ///
    /// # Errors
    /// The prompt leaves no position for an answer.
    pub fn generate(
        &self,
        picture: &Tensor,
        prompt_ids: &[u32],
        options: &GenerationOptions,
    ) -> std::result::Result<Answer<'_>, GenerationError> {
        let limit = self.config.text_config.max_position_embeddings;
        if prompt_ids.len() >= limit {
            return Err(GenerationError::PromptTooLong {
                tokens: prompt_ids.len(),
                limit: limit - 1,
            });
        }
        let room = limit.min(prompt_ids.len() + options.max_new_tokens);
        let mut cache = self.language_model.new_cache(room);
        let hidden = self
            .language_model
            .forward(&self.embed_prompt(picture, prompt_ids)?, &mut cache)?;
        let logits = to_host(&self.language_model.last_logits(&hidden)?)?;
        Ok(Answer {
            model: self,
            cache,
            logits,
            options: options.clone(),
            generated: 0,
            last: None,
            finish_reason: (options.max_new_tokens == 0).then_some(FinishReason::Length),
        })
    }
}

impl Answer<'_> {
    /// The next token, or `None` behind the last; [`Answer::finish_reason`] says why it was the last.
    pub fn next_token(&mut self) -> std::result::Result<Option<GeneratedToken>, GenerationError> {
        if self.finish_reason.is_some() {
            return Ok(None);
        }
        if let Some(last) = self.last {
            self.decode(last.id)?;
        }
        let token = self.choose()?;
        self.generated += 1;
        self.last = Some(token);
        self.finish_reason = self.reason_to_finish(token);
        Ok(Some(token))
    }

    /// Why the answer ended; known as soon as its last token is.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason
    }

    /// The logits that the next token is chosen by: `[vocabulary]`.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    fn reason_to_finish(&self, token: GeneratedToken) -> Option<FinishReason> {
        let positions = self.model.config.text_config.max_position_embeddings;
        if token.is_end {
            Some(FinishReason::Stop)
        } else if self.generated >= self.options.max_new_tokens || self.cache.length() >= positions {
            Some(FinishReason::Length)
        } else {
            None
        }
    }

    fn decode(&mut self, id: u32) -> Result<()> {
        let embeds = self.model.language_model.embed(&[id])?;
        let hidden = self.model.language_model.forward(&embeds, &mut self.cache)?;
        self.logits = to_host(&self.model.language_model.last_logits(&hidden)?)?;
        Ok(())
    }

    fn choose(&self) -> std::result::Result<GeneratedToken, GenerationError> {
        let end_tokens = self.model.config.text_config.eos_token_id.as_slice();
        let end_allowed = self.generated >= self.options.min_new_tokens;
        let allowed = |id: u32| end_allowed || !end_tokens.contains(&id);
        let id = argmax(&self.logits, allowed);
        let logprob = f64::from(self.logits[id as usize]) - log_sum_exp(&self.logits);
        if !logprob.is_finite() {
            return Err(GenerationError::NotFinite);
        }
        Ok(GeneratedToken {
            id,
            logprob: logprob as f32,
            is_end: end_tokens.contains(&id),
        })
    }
}

fn to_host(logits: &Tensor) -> Result<Vec<f32>> {
    logits.to_dtype(DType::F32)?.to_vec1()
}

/// The first of the greatest allowed logits, as `torch.argmax` picks it.
fn argmax(logits: &[f32], allowed: impl Fn(u32) -> bool) -> u32 {
    let mut best: Option<(u32, f32)> = None;
    for (id, &logit) in (0u32..).zip(logits) {
        if best.is_none_or(|(_, greatest)| logit > greatest) && allowed(id) {
            best = Some((id, logit));
        }
    }
    best.map_or(0, |(id, _)| id)
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let greatest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    greatest
        + logits
            .iter()
            .map(|&logit| (f64::from(logit) - greatest).exp())
            .sum::<f64>()
            .ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_logits_wins() {
        assert_eq!(argmax(&[0.0, 2.0, 2.0, 1.0], |_| true), 1);
        assert_eq!(argmax(&[0.0, 2.0, 2.0, 1.0], |id| id != 1), 2);
    }

    #[test]
    fn log_probabilities_survive_large_logits() {
        assert!((log_sum_exp(&[1000.0, 1000.0]) - (1000.0 + 2f64.ln())).abs() < 1e-9);
    }
}
