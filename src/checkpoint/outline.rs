//! A checkpoint of which no more than the small files are here.

use super::files::{Files, Place};
use super::foreign;
use super::hub::{Settings, Snapshot};
use super::index::{INDEX_FILE, Index};
use super::source::Source;
use super::weights::{PICKLED_FILES, SINGLE_FILE};
use super::{Checkpoint, CheckpointError};
use crate::blip2::config::Blip2Config;

/// Small files that a checkpoint may have beside `config.json` and `tokenizer.json`.
const OPTIONAL_FILES: [&str; 4] = [
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
    "tokenizer_config.json",
];

/// A checkpoint that is found, its config read and sound, its weights not yet downloaded or
/// opened: the moment to see whether it is worth either.
pub struct Outline {
    name: String,
    is_demo: bool,
    files: Files,
    config: Blip2Config,
    /// Where the weights are still to come from.
    snapshot: Option<Snapshot>,
}

impl Outline {
    /// Finds the checkpoint; from the hub, its small files are downloaded.
    ///
    /// # Errors
    /// Nothing there, a hub that refuses, or a config that Glimpse cannot run.
    pub fn find(source: &Source) -> Result<Self, CheckpointError> {
        match source {
            Source::Demo => Self::read("glimpse-demo".into(), Files::demo(), None),
            Source::Folder(folder) => {
                let whole = folder.canonicalize().unwrap_or_else(|_| folder.clone());
                let shown = folder.display().to_string();
                let name = whole
                    .file_name()
                    .map_or_else(|| shown.clone(), |name| name.to_string_lossy().into());
                Self::read(name, Files::folder(folder.clone(), shown), None)
            }
            Source::Hub(id) => {
                let snapshot = Snapshot::find(id.clone(), Settings::from_env())?;
                snapshot.need("config.json")?;
                let files = Files::folder(snapshot.folder(), id.to_string());
                // Another family's repository is refused here, before anything more is downloaded.
                let outline = Self::read(id.to_string(), files, Some(snapshot))?;
                outline.fetch_small_files()?;
                Ok(outline)
            }
        }
    }

    fn read(name: String, files: Files, snapshot: Option<Snapshot>) -> Result<Self, CheckpointError> {
        if let Place::Folder(folder) = files.place() {
            foreign::check_folder(folder, &files.describe())?;
        }
        let config = files.read_text("config.json")?;
        foreign::check_config(&config, &files.describe())?;
        Ok(Self {
            is_demo: matches!(files.place(), Place::Demo),
            config: Blip2Config::from_json(&config)?,
            name,
            files,
            snapshot,
        })
    }

    fn fetch_small_files(&self) -> Result<(), CheckpointError> {
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        snapshot.need("tokenizer.json")?;
        for file in OPTIONAL_FILES {
            snapshot.want(file)?;
        }
        Ok(())
    }

    /// One file, or an index and its shards.
    fn fetch_weights(&self) -> Result<(), CheckpointError> {
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        // Where the index is in the cache already, there is no need to ask for a single file.
        if !snapshot.contains(INDEX_FILE) && snapshot.want(SINGLE_FILE)? {
            return Ok(());
        }
        if snapshot.want(INDEX_FILE)? {
            for shard in Index::parse(&self.files.read_text(INDEX_FILE)?)?.shards() {
                snapshot.need(&shard)?;
            }
            return Ok(());
        }
        for file in PICKLED_FILES {
            if snapshot.has(file)? {
                return Err(CheckpointError::PickledWeights {
                    checkpoint: self.name.clone(),
                });
            }
        }
        Err(snapshot.missing(SINGLE_FILE).into())
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn config(&self) -> &Blip2Config {
        &self.config
    }

    /// The folder with the files; the demo model has none.
    pub fn folder(&self) -> Option<&std::path::Path> {
        match self.files.place() {
            Place::Folder(folder) => Some(folder),
            Place::Demo => None,
        }
    }

    /// Downloads the weights, if need be, maps them, and checks their names and shapes.
    pub fn open(self) -> Result<Checkpoint, CheckpointError> {
        self.fetch_weights()?;
        Checkpoint::new(self.name, self.is_demo, self.files, self.config)
    }
}
