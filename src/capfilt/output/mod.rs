//! Rows in all their forms.

pub mod coco;
pub mod folder;
mod names;
pub mod parquet;
mod table;
pub mod webdataset;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::str::FromStr;

use super::CapfiltError;
use super::input::{Form, Unit, is_coco};
use super::row::Row;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputForm {
    JsonLines,
    Json,
    /// COCO's captions, of what is kept.
    Coco,
    Csv,
    Tsv,
    Parquet,
    /// Shards with the pictures that are kept, their texts and their rows.
    Webdataset,
    /// Folders with the same, and all rows as JSON lines beside each.
    Folder,
}

impl OutputForm {
    /// The form of an input.
    pub(super) fn of(unit: &Unit) -> Self {
        match unit.form {
            Form::Folder => Self::Folder,
            Form::JsonLines => Self::JsonLines,
            Form::Json if is_coco(&unit.path) => Self::Coco,
            Form::Json => Self::Json,
            Form::Table(b'\t') => Self::Tsv,
            Form::Table(_) => Self::Csv,
            Form::Parquet => Self::Parquet,
            Form::Tar => Self::Webdataset,
        }
    }

    /// How the names of files of rows end.
    pub fn ending(self) -> &'static str {
        match self {
            Self::JsonLines | Self::Folder => "jsonl",
            Self::Json | Self::Coco => "json",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Parquet => "parquet",
            Self::Webdataset => "tar",
        }
    }

    /// Whether it has a column for each field, which have to be known before the first row.
    pub(super) fn has_columns(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv | Self::Parquet)
    }
}

impl FromStr for OutputForm {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "jsonl" => Self::JsonLines,
            "json" => Self::Json,
            "coco" => Self::Coco,
            "csv" => Self::Csv,
            "tsv" => Self::Tsv,
            "parquet" => Self::Parquet,
            "webdataset" | "tar" => Self::Webdataset,
            "folder" | "files" => Self::Folder,
            _ => return Err("use jsonl, json, coco, csv, tsv, parquet, webdataset or folder"),
        })
    }
}

/// What the values of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    Bool,
    Integer,
    Float,
    Text,
    /// Objects, lists, or different things.
    Other,
}

/// The fields of rows besides their own, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// `None` where all values were null.
    pub fields: BTreeMap<String, Option<FieldType>>,
    /// Whether something was decided of them.
    pub is_selected: bool,
}

impl Columns {
    /// Learns of a row.
    pub fn see(&mut self, row: &Row) {
        self.is_selected |= row.choice.is_some();
        for (name, value) in &row.fields {
            let kind = match value {
                serde_json::Value::Null => None,
                serde_json::Value::Bool(_) => Some(FieldType::Bool),
                serde_json::Value::Number(number) if number.is_i64() => Some(FieldType::Integer),
                serde_json::Value::Number(_) => Some(FieldType::Float),
                serde_json::Value::String(_) => Some(FieldType::Text),
                _ => Some(FieldType::Other),
            };
            let known = self.fields.get(name).copied().flatten();
            let both = match (known, kind) {
                (None, kind) => kind,
                (known, None) => known,
                (Some(known), Some(kind)) if known == kind => Some(kind),
                (Some(FieldType::Integer | FieldType::Float), Some(FieldType::Integer | FieldType::Float)) => {
                    Some(FieldType::Float)
                }
                _ => Some(FieldType::Other),
            };
            self.fields.insert(name.clone(), both);
        }
    }
}

/// Writes rows to a file, in order.
pub trait RowWriter {
    /// A row, and the line that it is in JSON lines.
    ///
    /// # Errors
    /// The disk's.
    fn write(&mut self, row: Row, line: &[u8]) -> Result<(), CapfiltError>;

    /// What stands behind the last one.
    ///
    /// # Errors
    /// The disk's.
    fn finish(&mut self) -> Result<(), CapfiltError>;
}

/// Writes pictures that are kept, in order.
pub trait PictureWriter {
    /// A picture's bytes, with its row.
    ///
    /// # Errors
    /// The disk's.
    fn add(&mut self, row: &Row, picture: &[u8]) -> Result<(), CapfiltError>;
}

/// The kept texts of a row, a line each.
fn text_lines(row: &Row) -> String {
    let texts = row.choice.iter().flat_map(|choice| &choice.texts);
    let lines: Vec<String> = texts.map(|text| text.text.replace(['\n', '\r'], " ")).collect();
    lines.join("\n")
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

/// What writes rows of this form, which is none that has pictures, and not COCO's.
///
/// # Errors
/// The disk's.
pub fn writer<'w>(
    form: OutputForm,
    path: &'w Path,
    file: &'w mut BufWriter<File>,
    columns: Columns,
) -> Result<Box<dyn RowWriter + 'w>, CapfiltError> {
    Ok(match form {
        OutputForm::Json => Box::new(List {
            path,
            file,
            is_first: true,
        }),
        OutputForm::Csv => Box::new(table::Table::new(path, file, b',', columns)?),
        OutputForm::Tsv => Box::new(table::Table::new(path, file, b'\t', columns)?),
        OutputForm::Parquet => Box::new(parquet::Writer::new(path, file, columns)?),
        OutputForm::JsonLines | OutputForm::Webdataset | OutputForm::Folder | OutputForm::Coco => {
            Box::new(Lines { path, file })
        }
    })
}

struct Lines<'w> {
    path: &'w Path,
    file: &'w mut BufWriter<File>,
}

impl RowWriter for Lines<'_> {
    fn write(&mut self, _: Row, line: &[u8]) -> Result<(), CapfiltError> {
        let written = self.file.write_all(line);
        written.map_err(|error| CapfiltError::unwritable(self.path, error))
    }

    fn finish(&mut self) -> Result<(), CapfiltError> {
        Ok(())
    }
}

/// A JSON list, a row a line.
struct List<'w> {
    path: &'w Path,
    file: &'w mut BufWriter<File>,
    is_first: bool,
}

impl RowWriter for List<'_> {
    fn write(&mut self, _: Row, line: &[u8]) -> Result<(), CapfiltError> {
        let before: &[u8] = if self.is_first { b"[\n" } else { b",\n" };
        self.is_first = false;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let written = self.file.write_all(before).and_then(|()| self.file.write_all(line));
        written.map_err(|error| CapfiltError::unwritable(self.path, error))
    }

    fn finish(&mut self) -> Result<(), CapfiltError> {
        let end: &[u8] = if self.is_first { b"[]\n" } else { b"\n]\n" };
        let written = self.file.write_all(end);
        written.map_err(|error| CapfiltError::unwritable(self.path, error))
    }
}
