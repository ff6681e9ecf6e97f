//! What `config.json` says, with the reference's defaults for what it leaves out.
//!
//! Source: `BlipConfig`, `BlipTextConfig` and `BlipVisionConfig` of Hugging Face transformers 5.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::nn::bert::BertShape;
use crate::nn::{Activation, VisionConfig};

/// Why a `config.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{part} of config.json is not valid: {reason}. Download the file again.")]
    Invalid { part: &'static str, reason: String },
    #[error("config.json asks for {0}, which Glimpse does not support. Use a checkpoint without it.")]
    Unsupported(&'static str),
    #[error("config.json makes no sense: {0}. Download the file again.")]
    Nonsense(String),
}

/// What a model of BLIP does, each a class of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// `BlipForConditionalGeneration`: a caption, from its beginning if that is given.
    Caption,
    /// `BlipForQuestionAnswering`: a short answer to a question.
    Question,
    /// `BlipForImageTextRetrieval`: how well a text fits the picture.
    Match,
}

impl Task {
    /// The reference's class.
    pub fn class(self) -> &'static str {
        match self {
            Self::Caption => "BlipForConditionalGeneration",
            Self::Question => "BlipForQuestionAnswering",
            Self::Match => "BlipForImageTextRetrieval",
        }
    }

    /// What the tensors of a checkpoint are for, where its config does not say it.
    pub fn of_tensors<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let has = |prefix: &str| names.clone().any(|name| name.starts_with(prefix));
        match (has("itm_head."), has("text_encoder.")) {
            (true, _) => Self::Match,
            (false, true) => Self::Question,
            (false, false) => Self::Caption,
        }
    }
}

/// The whole model: `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct BlipConfig {
    /// What `architectures` names; where it names none of the classes the tensors tell
    /// ([`Task::of_tensors`]).
    pub task: Option<Task>,
    pub vision_config: VisionConfig,
    pub text_config: TextConfig,
    /// The width that pictures and texts are compared in: `image_text_hidden_size`.
    pub projection_size: usize,
}

/// The texts' side: `BlipTextConfig`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TextConfig {
    /// Rows of the token table, and logits of a row.
    pub vocab_size: usize,
    pub hidden_size: usize,
    /// The inner width of a feed-forward layer.
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    /// 8 where the config does not say it, as in the reference's class. The published models have 12.
    pub num_attention_heads: usize,
    /// The most tokens of a text.
    pub max_position_embeddings: usize,
    pub hidden_act: Activation,
    pub layer_norm_eps: f64,
    /// What every answer begins with, `[DEC]`: it stands in no vocabulary.
    pub bos_token_id: u32,
    /// What ends an answer.
    pub sep_token_id: u32,
    /// Without it the reference's class has no cross-attention, and fails.
    is_decoder: bool,
}

/// No number of a config is larger.
const MOST: usize = 1 << 20;

/// No picture is larger: as the model sees it, it is hundreds of pixels wide.
const MOST_PIXELS_OF_A_SIDE: usize = 1 << 13;

/// No part has more layers: the tensors of each are listed before one is missed.
const MOST_LAYERS: usize = 1024;

impl BlipConfig {
    /// Reads and checks a `config.json` whose `model_type` is `blip`.
    ///
    /// # Errors
    /// A value of another kind, one that is out of range, or a model that does not exist.
    pub fn from_value(config: &Value) -> Result<Self, ConfigError> {
        let config = Self {
            task: task(config),
            vision_config: part("vision_config", vision_defaults(), config)?,
            text_config: part("text_config", text_defaults(), config)?,
            projection_size: part::<Projection>(
                "image_text_hidden_size",
                projection_default(),
                &json!({
                    "image_text_hidden_size": {"size": config["image_text_hidden_size"]}
                }),
            )?
            .size,
        };
        config.check()?;
        Ok(config)
    }

    /// The same model for a task.
    ///
    /// # Errors
    /// There is no such model of these sizes.
    pub fn with_task(self, task: Task) -> Result<Self, ConfigError> {
        let config = Self {
            task: Some(task),
            ..self
        };
        config.check()?;
        Ok(config)
    }

    /// What the model does. A config that does not say it counts as a captioning model's, until its
    /// tensors are known.
    pub fn task(&self) -> Task {
        self.task.unwrap_or(Task::Caption)
    }

    /// The shape of the texts' layers that look at what is so wide.
    pub fn bert_shape(&self) -> BertShape {
        let text = &self.text_config;
        BertShape {
            hidden_size: text.hidden_size,
            intermediate_size: text.intermediate_size,
            heads: text.num_attention_heads,
            hidden_act: text.hidden_act,
            layer_norm_eps: text.layer_norm_eps,
            looks_at: Some(self.vision_config.hidden_size),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let (vision, text) = (&self.vision_config, &self.text_config);
        check_heads("vision_config", vision.hidden_size, vision.num_attention_heads)?;
        check_heads("text_config", text.hidden_size, text.num_attention_heads)?;
        if !text.is_decoder {
            return Err(ConfigError::Unsupported(
                "texts that do not look at the picture (text_config.is_decoder is false)",
            ));
        }
        let sides = [("vision_config.image_size", vision.image_size)];
        check_sizes(MOST_PIXELS_OF_A_SIDE, sides)?;
        check_sizes(
            MOST_LAYERS,
            [
                ("vision_config.num_hidden_layers", vision.num_hidden_layers),
                ("text_config.num_hidden_layers", text.num_hidden_layers),
            ],
        )?;
        if vision.patch_size == 0 || vision.patch_size > vision.image_size {
            return Err(ConfigError::Nonsense(format!(
                "pictures of {} pixels cannot be cut into patches of {}",
                vision.image_size, vision.patch_size
            )));
        }
        check_sizes(
            MOST,
            [
                ("the number of vision_config's patches", vision.grid() * vision.grid()),
                ("vision_config.hidden_size", vision.hidden_size),
                ("vision_config.intermediate_size", vision.intermediate_size),
                ("text_config.hidden_size", text.hidden_size),
                ("text_config.intermediate_size", text.intermediate_size),
                ("text_config.vocab_size", text.vocab_size),
                ("text_config.max_position_embeddings", text.max_position_embeddings),
                ("image_text_hidden_size", self.projection_size),
            ],
        )?;
        for (name, id) in [("bos_token_id", text.bos_token_id), ("sep_token_id", text.sep_token_id)] {
            if id as usize >= text.vocab_size {
                return Err(ConfigError::Nonsense(format!(
                    "text_config.{name} is {id}, and there are {} tokens",
                    text.vocab_size
                )));
            }
        }
        if self.task == Some(Task::Question) && vision.hidden_size != text.hidden_size {
            return Err(ConfigError::Nonsense(format!(
                "answers look at a question {} wide through layers for pictures {} wide",
                text.hidden_size, vision.hidden_size
            )));
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Projection {
    size: usize,
}

/// The class that `architectures` names.
fn task(config: &Value) -> Option<Task> {
    let names = config["architectures"].as_array()?;
    let tasks = [Task::Caption, Task::Question, Task::Match];
    tasks
        .into_iter()
        .find(|task| names.iter().any(|name| name == task.class()))
}

fn vision_defaults() -> Value {
    json!({"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
           "image_size": 384, "patch_size": 16, "hidden_act": "gelu", "layer_norm_eps": 1e-5, "qkv_bias": true})
}

fn text_defaults() -> Value {
    json!({"vocab_size": 30524, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
           "num_attention_heads": 8, "max_position_embeddings": 512, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
           "bos_token_id": 30522, "sep_token_id": 102, "is_decoder": true})
}

fn projection_default() -> Value {
    json!({"size": 256})
}

/// A part of the config over its class's defaults.
fn part<T: DeserializeOwned>(name: &'static str, defaults: Value, config: &Value) -> Result<T, ConfigError> {
    let invalid = |reason: String| ConfigError::Invalid { part: name, reason };
    let mut all: Map<String, Value> = match defaults {
        Value::Object(defaults) => defaults,
        _ => Map::new(),
    };
    match config.get(name) {
        None | Some(Value::Null) => {}
        Some(Value::Object(said)) => {
            // Whatever else is there is another class's, or none's; `qkv_bias` of this one always is.
            let said = said
                .iter()
                .filter(|(key, value)| all.contains_key(*key) && !value.is_null());
            let said: Vec<(String, Value)> = said.map(|(key, value)| (key.clone(), value.clone())).collect();
            all.extend(said.into_iter().filter(|(key, _)| key != "qkv_bias"));
        }
        Some(other) => return Err(invalid(format!("it is {other}, and should be an object"))),
    }
    serde_json::from_value(Value::Object(all)).map_err(|error| invalid(error.to_string()))
}

fn check_sizes(most: usize, sizes: impl IntoIterator<Item = (&'static str, usize)>) -> Result<(), ConfigError> {
    match sizes.into_iter().find(|(_, value)| !(1..=most).contains(value)) {
        Some((name, value)) => Err(ConfigError::Nonsense(format!("{name} is {value}"))),
        None => Ok(()),
    }
}

fn check_heads(part: &str, hidden_size: usize, heads: usize) -> Result<(), ConfigError> {
    if heads == 0 || hidden_size == 0 || !hidden_size.is_multiple_of(heads) {
        return Err(ConfigError::Nonsense(format!(
            "the hidden size {hidden_size} of {part} cannot be split over {heads} attention heads"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_config_leaves_out_is_as_in_the_references_classes() {
        let config = BlipConfig::from_value(&json!({"model_type": "blip"})).expect("all defaults are sound");
        let (vision, text) = (&config.vision_config, &config.text_config);
        assert_eq!(
            (vision.image_size, vision.patch_size, vision.layer_norm_eps),
            (384, 16, 1e-5)
        );
        assert_eq!(
            (text.num_attention_heads, text.bos_token_id, text.sep_token_id),
            (8, 30522, 102)
        );
        assert_eq!((config.projection_size, config.task), (256, None));
        let told = json!({"architectures": ["BlipForQuestionAnswering"], "image_text_hidden_size": 12,
                          "text_config": {"num_attention_heads": 12, "max_length": 20, "bos_token_id": null}});
        let config = BlipConfig::from_value(&told).expect("it is sound");
        assert_eq!(
            (config.text_config.num_attention_heads, config.text_config.bos_token_id),
            (12, 30522)
        );
        assert_eq!((config.projection_size, config.task()), (12, Task::Question));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let said = |config: Value| match BlipConfig::from_value(&config) {
            Ok(config) => format!("{config:?}"),
            Err(error) => error.to_string(),
        };
        let heads = said(json!({"text_config": {"num_attention_heads": 7}}));
        assert!(
            heads.contains("768") && heads.contains("text_config") && heads.contains('7'),
            "{heads}"
        );
        let dec = said(json!({"text_config": {"vocab_size": 30522}}));
        assert!(dec.contains("bos_token_id is 30522"), "{dec}");
        let wide = said(
            json!({"architectures": ["BlipForQuestionAnswering"], "vision_config": {"hidden_size": 1024, "num_attention_heads": 16}}),
        );
        assert!(wide.contains("1024"), "{wide}");
        assert!(said(json!({"text_config": {"is_decoder": false}})).contains("is_decoder"));
        assert!(said(json!({"text_config": []})).contains("text_config"));
        assert!(said(json!({"image_text_hidden_size": "many"})).contains("image_text_hidden_size"));
    }

    #[test]
    fn a_class_that_is_not_named_is_known_by_its_tensors() {
        let of = |names: &[&str]| Task::of_tensors(names.iter().copied());
        assert_eq!(of(&["vision_model.a", "text_decoder.b"]), Task::Caption);
        assert_eq!(of(&["text_decoder.b", "text_encoder.a"]), Task::Question);
        assert_eq!(of(&["text_encoder.a", "itm_head.weight"]), Task::Match);
    }
}
