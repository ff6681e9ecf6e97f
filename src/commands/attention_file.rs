//! What an answer looked at, in a file for other programs.

use std::io;
use std::path::{Path, PathBuf};

use super::UsageError;
use super::folder::write_whole;
use crate::models::AnswerAttention;

/// A file that is to be written.
pub struct AttentionFile {
    path: PathBuf,
}

impl AttentionFile {
    /// Where the name was forgotten, the picture stands in its place; what cannot be written is told before
    /// a model is loaded.
    ///
    /// # Errors
    /// The name ends otherwise, is a folder's, or there is no folder for it.
    pub fn new(path: &Path) -> Result<Self, UsageError> {
        let ending = path.extension().unwrap_or_default();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let why = if !ending.eq_ignore_ascii_case("safetensors") {
            "and what is written ends in .safetensors. Name a file that does, as looked.safetensors."
        } else if path.is_dir() {
            "which is a folder. Name a file in it."
        } else if folder.is_some_and(|folder| !folder.is_dir()) {
            "and there is no such folder. Make it, or name another."
        } else {
            return Ok(Self { path: path.to_owned() });
        };
        Err(UsageError(format!(
            "--attention (GLIMPSE_ATTENTION) is {}, {why}",
            path.display()
        )))
    }

    /// Writes the attention of an answer: `layer.N`, `weights` and `maps`.
    ///
    /// # Errors
    /// The folder cannot be written to, or the disk is full.
    pub fn write(&self, attention: &AnswerAttention) -> Result<(), String> {
        let layers = attention.layers.iter().enumerate();
        let layers = layers.map(|(index, layer)| (format!("layer.{index}"), layer));
        let of_tokens = [("weights", &attention.weights), ("maps", &attention.maps)];
        let of_tokens = of_tokens.map(|(name, tensor)| (name.to_owned(), tensor));
        let file = safetensors::serialize(layers.chain(of_tokens), None).map_err(io::Error::other);
        let written = file.and_then(|file| write_whole(&self.path, |writer| writer.write_all(&file)));
        written.map_err(|error| {
            let shown = self.path.display();
            format!("{shown} cannot be written: {error}. Check the folder's permissions and the disk.")
        })
    }
}
