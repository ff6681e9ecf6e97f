//! Shards with the pictures that are kept: `key.jpg`, `key.txt` with a text a line, `key.json` with the row.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use crate::capfilt::CapfiltError;
use crate::capfilt::row::Row;

/// Writes a shard.
pub struct Shard<'w> {
    path: &'w Path,
    archive: tar::Builder<&'w mut BufWriter<File>>,
}

impl<'w> Shard<'w> {
    pub fn new(path: &'w Path, file: &'w mut BufWriter<File>) -> Self {
        Self {
            path,
            archive: tar::Builder::new(file),
        }
    }

    /// Adds a picture with what was kept of its texts.
    ///
    /// # Errors
    /// The disk's.
    pub fn add(&mut self, row: &Row, picture: &[u8]) -> Result<(), CapfiltError> {
        let name = name_of(&row.key);
        let choice = row.choice.clone().unwrap_or_default();
        let texts: Vec<String> = choice.texts.iter().map(|text| in_a_line(&text.text)).collect();
        let line = row.line().map_err(|error| CapfiltError::unwritable(self.path, error))?;
        self.file(&format!("{name}.{}", ending_of(picture)), picture)?;
        self.file(&format!("{name}.txt"), texts.join("\n").as_bytes())?;
        self.file(&format!("{name}.json"), &line)
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

fn in_a_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// A key as a name within an archive: below it, and without a dot, at which the name would end.
fn name_of(key: &str) -> String {
    let parts = key.split(['/', '\\']).filter(|part| !matches!(*part, "" | "." | ".."));
    let parts: Vec<String> = parts.map(|part| part.replace(['.', '\0'], "_")).collect();
    match parts.is_empty() {
        true => "_".into(),
        false => parts.join("/"),
    }
}

/// How a picture's name ends, by its first bytes.
fn ending_of(picture: &[u8]) -> &'static str {
    match picture {
        [0x89, b'P', b'N', b'G', ..] => "png",
        [b'R', b'I', b'F', b'F', ..] => "webp",
        [b'G', b'I', b'F', ..] => "gif",
        [b'B', b'M', ..] => "bmp",
        [b'I', b'I', ..] | [b'M', b'M', ..] => "tif",
        _ => "jpg",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_within_its_archive_and_has_no_dot() {
        for (key, name) in [
            ("000000012", "000000012"),
            ("a/b.c", "a/b_c"),
            ("../../etc/passwd", "etc/passwd"),
            ("/etc/x", "etc/x"),
            ("..", "_"),
        ] {
            assert_eq!(name_of(key), name);
        }
    }
}
