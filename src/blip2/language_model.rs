//! The language model, whichever it is: [`opt`](super::opt) or [`t5`](super::t5).

use candle_core::{Result, Tensor};

use super::config::LanguageModelConfig;
use super::opt::Opt;
use super::t5::{T5, T5Cache};
use crate::nn::{KvCache, Weights};

/// Embeddings of a prompt in, logits of the answer's tokens out.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each model, and it is never moved in a loop"
)]
pub enum LanguageModel {
    /// One decoder reads prompt and answer.
    Opt(Opt),
    /// An encoder reads the prompt, a decoder the answer.
    T5(T5),
}

/// What was read already; each row is a sequence of its own.
pub enum Cache {
    Opt(KvCache),
    T5(T5Cache),
}

impl Cache {
    /// Row `i` becomes a copy of the row `rows[i]` that was; rows that are not named are gone.
    pub fn reorder(&mut self, rows: &[usize]) -> Result<()> {
        match self {
            Self::Opt(cache) => cache.reorder(rows),
            Self::T5(cache) => cache.reorder(rows),
        }
    }
}

impl LanguageModel {
    pub fn new(config: &LanguageModelConfig, vb: Weights) -> Result<Self> {
        match config {
            LanguageModelConfig::Opt(config) => Opt::new(config, vb).map(Self::Opt),
            LanguageModelConfig::T5(config) => T5::new(config, vb).map(Self::T5),
        }
    }

    /// The ids of a prompt to embeddings, `[1, ids, hidden]`. Ids must be below the vocabulary size.
    pub fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        match self {
            Self::Opt(model) => model.embed(ids),
            Self::T5(model) => model.embed(ids),
        }
    }

    /// Reads a whole prompt, `[1, prompt, hidden]`, into a new cache with room for `positions`
    /// of the decoder, and gives the decoder's hidden states: the last is the one that the
    /// answer's first token is chosen by.
    pub fn prefill(&self, embeds: &Tensor, positions: usize) -> Result<(Tensor, Cache)> {
        match self {
            Self::Opt(model) => {
                let mut cache = model.new_cache(positions);
                let hidden = model.forward(embeds, &mut cache)?;
                Ok((hidden, Cache::Opt(cache)))
            }
            Self::T5(model) => {
                let mut cache = model.encode(embeds, positions)?;
                let hidden = model.decode_start(&mut cache)?;
                Ok((hidden, Cache::T5(cache)))
            }
        }
    }

    /// Reads the next tokens of an answer, as many in each row: the ids of the first row, then
    /// those of the next. Gives the hidden states behind them, `[rows, tokens, hidden]`.
    pub fn decode(&self, rows: usize, ids: &[u32], cache: &mut Cache) -> Result<Tensor> {
        match (self, cache) {
            (Self::Opt(model), Cache::Opt(cache)) => {
                let embeds = model.embed(ids)?.reshape((rows, ids.len() / rows, ()))?;
                model.forward(&embeds, cache)
            }
            (Self::T5(model), Cache::T5(cache)) => {
                let embeds = model.embed_answer(ids)?.reshape((rows, ids.len() / rows, ()))?;
                model.decode(&embeds, cache)
            }
            _ => candle_core::bail!("the cache is another language model's"),
        }
    }

    /// Hidden states to logits, `[…, hidden]` to `[…, vocabulary]`.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        match self {
            Self::Opt(model) => model.logits(hidden),
            Self::T5(model) => model.logits(hidden),
        }
    }
}
