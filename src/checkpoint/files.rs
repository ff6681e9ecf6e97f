//! Where the files of a checkpoint come from.

use std::path::PathBuf;

use super::{CheckpointError, demo};

/// The files of one checkpoint.
pub enum Files {
    Folder(PathBuf),
    /// The demo model inside the program.
    Demo,
}

impl Files {
    /// What the collection is called in an error.
    pub fn describe(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Demo => "the demo model".into(),
        }
    }

    pub fn contains(&self, file: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.join(file).is_file(),
            Self::Demo => demo::file(file).is_some(),
        }
    }

    pub fn read(&self, file: &str) -> Result<Vec<u8>, CheckpointError> {
        if !self.contains(file) {
            return Err(self.missing(file));
        }
        match self {
            Self::Folder(folder) => std::fs::read(folder.join(file)).map_err(|error| CheckpointError::Unreadable {
                file: file.into(),
                reason: error.to_string(),
            }),
            Self::Demo => demo::file(file).map(<[u8]>::to_vec).ok_or_else(|| self.missing(file)),
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
            folder: self.describe(),
            file: file.into(),
        }
    }
}
