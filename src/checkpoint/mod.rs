//! Finding, checking and opening a checkpoint: a folder as Hugging Face lays it out,
//! or the small demo model that is part of the program.
//!
//! A checkpoint is opened in two steps, so that a wrong folder is refused before a byte
//! of weights is read: [`Checkpoint::open`] reads the small files and maps the weights,
//! [`crate::blip2::Blip2::load`] takes the tensors.

mod demo;
mod files;
mod weights;

use std::path::Path;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;

use crate::blip2::config::{Blip2Config, ConfigError};
use crate::blip2::processor::{ProcessorError, TextError};
use files::Files;
use weights::Weights;

/// Why a checkpoint cannot be used; each sentence names the file or tensor.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("There is no folder {0}. Name a folder with a BLIP-2 checkpoint, or leave --model out for the demo model.")]
    NoFolder(String),
    #[error("The checkpoint {folder} has no {file}. Download the whole checkpoint.")]
    MissingFile { folder: String, file: String },
    #[error("{file} cannot be read: {reason}. Check the file and its permissions.")]
    Unreadable { file: String, reason: String },
    #[error("{file} is damaged: {reason}. Download it again.")]
    Damaged { file: String, reason: String },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Picture(#[from] ProcessorError),
    #[error(
        "The picture processor's configuration makes pictures of {found}, and config.json asks for {side} x {side}. The files do not belong together: download them again."
    )]
    PictureSize { found: String, side: usize },
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(
        "The checkpoint {folder} holds its weights as pytorch_model.bin. Convert them to safetensors (in Python: load the model, then save_pretrained)."
    )]
    PickledWeights { folder: String },
    #[error(
        "The checkpoint {checkpoint} has no tensor {tensor}, which its config.json asks for. Download the checkpoint again."
    )]
    MissingTensor { checkpoint: String, tensor: String },
    #[error(
        "The tensor {tensor} of the checkpoint {checkpoint} has the shape {found}, and its config.json asks for {expected}. The files do not belong together: download them again."
    )]
    WrongShape {
        checkpoint: String,
        tensor: String,
        expected: String,
        found: String,
    },
    #[error("The weights of the checkpoint {checkpoint} cannot be loaded: {reason}. Download them again.")]
    Load { checkpoint: String, reason: String },
}

/// An opened checkpoint: its small files read, its weights mapped.
pub struct Checkpoint {
    name: String,
    is_demo: bool,
    files: Files,
    config: Blip2Config,
    weights: std::sync::Arc<Weights>,
}

impl Checkpoint {
    /// Opens a folder with an unmodified Hugging Face checkpoint.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            return Err(CheckpointError::NoFolder(folder.display().to_string()));
        }
        let name = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        let name = name
            .file_name()
            .map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into());
        Self::from_files(name, false, Files::Folder(folder.to_path_buf()))
    }

    /// Opens the demo model that is part of the program.
    pub fn demo() -> Result<Self, CheckpointError> {
        Self::from_files("glimpse-demo".into(), true, Files::Demo)
    }

    fn from_files(name: String, is_demo: bool, files: Files) -> Result<Self, CheckpointError> {
        let config = Blip2Config::from_json(&files.read_text("config.json")?)?;
        let weights = std::sync::Arc::new(Weights::open(&files)?);
        Ok(Self {
            name,
            is_demo,
            files,
            config,
            weights,
        })
    }

    /// What the checkpoint is called: the folder's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is the demo model that is part of the program.
    pub fn is_demo(&self) -> bool {
        self.is_demo
    }

    pub fn config(&self) -> &Blip2Config {
        &self.config
    }

    /// A small file of the checkpoint, by its name.
    pub fn read(&self, file: &str) -> Result<Vec<u8>, CheckpointError> {
        self.files.read(file)
    }

    /// As [`Checkpoint::read`], for a file that a checkpoint may lack.
    pub fn read_if_present(&self, file: &str) -> Result<Option<Vec<u8>>, CheckpointError> {
        if self.files.contains(file) {
            self.read(file).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The tensors by name, converted to `dtype` on `device` one at a time.
    pub fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        let weights = std::sync::Arc::clone(&self.weights);
        VarBuilder::from_backend(Box::new(weights::Backend(weights)), dtype, device.clone())
    }

    /// Puts what went wrong while loading into a sentence.
    pub fn explain(&self, error: candle_core::Error) -> CheckpointError {
        use candle_core::Error as E;
        let checkpoint = self.name.clone();
        match error {
            E::CannotFindTensor { path } => CheckpointError::MissingTensor {
                checkpoint,
                tensor: path,
            },
            E::UnexpectedShape { msg, expected, got } => CheckpointError::WrongShape {
                checkpoint,
                tensor: msg,
                expected: format!("{:?}", expected.dims()),
                found: format!("{:?}", got.dims()),
            },
            E::WithBacktrace { inner, .. } => self.explain(*inner),
            other => CheckpointError::Load {
                checkpoint,
                reason: other.to_string(),
            },
        }
    }
}
