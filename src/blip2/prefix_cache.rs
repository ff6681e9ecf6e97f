//! A picture as the language model has read it: the prefix of every prompt about it, kept for
//! the next question.

use std::sync::OnceLock;

use candle_core::{Result, Tensor};

use super::Blip2;
use super::language_model::{Cache, LanguageModel};
use crate::nn::KvCache;

/// What the language model sees of a picture, `[1, query tokens, width]`, and, once a
/// question was asked about it, the keys and values behind.
///
/// The picture's tokens stand in front of every prompt. A decoder's attend to nothing behind
/// them: what OPT makes of them is the same for every question. In T5's encoder every token
/// attends to every other, so that nothing behind the embeddings can be kept.
pub struct EncodedPicture {
    embeds: Tensor,
    keys_and_values: OnceLock<KvCache>,
}

impl From<Tensor> for EncodedPicture {
    /// Takes what [`Blip2::encode_picture`] gives.
    fn from(embeds: Tensor) -> Self {
        Self {
            embeds,
            keys_and_values: OnceLock::new(),
        }
    }
}

impl EncodedPicture {
    /// The same picture without the keys and values, which are far larger than its tokens.
    pub fn unread(&self) -> Self {
        self.embeds.clone().into()
    }
}

impl Blip2 {
    /// Reads a prompt (ids with the picture tokens in front) into a new cache with room for
    /// `positions`: behind the keys and values that are kept of the picture, or keeping them.
    /// Gives the decoder's hidden states, of which the last is the one that the answer's first
    /// token is chosen by.
    pub(super) fn prefill(
        &self,
        picture: &EncodedPicture,
        prompt_ids: &[u32],
        positions: usize,
    ) -> Result<(Tensor, Cache)> {
        let picture_tokens = picture.embeds.dim(1)?;
        let words = self.words(&picture.embeds, prompt_ids)?;
        if let (LanguageModel::Opt(opt), Some(prefix)) = (&self.language_model, picture.keys_and_values.get())
            && !words.is_empty()
        {
            let mut cache = prefix.extended(positions);
            return Ok((opt.forward(&opt.embed(words)?, &mut cache)?, Cache::Opt(cache)));
        }
        let embeds = self.embed_prompt(&picture.embeds, prompt_ids)?;
        let (hidden, cache) = self.language_model.prefill(&embeds, positions)?;
        if let Cache::Opt(cache) = &cache {
            // It was empty, or it would have been used.
            let _ = picture.keys_and_values.set(cache.prefix(picture_tokens)?);
        }
        Ok((hidden, cache))
    }
}
