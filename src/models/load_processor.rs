//! The processor as a checkpoint describes it.

use serde_json::Value;

use super::{Checkpoint, LoadError};
use crate::checkpoint::{CheckpointError, Files};
use crate::processor::image_processor::TargetSize;
use crate::processor::{ImageProcessor, Processor, TextConfig, TextProcessor};

/// Reads `preprocessor_config.json` (or `image_processor` within `processor_config.json`,
/// where transformers 5 keeps it) and `tokenizer.json`.
///
/// # Errors
/// A file that is missing or makes no sense, by name.
pub(super) fn load(checkpoint: &Checkpoint) -> Result<Processor, LoadError> {
    let (files, config) = (checkpoint.files(), checkpoint.config());
    let text = TextProcessor::new(
        &files.read("tokenizer.json")?,
        TextConfig {
            image_token: config.image_token_index,
            num_query_tokens: config.num_query_tokens,
            caption_token: config.text_config.caption_token(),
            vocab_size: config.text_config.vocab_size(),
        },
    )?;
    let image = ImageProcessor::from_json(&image_config(files)?)?;
    check_size(&image, config.vision_config.image_size)?;
    Ok(Processor { image, text })
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
