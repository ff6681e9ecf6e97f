//! The language model, whichever it is: [`opt`](super::opt) or [`t5`](super::t5).

use candle_core::{Result, Tensor};

use super::config::LanguageModelConfig;
use super::opt::Opt;
use super::t5::T5;
use crate::nn::Weights;

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

impl LanguageModel {
    /// Takes the tensors below `vb`, which is `language_model` in a checkpoint.
    ///
    /// # Errors
    /// As for [`Blip2::new`](super::Blip2::new).
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

    /// Hidden states to logits, `[…, hidden]` to `[…, vocabulary]`.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        match self {
            Self::Opt(model) => model.logits(hidden),
            Self::T5(model) => model.logits(hidden),
        }
    }
}
