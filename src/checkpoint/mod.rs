//! Finding, downloading, checking and opening a checkpoint: a folder as Hugging Face lays it
//! out, a repository on the hub, or the small demo model that is part of the program.
//!
//! A checkpoint is opened in three steps, so that a wrong one is refused as early as can be:
//!
//! 1. [`Outline::find`] has the small files and a sound config, and [`memory`] says what
//!    that model needs;
//! 2. [`Outline::open`] downloads the weights, maps them, and checks the tensors' names and
//!    shapes against the [`inventory`], all from the files' headers;
//! 3. [`crate::blip2::Blip2::load`] takes the tensors.

mod cached;
mod demo;
mod error;
mod files;
mod fit;
mod foreign;
pub mod hub;
mod index;
pub mod inventory;
mod known;
mod load;
pub mod machine;
pub mod memory;
mod outline;
pub mod progress;
mod source;
mod weights;

use std::path::Path;
use std::sync::Arc;

use crate::blip2::config::Blip2Config;
pub use cached::{Cached, cached};
pub use error::CheckpointError;
use files::Files;
pub use fit::{LimitOrigin, MemoryLimit, TooLarge};
use inventory::{HEAD, inventory};
pub use known::{Known, known, language_model};
pub use load::{StoredMatrix, Tensors};
pub use outline::Outline;
use progress::Progress;
pub use source::Source;
use weights::Weights;

/// An opened checkpoint: its small files read, its weights mapped and their shapes checked.
pub struct Checkpoint {
    name: String,
    is_demo: bool,
    files: Files,
    config: Blip2Config,
    weights: Arc<Weights>,
}

impl Checkpoint {
    /// Opens a folder with an unmodified Hugging Face checkpoint.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            return Err(CheckpointError::NoFolder(folder.display().to_string()));
        }
        Outline::find(&Source::Folder(folder.into()))?.open()
    }

    /// Opens the demo model that is part of the program.
    pub fn demo() -> Result<Self, CheckpointError> {
        Outline::find(&Source::Demo)?.open()
    }

    fn new(name: String, is_demo: bool, files: Files, config: Blip2Config) -> Result<Self, CheckpointError> {
        let weights = Weights::open(&files)?;
        foreign::check_tensors(weights.names(), &name)?;
        weights.check(&name, &inventory(&config, weights.contains(HEAD)))?;
        Ok(Self {
            name,
            is_demo,
            files,
            config,
            weights: Arc::new(weights),
        })
    }

    /// What the checkpoint is called: the folder's name, or its id on the hub.
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

    /// Whether the file holds a head of the language model's own.
    pub fn has_head(&self) -> bool {
        self.weights.contains(HEAD)
    }

    /// Bytes of the model's tensors in the files.
    pub fn stored_bytes(&self) -> u64 {
        self.weights.stored_bytes(&inventory(&self.config, self.has_head()))
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

    /// The tensors by name, to be converted onto a device one at a time.
    pub fn tensors(&self) -> Tensors {
        let progress = Progress::new(format!("loading {}", self.name), self.stored_bytes());
        Tensors::new(Arc::clone(&self.weights), progress)
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
