//! A checkpoint of which no more than the small files are here.

use std::path::Path;
use std::sync::Arc;

use super::{Checkpoint, LoadError, ModelConfig, load_processor};
use crate::blip2::config::ModelClass;
use crate::checkpoint::{Files, Progress, Source};
use crate::processor::ImageProcessor;

/// A checkpoint that is found, its config read and sound, its weights not yet downloaded or
/// opened: the moment to see whether it is worth either.
pub struct CheckpointMetadata {
    files: Files,
    config: ModelConfig,
}

impl CheckpointMetadata {
    /// Finds the checkpoint; from the hub, its small files are downloaded.
    ///
    /// # Errors
    /// Nothing there, a hub that refuses, or a config that Glimpse cannot run.
    pub fn find(source: &Source, progress: Arc<dyn Progress>) -> Result<Self, LoadError> {
        let files = Files::find(source, progress)?;
        // Another family's repository is refused here, before anything more is downloaded.
        let config = ModelConfig::from_json(&files.read_config()?)?;
        let is_instructed = config
            .blip2()
            .is_some_and(|config| config.class() == ModelClass::InstructBlip);
        files.fetch_small_files(is_instructed)?;
        Ok(Self { files, config })
    }

    /// What the checkpoint is called: the folder's name, or its id on the hub.
    pub fn name(&self) -> &str {
        self.files.name()
    }

    /// `config.json`, which the weights are to be checked against.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The folder with the files; the demo model has none.
    pub fn folder(&self) -> Option<&Path> {
        self.files.folder()
    }

    /// Whether nothing is missing that Glimpse needs.
    pub fn is_complete(&self) -> bool {
        self.files.are_complete()
    }

    /// Whether it is the demo model that is part of the program.
    pub fn is_demo(&self) -> bool {
        self.files.is_demo()
    }

    /// What makes pixel values of pictures, by the checkpoint's small files.
    ///
    /// # Errors
    /// A file that is missing or makes no sense, by name.
    pub fn image_processor(&self) -> Result<ImageProcessor, LoadError> {
        load_processor::image_processor(&self.files, &self.config)
    }

    /// Downloads the weights, if need be, maps them, and checks their names and shapes.
    ///
    /// # Errors
    /// Files that are missing or damaged, or do not belong to the config.
    pub fn open(self) -> Result<Checkpoint, LoadError> {
        Checkpoint::new(self.files, self.config)
    }
}
