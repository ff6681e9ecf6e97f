//! Where captions are written: a sidecar a picture, or one file for all.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::{Map, Value};

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

/// One file for all: its lines by picture.
pub struct Table {
    path: PathBuf,
    format: Format,
    lines: BTreeMap<String, String>,
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
            Self::Table(table) => table.lines.contains_key(name),
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
            Format::Csv => lines_of_csv(&text),
            _ => lines_of_json(&text),
        };
        Ok(Self {
            lines: lines.map_err(wrong)?,
            path,
            format,
            is_saved: true,
            saved: Instant::now(),
            took: Duration::ZERO,
        })
    }

    fn write(&mut self, name: &str, captions: Vec<String>) -> Result<(), NotWritten> {
        let line = match self.format {
            Format::Csv => {
                let lines = captions
                    .iter()
                    .map(|caption| format!("{},{}", quoted(name), quoted(caption)));
                lines.collect::<Vec<_>>().join("\n")
            }
            _ => {
                // Whatever else somebody wrote of it stays.
                let before = self.lines.get(name).and_then(|line| serde_json::from_str(line).ok());
                let mut line: Map<String, Value> = before.unwrap_or_default();
                line.insert("file_name".into(), name.into());
                line.insert("text".into(), captions[0].as_str().into());
                line.remove("texts");
                if captions.len() > 1 {
                    line.insert("texts".into(), captions.into());
                }
                Value::Object(line).to_string()
            }
        };
        self.lines.insert(name.to_owned(), line);
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
        let written = write_whole(&self.path, |file| {
            if self.format == Format::Csv {
                writeln!(file, "{CSV_HEADER}")?;
            }
            self.lines.values().try_for_each(|line| writeln!(file, "{line}"))
        });
        written.map_err(|error| NotWritten {
            path: self.path.clone(),
            error,
            is_of_all: true,
        })?;
        (self.is_saved, self.saved, self.took) = (true, Instant::now(), began.elapsed());
        Ok(())
    }
}

const CSV_HEADER: &str = "file_name,text";

fn lines_of_json(text: &str) -> Result<BTreeMap<String, String>, String> {
    let lines = text
        .trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let lines = lines.map(|(index, line)| {
        let value: Option<Value> = serde_json::from_str(line).ok();
        let name = value.as_ref().and_then(|value| value["file_name"].as_str());
        let name = name.ok_or_else(|| format!("line {} is no object with a `file_name`", index + 1))?;
        Ok((name.to_owned(), line.to_owned()))
    });
    lines.collect()
}

fn lines_of_csv(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    let mut records = csv_records(text).into_iter();
    let header = records.next().map(|(_, fields)| fields.join(","));
    if header.is_some_and(|header| header.trim_start_matches('\u{feff}') != CSV_HEADER) {
        return Err(format!("its first line is not {CSV_HEADER}"));
    }
    for (raw, fields) in records {
        let [name, _] = fields.as_slice() else {
            return Err(format!("a line has {} fields instead of 2", fields.len()));
        };
        let line = lines.entry(name.clone()).or_default();
        if !line.is_empty() {
            line.push('\n');
        }
        line.push_str(raw);
    }
    Ok(lines)
}

/// The records of a CSV text (RFC 4180), each with the text that it was.
fn csv_records(text: &str) -> Vec<(&str, Vec<String>)> {
    let (mut records, mut start) = (Vec::new(), 0);
    let (mut fields, mut field, mut in_quotes) = (Vec::new(), String::new(), false);
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' if in_quotes && letters.next_if(|(_, next)| *next == '"').is_some() => field.push('"'),
            '"' => in_quotes = !in_quotes,
            ',' if !in_quotes => fields.push(std::mem::take(&mut field)),
            '\r' if !in_quotes => {}
            '\n' if !in_quotes => {
                fields.push(std::mem::take(&mut field));
                records.push((text[start..at].trim_end_matches('\r'), std::mem::take(&mut fields)));
                start = at + 1;
            }
            other => field.push(other),
        }
    }
    if start < text.len() {
        fields.push(field);
        records.push((&text[start..], fields));
    }
    records.retain(|(raw, _)| !raw.is_empty());
    records
}

/// A field of a CSV file.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_csv_file_is_read_as_it_is_written() {
        let names = ["a.jpg", "b, \"c\"\n.jpg"];
        let line = |name: &str| format!("{},{}\r", quoted(name), quoted("say \"x\", he said"));
        let text = format!(
            "{CSV_HEADER}\r\n{}\n{}\n{}\n",
            line(names[0]),
            line(names[1]),
            line(names[0])
        );
        let lines = lines_of_csv(&text).expect("it is one");
        assert_eq!(lines.keys().collect::<Vec<_>>(), names);
        assert_eq!(lines[names[0]].lines().count(), 2);
        assert_eq!(lines_of_csv(""), Ok(BTreeMap::new()));
        assert!(lines_of_csv("image,text\n").is_err_and(|said| said.contains("first line")));
        assert!(lines_of_csv("file_name,text\na\n").is_err_and(|said| said.contains("1 fields")));
    }

    #[test]
    fn an_ending_is_one_that_no_picture_has() {
        assert_eq!(".caption".parse(), Ok(Extension("caption".into())));
        for wrong in ["", ".", "a/b", "jpg", "PNG", "x.png"] {
            assert!(wrong.parse::<Extension>().is_err(), "{wrong}");
        }
    }
}
