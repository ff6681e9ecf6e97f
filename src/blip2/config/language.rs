//! The language models' own configs, and what the rest of the model asks of them.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{ConfigError, MOST, check_heads, check_sizes};
use crate::blip2::activation::Activation;

/// T5 was trained on texts of up to this many tokens. Its relative positions set no limit,
/// so this is where a conversation's oldest turns fall off.
const T5_TRAINED_LENGTH: usize = 512;

/// The longest prompt that is read with T5 all the same, as long as OPT's. A limit there must
/// be: attention takes memory with the square of the length.
const T5_LONGEST_PROMPT: usize = 2048;

/// `text_config`, by its `model_type`; OPT where there is none.
#[derive(Clone, Debug)]
pub enum LanguageModelConfig {
    Opt(OptConfig),
    T5(T5Config),
}

impl Default for LanguageModelConfig {
    fn default() -> Self {
        Self::Opt(OptConfig::default())
    }
}

impl<'de> Deserialize<'de> for LanguageModelConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let config = match value["model_type"].as_str() {
            Some("t5") => T5Config::deserialize(value).map(Self::T5),
            _ => OptConfig::deserialize(value).map(Self::Opt),
        };
        config.map_err(D::Error::custom)
    }
}

impl LanguageModelConfig {
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Opt(config) => config.vocab_size,
            Self::T5(config) => config.vocab_size,
        }
    }

    /// The width of its embeddings.
    pub fn hidden_size(&self) -> usize {
        match self {
            Self::Opt(config) => config.hidden_size,
            Self::T5(config) => config.d_model,
        }
    }

    /// The tokens that end an answer.
    pub fn end_tokens(&self) -> &[u32] {
        match self {
            Self::Opt(config) => config.eos_token_id.as_slice(),
            Self::T5(config) => config.eos_token_id.as_slice(),
        }
    }

    /// The token behind the picture's where there is no text.
    pub fn caption_token(&self) -> u32 {
        match self {
            Self::Opt(config) => config.bos_token_id,
            Self::T5(config) => config.bos_token_id,
        }
    }

    /// How much text there is room for.
    pub fn context(&self) -> Context {
        match self {
            Self::Opt(config) => Context::Shared(config.max_position_embeddings),
            Self::T5(_) => Context::PromptAlone,
        }
    }

    /// The ids in front of an answer where the rules of generation look for them. A decoder
    /// goes on from its prompt; T5 reads the prompt in its encoder, and its decoder begins
    /// anew with a start token.
    pub fn ids_before_answer<'a>(&'a self, prompt_ids: &'a [u32]) -> &'a [u32] {
        match self {
            Self::Opt(_) => prompt_ids,
            Self::T5(config) => std::slice::from_ref(&config.decoder_start_token_id),
        }
    }

    /// Whether a file with this config holds a head of the language model's own, as far as
    /// the config tells.
    pub fn expects_head(&self) -> bool {
        match self {
            Self::Opt(config) => !config.tie_word_embeddings,
            Self::T5(config) => !config.scale_decoder_outputs,
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::Opt(config) => config.check(),
            Self::T5(config) => config.check(),
        }
    }
}

/// How much text a language model has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Prompt and answer share this many positions.
    Shared(usize),
    /// The prompt is read by an encoder, and takes nothing from the answer. Positions are
    /// relative, so that neither has an end.
    PromptAlone,
}

impl Context {
    /// The most tokens of a prompt, the picture's included, that are read.
    pub fn longest_prompt(self) -> usize {
        match self {
            // One position at least is the answer's.
            Self::Shared(positions) => positions.saturating_sub(1),
            Self::PromptAlone => T5_LONGEST_PROMPT,
        }
    }

    /// The most tokens of a prompt that earlier turns may fill it to.
    pub fn room_for_turns(self, max_new_tokens: usize) -> usize {
        match self {
            Self::Shared(positions) => positions.saturating_sub(max_new_tokens),
            Self::PromptAlone => T5_TRAINED_LENGTH,
        }
    }

    /// The most positions that the decoder has.
    pub fn decoder_positions(self) -> usize {
        match self {
            Self::Shared(positions) => positions,
            Self::PromptAlone => MOST,
        }
    }
}

/// A token of the config that must be one of the vocabulary's.
fn check_token(name: &str, id: u32, vocab_size: usize) -> Result<(), ConfigError> {
    if id as usize >= vocab_size {
        return Err(ConfigError::Nonsense(format!(
            "{name} is {id}, and there are {vocab_size} tokens"
        )));
    }
    Ok(())
}

/// OPT: `OPTConfig`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct OptConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub ffn_dim: usize,
    pub max_position_embeddings: usize,
    pub do_layer_norm_before: bool,
    #[serde(rename = "_remove_final_layer_norm")]
    pub remove_final_layer_norm: bool,
    pub word_embed_proj_dim: Option<usize>,
    pub num_attention_heads: usize,
    pub activation_function: Activation,
    pub bos_token_id: u32,
    pub eos_token_id: EosTokens,
    pub enable_bias: bool,
    pub layer_norm_elementwise_affine: bool,
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
    fn check(&self) -> Result<(), ConfigError> {
        check_heads("text_config", self.hidden_size, self.num_attention_heads)?;
        check_sizes([
            ("text_config.hidden_size", self.hidden_size),
            ("text_config.ffn_dim", self.ffn_dim),
            ("text_config.num_hidden_layers", self.num_hidden_layers),
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

/// T5: `T5Config`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "WrittenT5Config")]
pub struct T5Config {
    pub vocab_size: usize,
    pub d_model: usize,
    /// The size of one attention head; all together need not be as wide as `d_model`.
    pub d_kv: usize,
    pub d_ff: usize,
    /// Blocks of the encoder.
    pub num_layers: usize,
    /// Blocks of the decoder.
    pub num_decoder_layers: usize,
    pub num_heads: usize,
    pub relative_attention_num_buckets: usize,
    pub relative_attention_max_distance: usize,
    pub layer_norm_epsilon: f64,
    /// Of the feed-forward layers, which have a gate or none.
    pub activation: Activation,
    pub is_gated: bool,
    /// Whether hidden states are scaled down in front of the head (T5 1.0, whose head is the
    /// token table).
    pub scale_decoder_outputs: bool,
    pub bos_token_id: u32,
    pub eos_token_id: EosTokens,
    /// What the decoder begins with.
    pub decoder_start_token_id: u32,
}

/// T5's config as its file writes it.
///
/// The class computes some values of its own from others, and what a file says under their
/// names wins: BLIP-2's files say `gated-gelu`, which would be the approximate GELU, and
/// `"dense_act_fn": "gelu"`, which is the exact one.
#[derive(Deserialize)]
#[serde(default)]
struct WrittenT5Config {
    vocab_size: usize,
    d_model: usize,
    d_kv: usize,
    d_ff: usize,
    num_layers: usize,
    num_decoder_layers: Option<usize>,
    num_heads: usize,
    relative_attention_num_buckets: usize,
    relative_attention_max_distance: usize,
    layer_norm_epsilon: f64,
    feed_forward_proj: String,
    dense_act_fn: Option<Activation>,
    is_gated_act: Option<bool>,
    tie_word_embeddings: Option<bool>,
    scale_decoder_outputs: Option<bool>,
    bos_token_id: Option<u32>,
    eos_token_id: EosTokens,
    decoder_start_token_id: Option<u32>,
}

impl Default for WrittenT5Config {
    fn default() -> Self {
        Self {
            vocab_size: 32128,
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_decoder_layers: None,
            num_heads: 8,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: "relu".into(),
            dense_act_fn: None,
            is_gated_act: None,
            tie_word_embeddings: None,
            scale_decoder_outputs: None,
            bos_token_id: None,
            eos_token_id: EosTokens::One(1),
            decoder_start_token_id: None,
        }
    }
}

impl WrittenT5Config {
    /// The activation and whether it is gated: `gated-gelu`, `relu`.
    fn feed_forward(&self) -> Result<(Activation, bool), String> {
        let written = self.feed_forward_proj.as_str();
        let (name, is_gated) = match written.split_once('-') {
            // For backwards compatibility, as the class says.
            Some(("gated", "gelu")) => ("gelu_new", true),
            Some(("gated", name)) => (name, true),
            _ => (written, false),
        };
        let activation = match self.dense_act_fn {
            Some(activation) => activation,
            None => serde_json::from_value(json!(name)).map_err(|error| format!("feed_forward_proj: {error}"))?,
        };
        Ok((activation, self.is_gated_act.unwrap_or(is_gated)))
    }
}

impl TryFrom<WrittenT5Config> for T5Config {
    type Error = String;

    fn try_from(written: WrittenT5Config) -> Result<Self, String> {
        let (activation, is_gated) = written.feed_forward()?;
        let ends = written.eos_token_id.as_slice();
        let start = written.decoder_start_token_id.or(written.bos_token_id);
        Ok(Self {
            vocab_size: written.vocab_size,
            d_model: written.d_model,
            d_kv: written.d_kv,
            d_ff: written.d_ff,
            num_layers: written.num_layers,
            num_decoder_layers: written.num_decoder_layers.unwrap_or(written.num_layers),
            num_heads: written.num_heads,
            relative_attention_num_buckets: written.relative_attention_num_buckets,
            relative_attention_max_distance: written.relative_attention_max_distance,
            layer_norm_epsilon: written.layer_norm_epsilon,
            activation,
            is_gated,
            scale_decoder_outputs: written
                .scale_decoder_outputs
                .unwrap_or(written.tie_word_embeddings != Some(false)),
            // The reference has no captions without one; the hub's files say the end token.
            bos_token_id: written.bos_token_id.or(ends.first().copied()).unwrap_or_default(),
            decoder_start_token_id: start.ok_or("text_config names no decoder_start_token_id")?,
            eos_token_id: written.eos_token_id,
        })
    }
}

impl T5Config {
    /// All heads side by side.
    pub fn inner_size(&self) -> usize {
        self.num_heads * self.d_kv
    }

    fn check(&self) -> Result<(), ConfigError> {
        check_sizes([
            ("text_config.d_model", self.d_model),
            ("text_config.d_kv", self.d_kv),
            ("text_config.num_heads", self.num_heads),
            ("text_config.d_kv times num_heads", self.inner_size()),
            ("text_config.d_ff", self.d_ff),
            ("text_config.num_layers", self.num_layers),
            ("text_config.num_decoder_layers", self.num_decoder_layers),
            ("text_config.vocab_size", self.vocab_size),
        ])?;
        check_token("bos_token_id", self.bos_token_id, self.vocab_size)?;
        check_token("decoder_start_token_id", self.decoder_start_token_id, self.vocab_size)?;
        let (buckets, distance) = (
            self.relative_attention_num_buckets,
            self.relative_attention_max_distance,
        );
        // The encoder has half of the buckets for each direction, and half of those for single steps.
        if !(4..=MOST).contains(&buckets) || !(buckets / 2 + 1..=MOST).contains(&distance) {
            return Err(ConfigError::Nonsense(format!(
                "distances of up to {distance} cannot be put into {buckets} buckets"
            )));
        }
        Ok(())
    }
}

/// The tokens that end an answer: a number, a list, or none.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum EosTokens {
    One(u32),
    Several(Vec<u32>),
    None(()),
}

impl EosTokens {
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Several(ids) => ids,
            Self::None(()) => &[],
        }
    }
}
