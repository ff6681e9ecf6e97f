//! Where the files of a checkpoint are, or can be had.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::foreign;
use super::hub::{HubError, HubId, HubSettings, Snapshot, listed_names};
use super::mapped::SINGLE_FILE;
use super::shard_index::{INDEX_FILE, Index};
use super::{CheckpointError, MappedTensors, Progress, Source, demo, ordinary_file, pickled};

/// Small files that a checkpoint may have beside `config.json` and `tokenizer.json`.
const OPTIONAL_FILES: [&str; 4] = [
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
    "tokenizer_config.json",
];

/// The folder of an InstructBLIP's second tokenizer, which its Q-Former reads texts with.
pub const QFORMER_TOKENIZER: &str = "qformer_tokenizer/";

/// What that folder may have.
const QFORMER_FILES: [&str; 3] = ["tokenizer.json", "tokenizer_config.json", "vocab.txt"];
/// The words of BERT's tokenizer, where there is no `tokenizer.json`.
pub const VOCABULARY: &str = "vocab.txt";

/// The files of one checkpoint.
pub struct Files {
    /// The folder's name, or the id on the hub.
    name: String,
    /// What the checkpoint is called in an error.
    shown: String,
    source: FileSource,
    /// Where files that are not here are still to come from.
    snapshot: Option<Snapshot>,
    progress: Arc<dyn Progress>,
}

pub(super) enum FileSource {
    /// A folder, of the user's or of the hub's cache.
    Folder(PathBuf),
    /// The demo model inside the program.
    Demo,
}

impl Files {
    /// Finds a checkpoint; of one on the hub, `config.json` is downloaded and nothing more.
    ///
    /// # Errors
    /// Nothing there, something else than a checkpoint, or a hub that refuses.
    pub fn find(source: &Source, progress: Arc<dyn Progress>) -> Result<Self, CheckpointError> {
        let (name, shown, source, snapshot) = match source {
            Source::Demo => ("glimpse-demo".into(), "the demo model".into(), FileSource::Demo, None),
            Source::Folder(folder) => {
                let whole = folder.canonicalize().unwrap_or_else(|_| folder.clone());
                let shown = folder.display().to_string();
                let name = whole.file_name().map(|name| name.to_string_lossy().into());
                let name = name.unwrap_or_else(|| shown.clone());
                (name, shown, FileSource::Folder(folder.clone()), None)
            }
            Source::Hub(id) => {
                let snapshot = find_on_hub(id, Arc::clone(&progress))?;
                let folder = FileSource::Folder(snapshot.folder());
                (id.to_string(), id.to_string(), folder, Some(snapshot))
            }
        };
        if let FileSource::Folder(folder) = &source {
            foreign::check_folder(folder, &shown)?;
        }
        Ok(Self {
            name,
            shown,
            source,
            snapshot,
            progress,
        })
    }

    /// What is in a folder, and nothing else.
    pub fn folder_called(folder: PathBuf, name: String) -> Self {
        Self {
            shown: name.clone(),
            name,
            source: FileSource::Folder(folder),
            snapshot: None,
            progress: super::progress::silent(),
        }
    }

    /// What the checkpoint is called: the folder's name, or its id on the hub.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is the demo model that is part of the program.
    pub fn is_demo(&self) -> bool {
        matches!(self.source, FileSource::Demo)
    }

    /// The folder with the files; the demo model has none.
    pub fn folder(&self) -> Option<&Path> {
        match &self.source {
            FileSource::Folder(folder) => Some(folder),
            FileSource::Demo => None,
        }
    }

    pub(super) fn source(&self) -> &FileSource {
        &self.source
    }

    /// Who hears of downloads and of loading.
    pub fn progress(&self) -> &dyn Progress {
        &*self.progress
    }

    /// What the checkpoint is called in an error.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether it is here; of a checkpoint on the hub, whether it was downloaded.
    pub fn contains(&self, file: &str) -> bool {
        match &self.source {
            // What is there and no ordinary file is refused where it is opened.
            FileSource::Folder(folder) => folder.join(file).exists(),
            FileSource::Demo => demo::file(file).is_some(),
        }
    }

    /// Whether no file is missing that a checkpoint must have.
    pub fn are_complete(&self) -> bool {
        let shards = |file: &'static str| Index::parse(file, &self.read_text(file).ok()?).ok();
        let has_all = |index: Index| index.shards().iter().all(|shard| self.contains(shard));
        ["tokenizer.json", VOCABULARY].iter().any(|file| self.contains(file))
            && ["preprocessor_config.json", "processor_config.json"]
                .iter()
                .any(|file| self.contains(file))
            && ([SINGLE_FILE, pickled::SINGLE_FILE]
                .iter()
                .any(|file| self.contains(file))
                || [INDEX_FILE, pickled::INDEX_FILE]
                    .into_iter()
                    .filter_map(shards)
                    .any(has_all))
    }

    /// A small file of the checkpoint, by its name.
    pub fn read(&self, file: &str) -> Result<Vec<u8>, CheckpointError> {
        if !self.contains(file) {
            return Err(self.missing(file));
        }
        match &self.source {
            FileSource::Folder(folder) => {
                let mut bytes = Vec::new();
                let read = ordinary_file::open(&folder.join(file)).and_then(|mut file| file.read_to_end(&mut bytes));
                read.map(|_| bytes).map_err(|error| CheckpointError::Unreadable {
                    file: file.into(),
                    reason: error.to_string(),
                })
            }
            FileSource::Demo => demo::file(file).map(<[u8]>::to_vec).ok_or_else(|| self.missing(file)),
        }
    }

    /// As [`Files::read`], for a file that a checkpoint may lack.
    pub fn read_if_present(&self, file: &str) -> Result<Option<Vec<u8>>, CheckpointError> {
        if self.contains(file) {
            self.read(file).map(Some)
        } else {
            Ok(None)
        }
    }

    /// As [`Files::read`], of a file that is text.
    pub fn read_text(&self, file: &str) -> Result<String, CheckpointError> {
        String::from_utf8(self.read(file)?).map_err(|_| CheckpointError::Damaged {
            file: file.into(),
            reason: "it is not text".into(),
        })
    }

    /// The config, which is `config.json` wherever it comes from.
    ///
    /// # Errors
    /// It cannot be read, or says that the weights were quantised by another program.
    pub fn read_config(&self) -> Result<String, CheckpointError> {
        let config = self.read_text("config.json")?;
        foreign::check_config(&config, &self.shown)?;
        Ok(config)
    }

    pub(super) fn missing(&self, file: &str) -> CheckpointError {
        CheckpointError::MissingFile {
            checkpoint: self.shown.clone(),
            file: file.into(),
        }
    }

    /// Downloads what is still to come, but for the weights.
    ///
    /// # Errors
    /// A hub that refuses.
    pub fn fetch_small_files(&self, with_qformer_tokenizer: bool) -> Result<(), CheckpointError> {
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        // BERT's tokenizer may be there as its words alone.
        if !snapshot.want("tokenizer.json")? && !snapshot.want(VOCABULARY)? {
            return Err(snapshot.missing("tokenizer.json").into());
        }
        for file in OPTIONAL_FILES {
            snapshot.want(file)?;
        }
        if with_qformer_tokenizer {
            for file in QFORMER_FILES {
                snapshot.want(&format!("{QFORMER_TOKENIZER}{file}"))?;
            }
        }
        Ok(())
    }

    /// Downloads the weights, if need be, and maps them, reading no more than their headers.
    pub fn open_tensors(&self) -> Result<MappedTensors, CheckpointError> {
        self.fetch_weights()?;
        let tensors = MappedTensors::open(self)?;
        foreign::check_tensors(tensors.names(), &self.name)?;
        Ok(tensors)
    }

    /// One file, or an index and its shards.
    fn fetch_weights(&self) -> Result<(), CheckpointError> {
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        for (single_file, index_file) in [(SINGLE_FILE, INDEX_FILE), (pickled::SINGLE_FILE, pickled::INDEX_FILE)] {
            // Where the index is in the cache already, there is no need to ask for a single file.
            if !snapshot.contains(index_file) && snapshot.want(single_file)? {
                return Ok(());
            }
            if snapshot.want(index_file)? {
                for shard in Index::parse(index_file, &self.read_text(index_file)?)?.shards() {
                    snapshot.need(&shard)?;
                }
                return Ok(());
            }
        }
        Err(snapshot.missing(SINGLE_FILE).into())
    }
}

/// A repository's commit, with its `config.json`; what has none is named for what it is.
fn find_on_hub(id: &HubId, progress: Arc<dyn Progress>) -> Result<Snapshot, CheckpointError> {
    let settings = HubSettings::from_env();
    let found = Snapshot::find(id.clone(), settings.clone(), progress);
    let found = found.and_then(|snapshot| snapshot.need("config.json").map(|()| snapshot));
    if let Err(HubError::NoFile { .. }) = &found {
        foreign::check_names(&listed_names(id, &settings), &id.to_string())?;
    }
    Ok(found?)
}
