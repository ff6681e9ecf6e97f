//! The processor as a checkpoint describes it.

use serde_json::{Map, Value};

use super::{Checkpoint, LoadError, ModelConfig};
use crate::blip::config::{BlipConfig, Task};
use crate::blip2::config::{Blip2Config, LanguageModelConfig, ModelClass};
use crate::checkpoint::{CheckpointError, Files, QFORMER_TOKENIZER, VOCABULARY, lenient_json};
use crate::processor::image_processor::TargetSize;
use crate::processor::{
    BertTokenizer, ImageProcessor, InstructionReader, Processor, PromptForm, TextConfig, TextProcessor, wordpiece,
};

/// Reads `preprocessor_config.json` (or `image_processor` within `processor_config.json`,
/// where transformers 5 keeps it) and `tokenizer.json`.
///
/// # Errors
/// A file that is missing or makes no sense, by name.
pub(super) fn load(checkpoint: &Checkpoint) -> Result<Processor, LoadError> {
    let (files, config) = (checkpoint.files(), checkpoint.config());
    let text = match config {
        ModelConfig::Blip2(config) if config.class() == ModelClass::ImageTextRetrieval => {
            bert_texts(files, retrieval_texts(config))?
        }
        ModelConfig::Blip2(config) => blip2_texts(files, config)?,
        ModelConfig::Blip(config) => bert_texts(files, blip_texts(config))?,
    };
    let image = image_processor(files, config)?;
    Ok(Processor { image, text })
}

fn blip2_texts(files: &Files, config: &Blip2Config) -> Result<TextProcessor, LoadError> {
    let is_instructed = config.class() == ModelClass::InstructBlip;
    let mut text = TextProcessor::new(
        &files.read("tokenizer.json")?,
        TextConfig {
            image_token: config.image_token_index,
            num_query_tokens: config.num_query_tokens,
            caption_token: config.text_config.caption_token(),
            vocab_size: config.text_config.vocab_size(),
            form: match is_instructed {
                true => PromptForm::Instruction,
                false => PromptForm::Conversation,
            },
        },
    )?;
    if matches!(config.text_config, LanguageModelConfig::Llama(_)) {
        text = with_ends_of_llama(text, &read_json(files, "tokenizer_config.json")?.unwrap_or_default())?;
    }
    if is_instructed {
        let (vocabulary, settings) = bert_vocabulary(files, QFORMER_TOKENIZER)?;
        text = text.with_instructions(InstructionReader {
            tokenizer: BertTokenizer::new(vocabulary, &settings)?,
            max_tokens: config.qformer_config.max_position_embeddings,
        });
    }
    Ok(text)
}

/// What `LlamaTokenizer` does where its config says whether it begins or ends texts; else the
/// tokenizer's own file says it.
fn with_ends_of_llama(text: TextProcessor, settings: &Value) -> Result<TextProcessor, LoadError> {
    if settings.get("add_bos_token").is_none() && settings.get("add_eos_token").is_none() {
        return Ok(text);
    }
    let token = |flag: &str, key: &str, usual: &'static str| {
        let named = settings[key].as_str().or_else(|| settings[key]["content"].as_str());
        settings[flag].as_bool()?.then(|| named.unwrap_or(usual).to_owned())
    };
    let before = token("add_bos_token", "bos_token", "<s>");
    let behind = token("add_eos_token", "eos_token", "</s>");
    Ok(text.with_tokens_around(before.as_deref(), behind.as_deref())?)
}

/// Reads what makes pixel values of pictures, and checks that it is for this model.
///
/// # Errors
/// A file that is missing or makes no sense, by name.
pub(super) fn image_processor(files: &Files, config: &ModelConfig) -> Result<ImageProcessor, LoadError> {
    let image = ImageProcessor::from_json(&image_config(files)?)?;
    check_size(&image, config.vision().image_size)?;
    Ok(image)
}

fn bert_texts(files: &Files, config: TextConfig) -> Result<TextProcessor, LoadError> {
    let (vocabulary, settings) = bert_vocabulary(files, "")?;
    let json = wordpiece::tokenizer_json(vocabulary, &settings)?;
    Ok(TextProcessor::new(&json, config)?)
}

fn retrieval_texts(config: &Blip2Config) -> TextConfig {
    TextConfig {
        image_token: None,
        num_query_tokens: 0,
        caption_token: 0,
        vocab_size: config.qformer_config.vocab_size,
        form: PromptForm::Compared,
    }
}

fn blip_texts(config: &BlipConfig) -> TextConfig {
    TextConfig {
        image_token: None,
        num_query_tokens: 0,
        caption_token: config.text_config.bos_token_id,
        vocab_size: config.text_config.vocab_size,
        form: match config.task() {
            Task::Caption => PromptForm::Beginning,
            Task::Question => PromptForm::Question,
            Task::Match => PromptForm::Compared,
        },
    }
}

/// BERT's words and settings, as the reference rebuilds its tokenizer: the vocabulary of `tokenizer.json` or
/// `vocab.txt`, with `tokenizer_config.json`; in a folder of the checkpoint, whose name ends in a slash, or
/// beside the rest.
fn bert_vocabulary(files: &Files, folder: &str) -> Result<(Map<String, Value>, Value), LoadError> {
    let settings = read_json(files, &format!("{folder}tokenizer_config.json"))?.unwrap_or_default();
    let (json, lines) = (format!("{folder}tokenizer.json"), format!("{folder}{VOCABULARY}"));
    let vocabulary = match read_json(files, &json)? {
        Some(tokenizer) => wordpiece::vocabulary_of(&tokenizer)?,
        None if files.contains(&lines) => wordpiece::vocabulary_in(&files.read_text(&lines)?),
        // Reading what is not there names it.
        None => wordpiece::vocabulary_in(&files.read_text(&json)?),
    };
    Ok((vocabulary, settings))
}

/// The vision tower has a position for each patch of one size of picture, and of no other.
fn check_size(image: &ImageProcessor, side: usize) -> Result<(), LoadError> {
    match image.size {
        Some((TargetSize::Exact { height, width }, _)) if height == side && width == side => Ok(()),
        other => {
            let found = match other {
                Some((TargetSize::Exact { height, width }, _)) => format!("{width} x {height} pixels"),
                Some((TargetSize::ShortestEdge(_), _)) => "many sizes".into(),
                None => "any size".into(),
            };
            Err(LoadError::PictureSize { found, side })
        }
    }
}

fn image_config(files: &Files) -> Result<Value, CheckpointError> {
    if let Some(nested) = read_json(files, "processor_config.json")?
        .as_mut()
        .and_then(|config| config.get_mut("image_processor"))
        .map(Value::take)
    {
        return Ok(nested);
    }
    let file = "preprocessor_config.json";
    match read_json(files, file)? {
        Some(config) => Ok(config),
        // Reading what is not there names it.
        None => files.read(file).map(|_| Value::Null),
    }
}

fn read_json(files: &Files, file: &str) -> Result<Option<Value>, CheckpointError> {
    let Some(bytes) = files.read_if_present(file)? else {
        return Ok(None);
    };
    lenient_json::parse(&bytes)
        .map(Some)
        .map_err(|error| CheckpointError::Damaged {
            file: file.into(),
            reason: error.to_string(),
        })
}
