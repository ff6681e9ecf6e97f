//! The language model, whichever it is: [`opt`](super::opt), [`llama`](super::llama) or
//! [`t5`](super::t5).

use candle_core::{Result, Tensor};

use super::config::LanguageModelConfig;
use super::decoder::Decoder;
use super::llama::Llama;
use super::opt::Opt;
use super::t5::T5;
use crate::nn::{KvShape, Weights};

/// Embeddings of a prompt in, logits of the answer's tokens out.
pub enum LanguageModel {
    /// One decoder reads prompt and answer: OPT or LLaMA.
    Decoder(Box<dyn Decoder>),
    /// An encoder reads the prompt, a decoder the answer.
    T5(Box<T5>),
}

impl LanguageModel {
    /// Takes the tensors below `vb`, which is `language_model` in a checkpoint.
    ///
    /// # Errors
    /// As for [`Blip2::new`](super::Blip2::new).
    pub fn new(config: &LanguageModelConfig, vb: Weights) -> Result<Self> {
        Ok(match config {
            LanguageModelConfig::Opt(config) => Self::Decoder(Box::new(Opt::new(config, vb)?)),
            LanguageModelConfig::Llama(config) => Self::Decoder(Box::new(Llama::new(config, vb)?)),
            LanguageModelConfig::T5(config) => Self::T5(Box::new(T5::new(config, vb)?)),
        })
    }

    /// What the decoder keeps of each position.
    pub fn kv_shape(&self) -> KvShape {
        match self {
            Self::Decoder(model) => model.kv_shape(),
            Self::T5(model) => model.kv_shape(),
        }
    }

    /// The ids of a prompt to embeddings, `[1, ids, hidden]`. Ids must be below the vocabulary size.
    pub fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        match self {
            Self::Decoder(model) => model.embed(ids),
            Self::T5(model) => model.embed(ids),
        }
    }

    /// Hidden states to logits, `[…, hidden]` to `[…, vocabulary]`.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        match self {
            Self::Decoder(model) => model.logits(hidden),
            Self::T5(model) => model.logits(hidden),
        }
    }
}
