//! OPT's config.

use serde::Deserialize;

use super::language::check_token;
use super::{ConfigError, EosTokens, check_heads, check_layers, check_sizes};
use crate::nn::Activation;

/// `OPTConfig`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct OptConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    /// The inner width of a feed-forward layer.
    pub ffn_dim: usize,
    /// Positions of prompt and answer together, picture tokens included: the most that are read.
    pub max_position_embeddings: usize,
    /// Whether norms stand in front of attention and feed-forward layer, not behind them (as only
    /// OPT-350M's do).
    pub do_layer_norm_before: bool,
    /// Of checkpoints that were trained before transformers 4.20.1: no norm behind the last layer.
    #[serde(rename = "_remove_final_layer_norm")]
    pub remove_final_layer_norm: bool,
    /// The width of the token table where it is another than the layers'; refused, as no published
    /// BLIP-2 has one.
    pub word_embed_proj_dim: Option<usize>,
    pub num_attention_heads: usize,
    pub activation_function: Activation,
    /// Behind the picture's tokens where there is no text (`</s>` in OPT).
    pub bos_token_id: u32,
    pub eos_token_id: EosTokens,
    /// Whether linear layers have a bias.
    pub enable_bias: bool,
    /// Whether norms have a weight and a bias.
    pub layer_norm_elementwise_affine: bool,
    /// Whether the head is the token table, so that the files need not hold it.
    pub tie_word_embeddings: bool,
}

impl Default for OptConfig {
    fn default() -> Self {
        Self {
            vocab_size: 50272,
            hidden_size: 768,
            num_hidden_layers: 12,
            ffn_dim: 3072,
            max_position_embeddings: 2048,
            do_layer_norm_before: true,
            remove_final_layer_norm: false,
            word_embed_proj_dim: None,
            num_attention_heads: 12,
            activation_function: Activation::Relu,
            bos_token_id: 2,
            eos_token_id: EosTokens::One(2),
            enable_bias: true,
            layer_norm_elementwise_affine: true,
            tie_word_embeddings: true,
        }
    }
}

impl OptConfig {
    /// Numbers of an attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads.max(1)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check_heads("text_config", self.hidden_size, self.num_attention_heads)?;
        check_layers([("text_config.num_hidden_layers", self.num_hidden_layers)])?;
        check_sizes([
            ("text_config.hidden_size", self.hidden_size),
            ("text_config.ffn_dim", self.ffn_dim),
            ("text_config.vocab_size", self.vocab_size),
            ("text_config.max_position_embeddings", self.max_position_embeddings),
        ])?;
        check_token("bos_token_id", self.bos_token_id, self.vocab_size)?;
        if self.word_embed_proj_dim.is_some_and(|size| size != self.hidden_size) {
            return Err(ConfigError::Unsupported {
                what: "a word_embed_proj_dim other than the hidden size".into(),
            });
        }
        Ok(())
    }
}
