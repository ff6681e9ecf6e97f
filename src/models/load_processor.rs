//! The processor as a checkpoint describes it.

use serde_json::Value;

use super::{Checkpoint, LoadError};
use crate::blip2::config::{LanguageModelConfig, ModelClass};
use crate::checkpoint::{CheckpointError, Files, QFORMER_TOKENIZER};
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
        text = text.with_instructions(InstructionReader {
            tokenizer: bert_tokenizer(files, QFORMER_TOKENIZER)?,
            max_tokens: config.qformer_config.max_position_embeddings,
        });
    }
    let image = image_processor(checkpoint)?;
    Ok(Processor { image, text })
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

/// What stands before a model that compares texts and pictures.
///
/// # Errors
/// As for [`load`].
pub(super) fn load_matching(checkpoint: &Checkpoint) -> Result<(ImageProcessor, BertTokenizer), LoadError> {
    Ok((image_processor(checkpoint)?, bert_tokenizer(checkpoint.files(), "")?))
}

fn image_processor(checkpoint: &Checkpoint) -> Result<ImageProcessor, LoadError> {
    let image = ImageProcessor::from_json(&image_config(checkpoint.files())?)?;
    check_size(&image, checkpoint.config().vision_config.image_size)?;
    Ok(image)
}

/// The Q-Former's tokenizer: in a folder of the checkpoint, whose name ends in a slash, or beside the rest.
fn bert_tokenizer(files: &Files, folder: &str) -> Result<BertTokenizer, LoadError> {
    let settings = read_json(files, &format!("{folder}tokenizer_config.json"))?.unwrap_or_default();
    let (json, lines) = (format!("{folder}tokenizer.json"), format!("{folder}vocab.txt"));
    let vocabulary = match read_json(files, &json)? {
        Some(tokenizer) => wordpiece::vocabulary_of(&tokenizer)?,
        None if files.contains(&lines) => wordpiece::vocabulary_in(&files.read_text(&lines)?),
        // Reading what is not there names it.
        None => wordpiece::vocabulary_in(&files.read_text(&json)?),
    };
    Ok(BertTokenizer::new(vocabulary, &settings)?)
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
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| CheckpointError::Damaged {
            file: file.into(),
            reason: error.to_string(),
        })
}
