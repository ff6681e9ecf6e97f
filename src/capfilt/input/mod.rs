//! Pairs of pictures and texts in all their forms, as a stream of samples. Nothing is held but the sample
//! that is read, so that an input may be of any size.
//!
//! [`units`] finds the files; each form has a file here: [`folder`], [`lines`] (JSON lines), [`json`] (a
//! list, or COCO's captions), [`table`] (CSV and TSV), [`parquet`], [`archive`] (webdataset's shards).
//! [`record`] makes samples of what the four in the middle have: objects.

mod archive;
mod bounded;
mod folder;
mod json;
mod lines;
mod parquet;
mod pattern;
mod record;
mod table;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::CapfiltError;
use crate::processor::file_names::is_named_as_picture;

/// A picture with its text, not read yet.
#[derive(Debug)]
pub struct Sample {
    /// What it is called: its name, its id, or its place in the input.
    pub key: String,
    /// The web's text; empty where there is none.
    pub text: String,
    pub picture: PictureSource,
    /// What else the input says of it.
    pub fields: Map<String, Value>,
}

impl Sample {
    /// Of something that is no pair.
    fn broken(key: String, reason: String) -> Self {
        Self {
            key,
            text: String::new(),
            picture: PictureSource::None(reason),
            fields: Map::new(),
        }
    }
}

/// Where a picture's bytes are.
#[derive(Debug)]
pub enum PictureSource {
    /// They are here.
    Bytes(Vec<u8>),
    File(PathBuf),
    /// An http(s) address.
    Address(String),
    /// Nowhere, for this reason.
    None(String),
}

/// How pairs are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Folder,
    JsonLines,
    Json,
    /// With this between columns.
    Table(u8),
    Parquet,
    Tar,
}

/// A file or a folder of pairs.
#[derive(Clone, Debug)]
pub struct Unit {
    pub path: PathBuf,
    pub form: Form,
    /// The file's name without its ending.
    pub name: String,
}

/// How a unit is read.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Where the names of pictures begin; else where the file is.
    pub picture_folder: Option<PathBuf>,
    /// Most bytes of a picture's file.
    pub max_bytes: usize,
}

/// Takes a sample, and how far the reader is, of [`Unit::extent`]; says whether there should be more.
pub type Take<'t> = dyn FnMut(Sample, u64) -> ControlFlow<()> + 't;

impl Unit {
    fn new(path: PathBuf) -> Result<Self, CapfiltError> {
        let form = if path.is_dir() {
            Form::Folder
        } else {
            form_of(&path).ok_or_else(|| CapfiltError::UnknownForm { path: path.clone() })?
        };
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { path, form, name })
    }

    /// Whether it is a shard as it is; else it is cut into parts.
    pub fn is_shard(&self) -> bool {
        self.form == Form::Tar
    }

    /// How much there is to read: bytes, or files of a folder.
    pub fn extent(&self) -> u64 {
        match self.form {
            Form::Folder => folder::count(&self.path),
            _ => fs::metadata(&self.path).map_or(0, |file| file.len()),
        }
    }

    /// Reads it from its beginning. What is wrong with a sample is told in its place.
    ///
    /// # Errors
    /// The file cannot be opened, or cannot be read on.
    pub fn read(&self, options: &ReadOptions, take: &mut Take) -> Result<(), CapfiltError> {
        let beside = self.path.parent().unwrap_or(Path::new(""));
        let base = options.picture_folder.as_deref().unwrap_or(beside);
        match self.form {
            Form::Folder => folder::read(&self.path, take),
            Form::JsonLines => lines::read(&self.path, base, take),
            Form::Json => json::read(&self.path, base, take),
            Form::Table(delimiter) => table::read(&self.path, base, delimiter, take),
            Form::Parquet => parquet::read(&self.path, base, take),
            Form::Tar => archive::read(&self.path, options.max_bytes, take),
        }
    }
}

fn form_of(path: &Path) -> Option<Form> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    Some(match ending.as_str() {
        "jsonl" | "ndjson" => Form::JsonLines,
        "json" => Form::Json,
        "csv" => Form::Table(b','),
        "tsv" => Form::Table(b'\t'),
        "parquet" => Form::Parquet,
        "tar" => Form::Tar,
        _ => return None,
    })
}

/// Files that describe the pictures of their folder.
const DESCRIBING: [&str; 3] = ["metadata.jsonl", "metadata.csv", "metadata.parquet"];

/// The files that an argument names: one, those of a pattern in braces, or what a folder holds: shards
/// where there are any, else files of pairs if it has no pictures, else its pictures.
///
/// # Errors
/// There are none, or one is of no form that is read.
pub fn units(input: &Path) -> Result<Vec<Unit>, CapfiltError> {
    let text = input.to_string_lossy();
    if !input.exists()
        && let Some(paths) = pattern::expand(&text)
    {
        return paths.into_iter().map(existing).collect();
    }
    if !input.is_dir() {
        return Ok(vec![existing(input.to_path_buf())?]);
    }
    let mut files: Vec<PathBuf> = Vec::new();
    let mut has_pictures = false;
    let listed = fs::read_dir(input).map_err(|error| CapfiltError::unreadable(input, error))?;
    for entry in listed {
        let path = entry.map_err(|error| CapfiltError::unreadable(input, error))?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_hidden {
            continue;
        }
        has_pictures |= path.is_dir() || is_named_as_picture(&path);
        if path.is_file() && form_of(&path).is_some_and(|form| form != Form::Json) {
            files.push(path);
        }
    }
    files.sort();
    let is_tar = |path: &PathBuf| form_of(path) == Some(Form::Tar);
    if files.iter().any(is_tar) {
        files.retain(is_tar);
    } else if has_pictures {
        // Of Hugging Face's `imagefolder` the pictures' texts stand in a file.
        let described = DESCRIBING
            .iter()
            .map(|name| input.join(name))
            .find(|path| path.is_file());
        return Ok(vec![Unit::new(described.unwrap_or_else(|| input.to_path_buf()))?]);
    }
    if files.is_empty() {
        return Err(CapfiltError::EmptyInput {
            input: text.into_owned(),
        });
    }
    files.into_iter().map(Unit::new).collect()
}

fn existing(path: PathBuf) -> Result<Unit, CapfiltError> {
    match fs::metadata(&path) {
        Ok(_) => Unit::new(path),
        Err(error) => Err(CapfiltError::NoInput {
            input: path.to_string_lossy().into_owned(),
            reason: error.to_string(),
        }),
    }
}

/// The rows of a Parquet file as objects, for as long as the function wants them.
///
/// # Errors
/// It is no Parquet, or is damaged.
pub fn parquet_rows(path: &Path, each: &mut dyn FnMut(Map<String, Value>) -> bool) -> Result<(), CapfiltError> {
    parquet::rows(path, &mut |columns, _| {
        let values = columns.into_iter();
        each(
            values
                .filter_map(|(name, field)| Some((name, parquet::json(field)?)))
                .collect(),
        )
    })
}
