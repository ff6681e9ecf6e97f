//! What `--model` names: a folder, a repository on the hub, or nothing for the demo model.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::CheckpointError;
use super::foreign;
use super::hub::HubId;

/// Where a checkpoint is to come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The demo model inside the program.
    Demo,
    /// A folder as Hugging Face lays it out.
    Folder(PathBuf),
    /// A repository on the hub.
    Hub(HubId),
}

impl FromStr for Source {
    type Err = CheckpointError;

    /// An existing folder is that folder, whatever its name looks like. Anything else that
    /// reads `owner/name` or `owner/name@revision` is a repository on the hub.
    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        if Path::new(text).is_dir() {
            return Ok(Self::Folder(text.into()));
        }
        if let Some(error) = foreign::of_file(text) {
            return Err(error);
        }
        match HubId::parse(text) {
            Some(id) => Ok(Self::Hub(id)),
            None => Err(CheckpointError::NoFolder(text.into())),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Demo => f.write_str("the demo model"),
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Hub(id) => id.fmt(f),
        }
    }
}
