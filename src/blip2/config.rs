//! What `config.json` says, with the reference's defaults for what it leaves out.
//!
//! Source: `Blip2Config`, `Blip2VisionConfig` and `Blip2QFormerConfig` of Hugging Face
//! transformers 5 (those of InstructBLIP say the same under other names), and the language models' own classes in [`language`]. The hub's files
//! leave most keys out, so a missing key must mean the class's default.

mod class;
mod language;
mod llama;
mod opt;
mod t5;

use serde::Deserialize;

use crate::generation::Preset;
use crate::nn::Activation;
pub use crate::nn::VisionConfig;
pub use class::ModelClass;
pub use language::{Context, EosTokens, LanguageModelConfig};
pub use llama::LlamaConfig;
pub use opt::OptConfig;
pub use t5::T5Config;

/// Why a `config.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("config.json is not valid: {0}. Download the file again.")]
    Invalid(#[from] serde_json::Error),
    #[error(
        "config.json describes a `{0}` model, and Glimpse runs `blip`, `blip-2` and `instructblip` checkpoints. Choose one of those."
    )]
    NotBlip2(String),
    #[error("The checkpoint's language model is `{0}`, and Glimpse runs `opt`, `t5` and `llama`. Choose one of those.")]
    UnsupportedLanguageModel(String),
    #[error("config.json asks for {what}, which Glimpse does not support. Use a checkpoint without it.")]
    Unsupported { what: String },
    #[error("config.json makes no sense: {0}. Download the file again.")]
    Nonsense(String),
}

/// The whole model: `config.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Blip2Config {
    #[serde(default)]
    pub vision_config: VisionConfig,
    #[serde(default)]
    pub qformer_config: QFormerConfig,
    #[serde(default)]
    pub text_config: LanguageModelConfig,
    /// How many tokens the language model sees of a picture: 32 in the published models.
    #[serde(default = "default_num_query_tokens")]
    pub num_query_tokens: usize,
    /// The token that stands for one query token of the picture in a prompt.
    #[serde(default, alias = "image_token_id")]
    pub image_token_index: Option<u32>,
    /// The width that texts and pictures are compared in; of [`ModelClass::ImageTextRetrieval`] alone.
    #[serde(default = "default_image_text_hidden_size")]
    pub image_text_hidden_size: usize,
    /// What the file names; where it names none, the tensors tell ([`ModelClass::of_tensors`]).
    #[serde(skip)]
    pub named_class: Option<ModelClass>,
}

/// The values of `model_type` that the family has.
pub const MODEL_TYPES: [&str; 2] = ["blip-2", "instructblip"];

/// No number of a config is larger.
const MOST: usize = 1 << 20;

/// No picture is larger: as the model sees it, it is hundreds of pixels wide.
const MOST_PIXELS_OF_A_SIDE: usize = 1 << 13;

/// No part has more layers: the tensors of each are listed before one is missed.
const MOST_LAYERS: usize = 1024;

fn default_num_query_tokens() -> usize {
    32
}

fn default_image_text_hidden_size() -> usize {
    256
}

impl Blip2Config {
    /// Reads and checks a `config.json`.
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let value: serde_json::Value = serde_json::from_str(json)?;
        // Named first, since another family's file would fail on some detail below.
        if let Some(kind) = value
            .get("model_type")
            .and_then(|kind| kind.as_str())
            .filter(|kind| !MODEL_TYPES.contains(kind))
        {
            return Err(ConfigError::NotBlip2(kind.to_string()));
        }
        let language_model = value.pointer("/text_config/model_type").and_then(|kind| kind.as_str());
        if let Some(kind) = language_model.filter(|kind| !["opt", "t5", "llama"].contains(kind)) {
            return Err(ConfigError::UnsupportedLanguageModel(kind.to_string()));
        }
        let named_class = ModelClass::of_json(&value);
        let mut config: Self = serde_json::from_value(value)?;
        config.named_class = named_class;
        // As `Blip2Config.__post_init__`: the Q-Former always looks at this vision tower.
        config.qformer_config.encoder_hidden_size = config.vision_config.hidden_size;
        config.check()?;
        Ok(config)
    }

    /// Which of the family's classes it is.
    pub fn class(&self) -> ModelClass {
        self.named_class.unwrap_or_default()
    }

    /// The tokens that end an answer.
    pub fn eos_token_ids(&self, preset: Preset) -> Vec<u32> {
        match (self.class(), &self.text_config, preset) {
            (ModelClass::InstructBlip, LanguageModelConfig::Llama(llama), Preset::Glimpse) => {
                llama.ends_of_instruct_blip()
            }
            (_, text, _) => text.eos_token_ids().to_vec(),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let (vision, qformer, text) = (&self.vision_config, &self.qformer_config, &self.text_config);
        check_heads("vision_config", vision.hidden_size, vision.num_attention_heads)?;
        check_heads("qformer_config", qformer.hidden_size, qformer.num_attention_heads)?;
        if vision.patch_size == 0 || vision.patch_size > vision.image_size {
            return Err(ConfigError::Nonsense(format!(
                "pictures of {} pixels cannot be cut into patches of {}",
                vision.image_size, vision.patch_size
            )));
        }
        self.check_numbers()?;
        if self.class() == ModelClass::ImageTextRetrieval {
            // Its file names a language model that it does not have.
            return Ok(());
        }
        text.check()?;
        let positions = text.context().longest_prompt();
        if self.num_query_tokens > positions {
            return Err(ConfigError::Nonsense(format!(
                "{} query tokens do not fit into a prompt of {positions}",
                self.num_query_tokens
            )));
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), ConfigError> {
        let (vision, qformer) = (&self.vision_config, &self.qformer_config);
        check_layers([
            ("vision_config.num_hidden_layers", vision.num_hidden_layers),
            ("qformer_config.num_hidden_layers", qformer.num_hidden_layers),
        ])?;
        check_sizes_up_to(MOST_PIXELS_OF_A_SIDE, [("vision_config.image_size", vision.image_size)])?;
        check_sizes([
            ("num_query_tokens", self.num_query_tokens),
            ("the number of vision_config's patches", vision.grid() * vision.grid()),
            ("vision_config.hidden_size", vision.hidden_size),
            ("vision_config.intermediate_size", vision.intermediate_size),
            ("qformer_config.hidden_size", qformer.hidden_size),
            ("qformer_config.intermediate_size", qformer.intermediate_size),
            (
                "qformer_config.cross_attention_frequency",
                qformer.cross_attention_frequency,
            ),
            ("qformer_config.vocab_size", qformer.vocab_size),
            (
                "qformer_config.max_position_embeddings",
                qformer.max_position_embeddings,
            ),
            ("image_text_hidden_size", self.image_text_hidden_size),
        ])
    }
}

/// No size is 0, or so large that sizes could not be multiplied.
fn check_sizes(sizes: impl IntoIterator<Item = (&'static str, usize)>) -> Result<(), ConfigError> {
    check_sizes_up_to(MOST, sizes)
}

fn check_sizes_up_to(most: usize, sizes: impl IntoIterator<Item = (&'static str, usize)>) -> Result<(), ConfigError> {
    match sizes.into_iter().find(|(_, value)| !(1..=most).contains(value)) {
        Some((name, value)) => Err(ConfigError::Nonsense(format!("{name} is {value}"))),
        None => Ok(()),
    }
}

fn check_layers(layers: impl IntoIterator<Item = (&'static str, usize)>) -> Result<(), ConfigError> {
    check_sizes_up_to(MOST_LAYERS, layers)
}

fn check_heads(part: &str, hidden_size: usize, heads: usize) -> Result<(), ConfigError> {
    if heads == 0 || hidden_size == 0 || !hidden_size.is_multiple_of(heads) {
        return Err(ConfigError::Nonsense(format!(
            "the hidden size {hidden_size} of {part} cannot be split over {heads} attention heads"
        )));
    }
    Ok(())
}

/// The querying transformer: `Blip2QFormerConfig`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct QFormerConfig {
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub hidden_act: Activation,
    pub layer_norm_eps: f64,
    /// Every how many layers the queries look at the picture.
    pub cross_attention_frequency: usize,
    /// The width of the vision tower's embeddings, which cross-attention reads.
    pub encoder_hidden_size: usize,
    /// Tokens of its own vocabulary, where it reads texts.
    pub vocab_size: usize,
    /// The most tokens of a text that it reads.
    pub max_position_embeddings: usize,
}

impl Default for QFormerConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-12,
            cross_attention_frequency: 2,
            encoder_hidden_size: 1408,
            vocab_size: 30522,
            max_position_embeddings: 512,
        }
    }
}
