//! The processor as a checkpoint describes it.

use serde_json::Value;

use super::{Checkpoint, LoadError, ModelConfig};
use crate::blip::config::{BlipConfig, Task};
use crate::checkpoint::{CheckpointError, Files, lenient_json};
use crate::processor::image_processor::TargetSize;
use crate::processor::{ImageProcessor, Processor, PromptForm, TextConfig, TextProcessor, wordpiece};

/// Reads `preprocessor_config.json` (or `image_processor` within `processor_config.json`,
/// where transformers 5 keeps it) and `tokenizer.json`.
///
/// # Errors
/// A file that is missing or makes no sense, by name.
pub(super) fn load(checkpoint: &Checkpoint) -> Result<Processor, LoadError> {
    let (files, config) = (checkpoint.files(), checkpoint.config());
    let text = match config {
        ModelConfig::Blip2(config) => TextProcessor::new(
            &files.read("tokenizer.json")?,
            TextConfig {
                image_token: config.image_token_index,
                num_query_tokens: config.num_query_tokens,
                caption_token: config.text_config.caption_token(),
                vocab_size: config.text_config.vocab_size(),
                form: PromptForm::Conversation,
            },
        )?,
        ModelConfig::Blip(config) => TextProcessor::new(&bert_tokenizer(files)?, blip_texts(config))?,
    };
    let image = ImageProcessor::from_json(&image_config(files)?)?;
    check_size(&image, config.vision().image_size)?;
    Ok(Processor { image, text })
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

/// BERT's tokenizer as the reference rebuilds it: the vocabulary of `tokenizer.json`, or `vocab.txt`, with
/// the settings of `tokenizer_config.json`.
fn bert_tokenizer(files: &Files) -> Result<Vec<u8>, LoadError> {
    let settings = read_json(files, "tokenizer_config.json")?.unwrap_or_default();
    let vocabulary = match read_json(files, "tokenizer.json")? {
        Some(tokenizer) => wordpiece::vocabulary_of(&tokenizer)?,
        None if files.contains("vocab.txt") => wordpiece::vocabulary_in(&files.read_text("vocab.txt")?),
        // Reading what is not there names it.
        None => wordpiece::vocabulary_in(&files.read_text("tokenizer.json")?),
    };
    Ok(wordpiece::tokenizer_json(vocabulary, &settings)?)
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
