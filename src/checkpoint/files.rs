//! Where the files of a checkpoint are.

use std::path::PathBuf;

use super::{CheckpointError, demo};

/// The files of one checkpoint.
pub struct Files {
    place: Place,
    /// What the checkpoint is called in an error.
    name: String,
}

pub enum Place {
    /// A folder, of the user's or of the hub's cache.
    Folder(PathBuf),
    /// The demo model inside the program.
    Demo,
}

impl Files {
    pub fn demo() -> Self {
        Self {
            place: Place::Demo,
            name: "the demo model".into(),
        }
    }

    pub fn folder(folder: PathBuf, name: String) -> Self {
        Self {
            place: Place::Folder(folder),
            name,
        }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What the collection is called in an error.
    pub fn describe(&self) -> String {
        self.name.clone()
    }

    pub fn contains(&self, file: &str) -> bool {
        match &self.place {
            Place::Folder(folder) => folder.join(file).is_file(),
            Place::Demo => demo::file(file).is_some(),
        }
    }

    pub fn read(&self, file: &str) -> Result<Vec<u8>, CheckpointError> {
        if !self.contains(file) {
            return Err(self.missing(file));
        }
        match &self.place {
            Place::Folder(folder) => std::fs::read(folder.join(file)).map_err(|error| CheckpointError::Unreadable {
                file: file.into(),
                reason: error.to_string(),
            }),
            Place::Demo => demo::file(file).map(<[u8]>::to_vec).ok_or_else(|| self.missing(file)),
        }
    }

    pub fn read_text(&self, file: &str) -> Result<String, CheckpointError> {
        String::from_utf8(self.read(file)?).map_err(|_| CheckpointError::Damaged {
            file: file.into(),
            reason: "it is not text".into(),
        })
    }

    pub fn missing(&self, file: &str) -> CheckpointError {
        CheckpointError::MissingFile {
            checkpoint: self.describe(),
            file: file.into(),
        }
    }
}
