//! Whichever language model a config names, and what the rest of the model asks of it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{ConfigError, LlamaConfig, MOST, OptConfig, T5Config};

/// T5 was trained on texts of up to this many tokens. Its relative positions set no limit,
/// so this is where a conversation's oldest turns fall off.
const T5_TRAINED_LENGTH: usize = 512;

/// The longest prompt that is read with T5 all the same, as long as OPT's. A limit there must
/// be: attention takes memory with the square of the length.
const T5_LONGEST_PROMPT: usize = 2048;

/// `text_config`, by its `model_type`; OPT where there is none.
#[derive(Clone, Debug)]
pub enum LanguageModelConfig {
    /// `Salesforce/blip2-opt-*`: a decoder alone, which reads prompt and answer as one text.
    Opt(OptConfig),
    /// `Salesforce/blip2-flan-t5-*`: an encoder for the prompt, a decoder for the answer.
    T5(T5Config),
    /// `Salesforce/instructblip-vicuna-*`: a decoder alone.
    Llama(LlamaConfig),
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
            Some("llama") => LlamaConfig::deserialize(value).map(Self::Llama),
            _ => OptConfig::deserialize(value).map(Self::Opt),
        };
        config.map_err(D::Error::custom)
    }
}

impl LanguageModelConfig {
    /// Rows of the token table, and logits of a row: as many as the config says, which may be more
    /// than the tokenizer knows tokens.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Opt(config) => config.vocab_size,
            Self::T5(config) => config.vocab_size,
            Self::Llama(config) => config.vocab_size,
        }
    }

    /// The width of its embeddings.
    pub fn hidden_size(&self) -> usize {
        match self {
            Self::Opt(config) => config.hidden_size,
            Self::T5(config) => config.d_model,
            Self::Llama(config) => config.hidden_size,
        }
    }

    /// The tokens that end an answer, as the file says.
    pub fn eos_token_ids(&self) -> &[u32] {
        match self {
            Self::Opt(config) => config.eos_token_id.as_slice(),
            Self::T5(config) => config.eos_token_id.as_slice(),
            Self::Llama(config) => &config.eos_token_ids,
        }
    }

    /// The token behind the picture's where there is no text.
    pub fn caption_token(&self) -> u32 {
        match self {
            Self::Opt(config) => config.bos_token_id,
            Self::T5(config) => config.bos_token_id,
            Self::Llama(config) => config.bos_token_id,
        }
    }

    /// How much text there is room for.
    pub fn context(&self) -> Context {
        match self {
            Self::Opt(config) => Context::Shared(config.max_position_embeddings),
            Self::T5(_) => Context::PromptAlone,
            Self::Llama(config) => Context::Shared(config.max_position_embeddings),
        }
    }

    /// The ids in front of an answer where the rules of generation look for them. A decoder
    /// goes on from its prompt; T5 reads the prompt in its encoder, and its decoder begins
    /// anew with a start token.
    pub fn ids_before_answer<'a>(&'a self, prompt_ids: &'a [u32]) -> &'a [u32] {
        match self {
            Self::Opt(_) | Self::Llama(_) => prompt_ids,
            Self::T5(config) => std::slice::from_ref(&config.decoder_start_token_id),
        }
    }

    /// Numbers that the keys and values of `rows` answers take at their longest: those of the prompt, which all
    /// rows share, and in each row those of the decoder's `positions` that are its own. A decoder alone goes on
    /// from its prompt, T5's begins anew.
    pub fn cached_numbers(&self, rows: usize, prompt: usize, positions: usize) -> u128 {
        let (layers, width) = match self {
            Self::Opt(config) => (config.num_hidden_layers, config.hidden_size),
            Self::T5(config) => (config.num_decoder_layers, config.inner_size()),
            Self::Llama(config) => (config.num_hidden_layers, config.num_attention_heads * config.head_dim),
        };
        let own = match self.context() {
            Context::Shared(_) => positions.saturating_sub(prompt),
            Context::PromptAlone => positions,
        };
        let positions = (rows as u128).saturating_mul(own as u128) + prompt as u128;
        positions.saturating_mul(2 * layers as u128 * width as u128)
    }

    /// Whether a file with this config holds a head of the language model's own, as far as
    /// the config tells.
    pub fn expects_head(&self) -> bool {
        match self {
            Self::Opt(config) => !config.tie_word_embeddings,
            Self::T5(config) => !config.scale_decoder_outputs,
            Self::Llama(config) => !config.tie_word_embeddings,
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::Opt(config) => config.check(),
            Self::T5(config) => config.check(),
            Self::Llama(config) => config.check(),
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
pub(super) fn check_token(name: &str, id: u32, vocab_size: usize) -> Result<(), ConfigError> {
    if id as usize >= vocab_size {
        return Err(ConfigError::Nonsense(format!(
            "{name} is {id}, and there are {vocab_size} tokens"
        )));
    }
    Ok(())
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
    /// Their ids; empty where only the number of tokens ends an answer.
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Several(ids) => ids,
            Self::None(()) => &[],
        }
    }
}
