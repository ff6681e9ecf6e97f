//! Where captions are written: a sidecar a picture, or one file for all.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::caption_table::TableLines;
use super::folder::{Failure, Folder, write_whole};
use crate::processor::file_names::{is_named_as_picture, is_of_a_format_that_is_read};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Sidecar,
    #[value(name = "metadata.jsonl", alias = "jsonl", alias = "metadata")]
    MetadataJsonl,
    Csv,
}

/// How sidecars' names end, without the dot.
#[derive(Clone, Debug, PartialEq)]
pub struct Extension(String);

impl FromStr for Extension {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ending = text.trim_start_matches('.');
        let is_plain = ending
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if ending.is_empty() || !is_plain {
            return Err("use letters and digits, as in txt or caption");
        }
        if is_named_as_picture(&PathBuf::from("a").with_extension(ending)) {
            return Err("that is a picture's ending, and the caption would take its place");
        }
        Ok(Self(ending.to_owned()))
    }
}

/// How often one file for all is written, so that little is lost where a run is killed; less often where
/// writing takes long.
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// The captions of a folder.
pub enum CaptionFiles {
    Sidecars { folder: PathBuf, extension: String },
    Table(Table),
}

/// One file for all.
pub struct Table {
    path: PathBuf,
    lines: TableLines,
    is_saved: bool,
    saved: Instant,
    /// How long that took.
    took: Duration,
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be written: {error}. Check the folder's permissions and the disk.", path.display())]
pub struct NotWritten {
    path: PathBuf,
    error: io::Error,
    /// Whether it is that of all pictures.
    is_of_all: bool,
}

impl NotWritten {
    /// Whether no other picture's can be written either.
    pub fn is_the_end(&self) -> bool {
        self.is_of_all || matches!(self.error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
    }
}

impl CaptionFiles {
    /// Reads what is there.
    ///
    /// # Errors
    /// A file for all that cannot be read, or is no such file: it is not written over.
    pub fn open(folder: &Folder, format: Format, extension: Extension) -> Result<Self, String> {
        match format {
            Format::Sidecar => Ok(Self::Sidecars {
                folder: folder.path.clone(),
                extension: extension.0,
            }),
            Format::MetadataJsonl | Format::Csv => Table::open(&folder.path, format).map(Self::Table),
        }
    }

    /// The pictures that are to be captioned. Where two would share a sidecar, the first has it that may be read.
    pub fn without_caption(&self, pictures: &[String], overwrite: bool, failures: &mut Vec<Failure>) -> Vec<String> {
        let Self::Sidecars { folder, extension } = self else {
            return pictures
                .iter()
                .filter(|name| overwrite || !self.has(name))
                .cloned()
                .collect();
        };
        let mut owners: HashMap<PathBuf, &String> = HashMap::new();
        let mut todo = Vec::new();
        let sidecar_of = |name: &String| Path::new(name).with_extension(extension);
        // A phone keeps a.HEIC beside a.jpg.
        let is_read = |name: &&String| is_of_a_format_that_is_read(Path::new(name));
        for name in pictures.iter().filter(is_read) {
            owners.entry(sidecar_of(name)).or_insert(name);
        }
        for name in pictures {
            let sidecar = sidecar_of(name);
            let owner = *owners.entry(sidecar.clone()).or_insert(name);
            if owner != name {
                failures.push(Failure {
                    picture: folder.join(name).to_string_lossy().into_owned(),
                    reason: format!(
                        "its caption would be in {}, as that of {owner}. Rename one, or use --format metadata.jsonl.",
                        sidecar.display()
                    ),
                });
            } else if overwrite || !self.has(name) {
                todo.push(name.clone());
            }
        }
        todo
    }

    fn has(&self, name: &str) -> bool {
        match self {
            // An empty one is no caption, and a folder is none either.
            Self::Sidecars { folder, extension } => {
                let sidecar = fs::metadata(folder.join(name).with_extension(extension));
                sidecar.is_ok_and(|sidecar| sidecar.is_file() && sidecar.len() > 0)
            }
            Self::Table(table) => table.lines.has(name),
        }
    }

    /// Writes the captions of a picture, of which there is one at least.
    ///
    /// # Errors
    /// Nothing can be written there.
    pub fn write(&mut self, name: &str, captions: Vec<String>) -> Result<(), NotWritten> {
        match self {
            Self::Sidecars { folder, extension } => {
                let path = folder.join(name).with_extension(extension);
                let text = captions.join("\n") + "\n";
                write_whole(&path, |file| file.write_all(text.as_bytes())).map_err(|error| NotWritten {
                    path,
                    error,
                    is_of_all: false,
                })
            }
            Self::Table(table) => table.write(name, captions),
        }
    }

    /// Writes what has not been written yet.
    ///
    /// # Errors
    /// Nothing can be written there.
    pub fn save(&mut self) -> Result<(), NotWritten> {
        match self {
            Self::Sidecars { .. } => Ok(()),
            Self::Table(table) => table.save(),
        }
    }
}

impl Table {
    fn open(folder: &Path, format: Format) -> Result<Self, String> {
        let path = folder.join(if format == Format::Csv {
            "metadata.csv"
        } else {
            "metadata.jsonl"
        });
        let wrong = |reason: String| {
            format!(
                "{} is there already, and {reason}. Move it away, or mend it.",
                path.display()
            )
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(wrong(format!("cannot be read: {error}"))),
        };
        let lines = match format {
            Format::Csv => TableLines::of_csv(&text),
            _ => TableLines::of_json(&text),
        };
        Ok(Self {
            lines: lines.map_err(wrong)?,
            path,
            is_saved: true,
            saved: Instant::now(),
            took: Duration::ZERO,
        })
    }

    fn write(&mut self, name: &str, captions: Vec<String>) -> Result<(), NotWritten> {
        self.lines.put(name, captions);
        self.is_saved = false;
        match self.saved.elapsed() >= SAVE_EVERY.max(self.took * 20) {
            true => self.save(),
            false => Ok(()),
        }
    }

    fn save(&mut self) -> Result<(), NotWritten> {
        if self.is_saved {
            return Ok(());
        }
        let began = Instant::now();
        let written = write_whole(&self.path, |file| self.lines.write(file));
        written.map_err(|error| NotWritten {
            path: self.path.clone(),
            error,
            is_of_all: true,
        })?;
        (self.is_saved, self.saved, self.took) = (true, Instant::now(), began.elapsed());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_one_that_no_picture_has() {
        assert_eq!(".caption".parse(), Ok(Extension("caption".into())));
        for wrong in ["", ".", "a/b", "jpg", "PNG", "x.png"] {
            assert!(wrong.parse::<Extension>().is_err(), "{wrong}");
        }
    }
}
