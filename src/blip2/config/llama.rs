//! LLaMA's config, which Vicuna's is.

use serde::Deserialize;
use serde_json::Value;

use super::{ConfigError, check_layers, check_sizes};
use crate::nn::Activation;

/// What ends a text of LLaMA's, and begins one in InstructBLIP's files: `</s>`.
const END: u32 = 2;

/// `LlamaConfig`, with what the class computes from its file.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "WrittenLlamaConfig")]
pub struct LlamaConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    /// The inner width of a feed-forward layer (MLP).
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// Heads of keys and values, each of which serves as many of the queries'.
    pub num_key_value_heads: usize,
    /// Numbers of a head.
    pub head_dim: usize,
    pub hidden_act: Activation,
    /// Positions of prompt and answer together, picture tokens included: the most that are read.
    pub max_position_embeddings: usize,
    pub rms_norm_eps: f64,
    /// The base of the frequencies that positions turn queries and keys with.
    pub rope_theta: f64,
    /// Whether the projections of the attention have a bias.
    pub attention_bias: bool,
    /// Whether the feed-forward layers have one.
    pub mlp_bias: bool,
    /// Whether the head is the token table, so that the files need not hold it.
    pub tie_word_embeddings: bool,
    /// Behind the picture's tokens where there is no text.
    pub bos_token_id: u32,
    /// As the file says.
    pub eos_token_ids: Vec<u32>,
}

/// LLaMA's config as its file writes it: what is missing is the class's default.
#[derive(Deserialize)]
#[serde(default)]
struct WrittenLlamaConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    hidden_act: Activation,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    attention_bias: bool,
    mlp_bias: bool,
    tie_word_embeddings: bool,
    /// transformers 4.
    rope_theta: Option<f64>,
    /// transformers 4.
    rope_scaling: Value,
    /// transformers 5: the two in one.
    rope_parameters: Value,
    bos_token_id: Value,
    eos_token_id: Value,
}

impl Default for WrittenLlamaConfig {
    fn default() -> Self {
        Self {
            vocab_size: 32000,
            hidden_size: 4096,
            intermediate_size: 11008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: None,
            head_dim: None,
            hidden_act: Activation::Silu,
            max_position_embeddings: 2048,
            rms_norm_eps: 1e-6,
            attention_bias: false,
            mlp_bias: false,
            tie_word_embeddings: false,
            rope_theta: None,
            rope_scaling: Value::Null,
            rope_parameters: Value::Null,
            bos_token_id: 1.into(),
            eos_token_id: END.into(),
        }
    }
}

impl WrittenLlamaConfig {
    /// How positions are scaled, where they are not taken as they are.
    fn scaling(&self) -> Option<&str> {
        let places = [&self.rope_parameters, &self.rope_scaling];
        let mut kinds = places.into_iter().filter_map(|place| {
            let kind = place.get("rope_type").or(place.get("type"))?;
            kind.as_str().filter(|kind| *kind != "default")
        });
        kinds.next()
    }
}

impl TryFrom<WrittenLlamaConfig> for LlamaConfig {
    type Error = String;

    fn try_from(written: WrittenLlamaConfig) -> Result<Self, String> {
        if let Some(scaling) = written.scaling() {
            return Err(format!("rope_type is {scaling}, and Glimpse knows `default` alone"));
        }
        let heads = written.num_attention_heads;
        let theta = written.rope_parameters["rope_theta"].as_f64().or(written.rope_theta);
        Ok(Self {
            vocab_size: written.vocab_size,
            hidden_size: written.hidden_size,
            intermediate_size: written.intermediate_size,
            num_hidden_layers: written.num_hidden_layers,
            num_attention_heads: heads,
            num_key_value_heads: written.num_key_value_heads.unwrap_or(heads),
            head_dim: written.head_dim.unwrap_or(written.hidden_size / heads.max(1)),
            hidden_act: written.hidden_act,
            max_position_embeddings: written.max_position_embeddings,
            rms_norm_eps: written.rms_norm_eps,
            rope_theta: theta.unwrap_or(10_000.0),
            attention_bias: written.attention_bias,
            mlp_bias: written.mlp_bias,
            tie_word_embeddings: written.tie_word_embeddings,
            bos_token_id: ids(&written.bos_token_id).first().copied().unwrap_or(END),
            eos_token_ids: ids(&written.eos_token_id),
        })
    }
}

/// A number or a list of them. InstructBLIP's first files say -1 where they mean none.
fn ids(value: &Value) -> Vec<u32> {
    let numbers = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let id = |number: &Value| u32::try_from(number.as_u64()?).ok();
    numbers.iter().filter_map(id).collect()
}

impl LlamaConfig {
    /// The tokens that end an answer of an InstructBLIP: those that the file says, and `</s>`.
    ///
    /// InstructBLIP-Vicuna's files name `<s>` (1), and the model says `</s>` (2), which the original
    /// code (LAVIS) waits for.
    pub fn ends_of_instruct_blip(&self) -> Vec<u32> {
        let mut ends = self.eos_token_ids.clone();
        if !ends.contains(&END) {
            ends.push(END);
        }
        ends
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check_layers([("text_config.num_hidden_layers", self.num_hidden_layers)])?;
        let (heads, shared) = (self.num_attention_heads, self.num_key_value_heads);
        check_sizes([
            ("text_config.hidden_size", self.hidden_size),
            ("text_config.intermediate_size", self.intermediate_size),
            ("text_config.vocab_size", self.vocab_size),
            ("text_config.max_position_embeddings", self.max_position_embeddings),
            ("text_config.num_attention_heads", heads),
            ("text_config.num_key_value_heads", shared),
            ("text_config.head_dim", self.head_dim),
            (
                "text_config.head_dim times num_attention_heads",
                heads.saturating_mul(self.head_dim),
            ),
        ])?;
        if !heads.is_multiple_of(shared) {
            return Err(ConfigError::Nonsense(format!(
                "{heads} heads of queries cannot share {shared} of keys and values"
            )));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(ConfigError::Nonsense(format!(
                "heads of {} numbers cannot be turned in pairs",
                self.head_dim
            )));
        }
        Ok(())
    }
}
