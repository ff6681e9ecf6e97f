//! Shards with the pictures that are kept: `key.jpg`, `key.txt` with a text a line, `key.json` with the row.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use super::names::{Dots, Names};
use super::{PictureWriter, ending_of, text_lines};
use crate::capfilt::CapfiltError;
use crate::capfilt::row::Row;

/// Writes a shard.
pub struct Shard<'w> {
    path: &'w Path,
    archive: tar::Builder<&'w mut BufWriter<File>>,
    names: Names,
}

impl<'w> Shard<'w> {
    pub fn new(path: &'w Path, file: &'w mut BufWriter<File>) -> Self {
        Self {
            path,
            archive: tar::Builder::new(file),
            names: Names::default(),
        }
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), CapfiltError> {
        // Nothing of who wrote it, or when: the same rows give the same bytes.
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        let added = self.archive.append_data(&mut header, name, bytes);
        added.map_err(|error| CapfiltError::unwritable(self.path, error))
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// The disk's.
    pub fn finish(&mut self) -> Result<(), CapfiltError> {
        self.archive
            .finish()
            .map_err(|error| CapfiltError::unwritable(self.path, error))
    }
}

impl PictureWriter for Shard<'_> {
    fn add(&mut self, row: &Row, picture: &[u8]) -> Result<(), CapfiltError> {
        let name = self.names.take(&row.key, Dots::None);
        let line = row.line().map_err(|error| CapfiltError::unwritable(self.path, error))?;
        self.file(&format!("{name}.{}", ending_of(picture)), picture)?;
        self.file(&format!("{name}.txt"), text_lines(row).as_bytes())?;
        self.file(&format!("{name}.json"), &line)
    }
}
