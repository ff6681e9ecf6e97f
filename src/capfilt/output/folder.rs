//! A folder with the pictures that are kept, and their texts in files beside them: `key.jpg`, `key.txt` with a
//! text a line, `key.json` with the row.

use std::fs;
use std::path::{Path, PathBuf};

use super::names::{Dots, Names};
use super::{PictureWriter, ending_of, text_lines};
use crate::capfilt::row::Row;
use crate::capfilt::{CapfiltError, whole_file};

/// A folder that is being written, under another name until it is whole.
pub struct Folder {
    path: PathBuf,
    partial: PathBuf,
    names: Names,
}

/// Says that a folder was written here, so that it may be written again.
const MARK: &str = ".capfilt";

impl Folder {
    /// Begins a folder.
    ///
    /// # Errors
    /// There is one of this name that somebody else wrote, or the disk's.
    pub fn begin(path: &Path) -> Result<Self, CapfiltError> {
        let folder = Self {
            path: path.to_path_buf(),
            partial: whole_file::partial(path),
            names: Names::default(),
        };
        if path.exists() && !path.join(MARK).is_file() {
            return Err(CapfiltError::OthersFolder {
                folder: folder.path.clone(),
            });
        }
        // Of a run that was interrupted.
        if folder.partial.exists() {
            folder.done(fs::remove_dir_all(&folder.partial))?;
        }
        folder.done(fs::create_dir_all(&folder.partial))?;
        folder.file(MARK, b"")?;
        Ok(folder)
    }

    fn done<T>(&self, result: std::io::Result<T>) -> Result<T, CapfiltError> {
        result.map_err(|error| CapfiltError::unwritable(&self.path, error))
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Result<(), CapfiltError> {
        let path = self.partial.join(name);
        if let Some(folder) = path.parent() {
            self.done(fs::create_dir_all(folder))?;
        }
        self.done(fs::write(path, bytes))
    }

    /// Gives the folder its name, in the place of what an earlier run wrote.
    ///
    /// # Errors
    /// The disk's.
    pub fn finish(self) -> Result<(), CapfiltError> {
        if self.path.exists() {
            self.done(fs::remove_dir_all(&self.path))?;
        }
        self.done(fs::rename(&self.partial, &self.path))
    }
}

impl PictureWriter for Folder {
    fn add(&mut self, row: &Row, picture: &[u8]) -> Result<(), CapfiltError> {
        let name = self.names.take(&row.key, Dots::Within);
        let line = row
            .line()
            .map_err(|error| CapfiltError::unwritable(&self.path, error))?;
        self.file(&format!("{name}.{}", ending_of(picture)), picture)?;
        self.file(&format!("{name}.txt"), text_lines(row).as_bytes())?;
        self.file(&format!("{name}.json"), &line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_whole_or_absent_and_nobody_elses_is_touched() -> Result<(), Box<dyn std::error::Error>> {
        let place = tempfile::tempdir()?;
        let path = place.path().join("00000");
        let row = |key: &str| Row {
            key: key.into(),
            ..Row::default()
        };
        let mut folder = Folder::begin(&path)?;
        folder.add(&row("a/b"), b"\x89PNG")?;
        assert!(!path.exists());
        drop(folder);
        let mut folder = Folder::begin(&path)?;
        folder.add(&row("c"), b"jpeg")?;
        folder.finish()?;
        assert!(path.join("c.jpg").is_file() && path.join("c.json").is_file() && !path.join("a").exists());
        // Written again.
        Folder::begin(&path)?.finish()?;
        assert!(!path.join("c.jpg").exists());
        let others = place.path().join("others");
        fs::create_dir(&others)?;
        fs::write(others.join("a.jpg"), b"mine")?;
        assert!(matches!(Folder::begin(&others), Err(CapfiltError::OthersFolder { .. })));
        assert!(others.join("a.jpg").is_file());
        Ok(())
    }
}
