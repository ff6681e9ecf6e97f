//! A picture as the language model has read it, kept for the next question about it.

use std::sync::OnceLock;

use candle_core::{Result, Tensor};

use super::Blip2;
use super::opt::OptCache;

/// What the language model sees of a picture, `[1, query tokens, width]`, and, once a
/// question was asked about it, the keys and values behind.
///
/// The picture's tokens stand in front of every prompt and attend to nothing behind them:
/// what the language model makes of them is the same for every question.
pub struct EncodedPicture {
    embeds: Tensor,
    read: OnceLock<OptCache>,
}

impl From<Tensor> for EncodedPicture {
    /// Takes what [`Blip2::encode_picture`] gives.
    fn from(embeds: Tensor) -> Self {
        Self {
            embeds,
            read: OnceLock::new(),
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
    /// `positions`, and gives the hidden states of at least its last position.
    pub(super) fn read_prompt(
        &self,
        picture: &EncodedPicture,
        prompt_ids: &[u32],
        positions: usize,
    ) -> Result<(Tensor, OptCache)> {
        let model = &self.language_model;
        let picture_tokens = picture.embeds.dim(1)?;
        if let Some(read) = picture.read.get()
            && let words = &prompt_ids[picture_tokens.min(prompt_ids.len())..]
            && !words.is_empty()
        {
            let mut cache = read.go_on(positions);
            return Ok((model.forward(&model.embed(words)?, &mut cache)?, cache));
        }
        let mut cache = model.new_cache(positions);
        let hidden = model.forward(&self.embed_prompt(&picture.embeds, prompt_ids)?, &mut cache)?;
        if prompt_ids.len() >= picture_tokens {
            // It was empty, or it would have been used.
            let _ = picture.read.set(cache.prefix(picture_tokens)?);
        }
        Ok((hidden, cache))
    }
}
