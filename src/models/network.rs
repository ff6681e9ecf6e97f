//! The networks that Glimpse runs, whichever a checkpoint holds.

use candle_core::{Device, Result, Tensor};
use serde_json::Value;

use super::LoadError;
use super::comparer::Comparer;
use crate::blip::Blip;
use crate::blip::config::{BlipConfig, Task};
use crate::blip2::Blip2;
use crate::blip2::config::{Blip2Config, ConfigError, LanguageModelConfig, MODEL_TYPES, ModelClass};
use crate::blip2::precision::of_model;
use crate::blip2::retrieval::Blip2Retrieval;
use crate::checkpoint::lenient_json;
use crate::nn::attention_record::AnswerAttention;
use crate::nn::{Precision, VisionConfig, Weights};

/// What a `config.json` describes.
#[derive(Clone, Debug)]
pub enum ModelConfig {
    Blip2(Blip2Config),
    Blip(BlipConfig),
}

impl From<Blip2Config> for ModelConfig {
    fn from(config: Blip2Config) -> Self {
        Self::Blip2(config)
    }
}

impl From<BlipConfig> for ModelConfig {
    fn from(config: BlipConfig) -> Self {
        Self::Blip(config)
    }
}

impl ModelConfig {
    /// Reads and checks a `config.json`, by its `model_type`: BLIP-2's where there is none.
    ///
    /// # Errors
    /// It is no JSON, another family's, or makes no sense.
    pub fn from_json(json: &str) -> std::result::Result<Self, LoadError> {
        match lenient_json::parse(json.as_bytes()) {
            Ok(value) if !is_object_of_objects(&value) => {
                let reason = "it is no object, or a part of it is none".to_owned();
                Err(ConfigError::Nonsense(reason).into())
            }
            Ok(value) if says_family(&value) && unknown_class(&value).is_some() => {
                Err(LoadError::UnknownClass(unknown_class(&value).unwrap_or_default()))
            }
            Ok(value) if value["model_type"] == "blip" => Ok(Self::Blip(BlipConfig::from_value(&value)?)),
            Ok(value) => Ok(Self::Blip2(Blip2Config::from_json(&value.to_string())?)),
            // It says what is wrong.
            Err(_) => Ok(Self::Blip2(Blip2Config::from_json(json)?)),
        }
    }

    /// BLIP-2's, if it is that.
    pub fn blip2(&self) -> Option<&Blip2Config> {
        match self {
            Self::Blip2(config) => Some(config),
            Self::Blip(_) => None,
        }
    }

    /// BLIP's, if it is that.
    pub fn blip(&self) -> Option<&BlipConfig> {
        match self {
            Self::Blip2(_) => None,
            Self::Blip(config) => Some(config),
        }
    }

    /// The vision tower's part.
    pub fn vision(&self) -> &VisionConfig {
        match self {
            Self::Blip2(config) => &config.vision_config,
            Self::Blip(config) => &config.vision_config,
        }
    }

    /// What the model is for.
    pub fn purpose(&self) -> Purpose {
        match self {
            Self::Blip2(config) if config.class() == ModelClass::ImageTextRetrieval => Purpose::Matching,
            Self::Blip2(_) => Purpose::Conversation,
            Self::Blip(config) => match config.task() {
                Task::Caption => Purpose::Captions,
                Task::Question => Purpose::Answers,
                Task::Match => Purpose::Matching,
            },
        }
    }

    /// The family that it is of.
    pub fn family(&self) -> Family {
        match self {
            Self::Blip2(config) => Family::of_blip2(config),
            Self::Blip(_) => Family::Blip,
        }
    }

    /// What stands in front of its answers.
    pub fn answer_start(&self) -> AnswerStart {
        match self {
            Self::Blip2(config) => AnswerStart::of_blip2(config),
            Self::Blip(_) => AnswerStart::Text,
        }
    }

    /// Whether a file with this config holds a head of its own, as far as the config tells.
    pub fn expects_head(&self) -> bool {
        match self {
            Self::Blip2(config) => config.text_config.expects_head(),
            // The published files hold the token table a second time, which is no head of its own.
            Self::Blip(_) => false,
        }
    }

    /// Whether its numbers are too large for f16.
    pub fn needs_bf16(&self) -> bool {
        matches!(self, Self::Blip2(config) if matches!(config.text_config, LanguageModelConfig::T5(_)))
    }

    /// The precision of the model where this one was asked for.
    pub fn precision(&self, asked: Precision) -> Precision {
        match self {
            Self::Blip2(config) => of_model(config, asked),
            Self::Blip(_) => asked,
        }
    }
}

/// Whether a config is an object, as its parts are that are there. A list would be read as one whose
/// keys are all left out.
fn is_object_of_objects(config: &Value) -> bool {
    let parts = ["vision_config", "qformer_config", "text_config"];
    config.is_object()
        && parts.iter().all(|part| {
            let part = config.get(part).unwrap_or(&Value::Null);
            part.is_object() || part.is_null()
        })
}

/// The classes of transformers whose checkpoints are run; `Blip2Model`'s are those of the first.
const CLASSES: [&str; 7] = [
    "Blip2ForConditionalGeneration",
    "Blip2ForImageTextRetrieval",
    "Blip2Model",
    "BlipForConditionalGeneration",
    "BlipForImageTextRetrieval",
    "BlipForQuestionAnswering",
    "InstructBlipForConditionalGeneration",
];

/// The class that a config names, where it names none of those. What names none is known by its tensors.
fn unknown_class(config: &Value) -> Option<String> {
    let names = config["architectures"].as_array()?;
    let mut names = names.iter().filter_map(Value::as_str).peekable();
    let first = names.peek()?.to_string();
    (!names.any(|name| CLASSES.contains(&name))).then_some(first)
}

/// What stands in front of an answer, for whoever counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerStart {
    /// `[DEC]`, and how a caption begins: BLIP's.
    Text,
    /// The one token that a decoder of its own begins with: BLIP-2's with T5.
    Token,
    /// Picture and prompt, which the language model goes on from.
    Prompt,
}

impl AnswerStart {
    fn of_blip2(config: &Blip2Config) -> Self {
        match config.text_config {
            LanguageModelConfig::T5(_) => Self::Token,
            _ => Self::Prompt,
        }
    }
}

/// Which of the family's members a model is of: each has papers and programs of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Blip,
    Blip2,
    InstructBlip,
}

impl Family {
    fn of_blip2(config: &Blip2Config) -> Self {
        match config.class() {
            ModelClass::InstructBlip => Self::InstructBlip,
            _ => Self::Blip2,
        }
    }
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Captions, questions, and questions that go on from answers.
    Conversation,
    /// Captions, from their beginning if that is given.
    Captions,
    /// Short answers to questions, each by itself.
    Answers,
    /// How well texts fit pictures.
    Matching,
}

impl Purpose {
    /// What a model for it does, behind its name in a sentence.
    pub fn does(self) -> &'static str {
        match self {
            Self::Conversation => "answers questions and writes captions",
            Self::Captions => "writes captions",
            Self::Answers => "answers questions",
            Self::Matching => "compares pictures with texts",
        }
    }
}

/// A model that is loaded.
pub enum Network {
    Blip2(Blip2),
    /// BLIP-2 that compares pictures with texts.
    Blip2Retrieval(Blip2Retrieval),
    Blip(Blip),
}

impl Network {
    /// Takes the tensors of a checkpoint.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape, or whatever the device says.
    pub fn new(config: &ModelConfig, weights: Weights) -> Result<Self> {
        match config {
            ModelConfig::Blip2(config) if config.class() == ModelClass::ImageTextRetrieval => {
                Blip2Retrieval::new(config, weights).map(Self::Blip2Retrieval)
            }
            ModelConfig::Blip2(config) => Blip2::new(config, weights).map(Self::Blip2),
            ModelConfig::Blip(config) => Blip::new(config, weights).map(Self::Blip),
        }
    }

    /// What stands in front of its answers.
    pub fn answer_start(&self) -> AnswerStart {
        match self {
            Self::Blip(_) => AnswerStart::Text,
            Self::Blip2(model) => AnswerStart::of_blip2(model.config()),
            Self::Blip2Retrieval(_) => AnswerStart::Prompt,
        }
    }

    /// The family that it is of.
    pub fn family(&self) -> Family {
        match self {
            Self::Blip(_) => Family::Blip,
            Self::Blip2(model) => Family::of_blip2(model.config()),
            Self::Blip2Retrieval(_) => Family::Blip2,
        }
    }

    /// What it computes in.
    pub fn precision(&self) -> Precision {
        match self {
            Self::Blip2(model) => model.precision(),
            Self::Blip2Retrieval(model) => model.precision(),
            Self::Blip(model) => model.precision(),
        }
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        match self {
            Self::Blip2(model) => model.device(),
            Self::Blip2Retrieval(model) => model.device(),
            Self::Blip(model) => model.device(),
        }
    }

    /// Refuses questions whose keys and values would take more bytes than this.
    pub fn limit_cache(&mut self, bytes: u64) {
        match self {
            Self::Blip2(model) => model.limit_cache(bytes),
            // It keeps nothing of a text.
            Self::Blip2Retrieval(_) => {}
            Self::Blip(model) => model.limit_cache(bytes),
        }
    }

    /// What each token of an answer looked at: pixel values `[1, 3, h, w]`, and the ids of the instruction (an
    /// InstructBLIP's alone has any), the prompt and the answer. See [`Blip2::attention`] and
    /// [`Blip::attention`].
    ///
    /// # Errors
    /// The network writes nothing, there is no answer, or the device's.
    pub fn attention(&self, pixel_values: &Tensor, ids: [&[u32]; 3]) -> Result<AnswerAttention> {
        let [instruction, prompt, answer] = ids;
        match self {
            Self::Blip2(model) => model.attention(pixel_values, instruction, prompt, answer),
            Self::Blip2Retrieval(_) => candle_core::bail!("the model compares pictures with texts, and writes none"),
            Self::Blip(model) => model.attention(&model.encode_picture(pixel_values)?, prompt, answer),
        }
    }

    /// What compares pictures with texts, in a network for that.
    pub fn comparer(&self) -> Option<Comparer<'_>> {
        match self {
            Self::Blip2(_) => None,
            Self::Blip2Retrieval(model) => Some(Comparer::Blip2(model)),
            Self::Blip(model) => model.matcher().map(Comparer::Blip),
        }
    }

    /// BLIP-2, if it is that.
    pub fn blip2(&self) -> Option<&Blip2> {
        match self {
            Self::Blip2(model) => Some(model),
            _ => None,
        }
    }

    /// BLIP, if it is that.
    pub fn blip(&self) -> Option<&Blip> {
        match self {
            Self::Blip(model) => Some(model),
            _ => None,
        }
    }
}

/// As a `config.json` says of itself which family it is of, where it says it.
pub fn says_family(value: &Value) -> bool {
    let kind = value["model_type"].as_str();
    kind.is_some_and(|kind| kind == "blip" || MODEL_TYPES.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_that_is_none_or_of_another_class_is_refused() {
        let said = |json: &str| match ModelConfig::from_json(json) {
            Ok(config) => format!("{config:?}"),
            Err(error) => error.to_string(),
        };
        for wrong in [
            "[]",
            "[1, 2]",
            "3",
            r#"{"vision_config": []}"#,
            r#"{"text_config": "opt"}"#,
        ] {
            assert!(said(wrong).contains("no object"), "{wrong}: {}", said(wrong));
        }
        for class in ["BlipModel", "BertModel"] {
            for kind in ["blip", "blip-2"] {
                let said = said(&format!(r#"{{"model_type": "{kind}", "architectures": ["{class}"]}}"#));
                assert!(
                    said.contains(class) && said.contains("BlipForQuestionAnswering"),
                    "{said}"
                );
            }
        }
        let unnamed = said(r#"{"model_type": "blip", "architectures": []}"#);
        assert!(unnamed.starts_with("Blip("), "{unnamed}");
    }
}
