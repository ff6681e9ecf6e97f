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
mod parquet_pages;
mod pattern;
mod record;
mod table;

use std::collections::HashSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::CapfiltError;
use crate::processor::file_names::{is_named_as_picture, is_passed_over};

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
    /// Whether it was read before, and what is wrong with it was told.
    pub is_again: bool,
}

/// The fields that a `.json` beside a picture has. One that is no JSON object is left out, and told of by its
/// name the first time.
fn fields_beside(text: &[u8], name: impl FnOnce() -> String, is_again: bool) -> Map<String, Value> {
    serde_json::from_slice(text).unwrap_or_else(|error| {
        if !is_again {
            tracing::warn!("{} is left out, since it is no JSON object: {error}", name());
        }
        Map::new()
    })
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
        let name = unpacked_name(&path);
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
            Form::Folder => folder::read(&self.path, options, take),
            Form::JsonLines => lines::read(&self.path, base, take),
            Form::Json => json::read(&self.path, base, take),
            Form::Table(delimiter) => table::read(&self.path, base, delimiter, take),
            Form::Parquet => parquet::read(&self.path, base, take),
            Form::Tar => archive::read(&self.path, options, take),
        }
    }
}

fn form_of(path: &Path) -> Option<Form> {
    let ending = |path: &Path| Some(path.extension()?.to_str()?.to_ascii_lowercase());
    let last = ending(path)?;
    let is_packed = last == "gz";
    let form = match is_packed {
        true => ending(Path::new(path.file_stem()?))?,
        false => last,
    };
    Some(match form.as_str() {
        "jsonl" | "ndjson" => Form::JsonLines,
        "json" => Form::Json,
        "csv" => Form::Table(b','),
        "tsv" => Form::Table(b'\t'),
        // What stands at its end is read first.
        "parquet" if !is_packed => Form::Parquet,
        "tar" | "tgz" => Form::Tar,
        _ => return None,
    })
}

/// A file's name without its ending, and without that of what it is packed with: `00000` of `00000.tar.gz`.
fn unpacked_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    let is_gzip = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
    let name = match is_gzip {
        true => Path::new(stem).file_stem().unwrap_or_default(),
        false => stem,
    };
    name.to_string_lossy().into_owned()
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
        return paths.into_iter().map(existing).collect::<Result<_, _>>().map(distinct);
    }
    if !input.is_dir() {
        return Ok(vec![existing(input.to_path_buf())?]);
    }
    let mut files: Vec<PathBuf> = Vec::new();
    let mut has_pictures = false;
    let listed = fs::read_dir(input).map_err(|error| CapfiltError::unreadable(input, error))?;
    for entry in listed {
        let path = entry.map_err(|error| CapfiltError::unreadable(input, error))?.path();
        let name = path.file_name().unwrap_or_default();
        if is_passed_over(&name.to_string_lossy()) {
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
    files.into_iter().map(Unit::new).collect::<Result<_, _>>().map(distinct)
}

/// Gives each file a name of its own, by which its rows are found again: where two have the same, as in
/// `{a,b}/{00000..00099}.tar`, all get their folders' names in front, and at last how their own ends.
fn distinct(mut units: Vec<Unit>) -> Vec<Unit> {
    let mut paths = HashSet::new();
    units.retain(|unit| paths.insert(unit.path.clone()));
    let are_distinct = |units: &[Unit]| {
        let mut names = HashSet::new();
        units.iter().all(|unit| names.insert(unit.name.as_str()))
    };
    let deepest = units.iter().map(|unit| unit.path.components().count()).max();
    for depth in 1..deepest.unwrap_or(1) {
        if are_distinct(&units) {
            return units;
        }
        for unit in &mut units {
            let folder = unit.path.ancestors().nth(depth).and_then(Path::file_name);
            if let Some(folder) = folder {
                unit.name = format!("{}-{}", folder.to_string_lossy(), unit.name);
            }
        }
    }
    if !are_distinct(&units) {
        for unit in &mut units {
            let file = unit.path.file_name().unwrap_or_default().to_string_lossy();
            let ending = file.split_once('.').map_or("", |(_, ending)| ending).replace('.', "-");
            unit.name = format!("{ending}-{}", unit.name);
        }
    }
    units
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

/// Whether a JSON file is an object, as COCO's captions are, and no list.
pub fn is_coco(path: &Path) -> bool {
    json::is_object(path).unwrap_or(false)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[&str]) -> Vec<String> {
        let unit = |path: &&str| Unit {
            path: path.into(),
            form: form_of(Path::new(path)).expect("it is one"),
            name: unpacked_name(Path::new(path)),
        };
        let units = distinct(paths.iter().map(unit).collect());
        units.into_iter().map(|unit| unit.name).collect()
    }

    #[test]
    fn each_file_has_a_name_of_its_own() {
        assert_eq!(names(&["d/00000.tar", "d/00001.tar.gz"]), ["00000", "00001"]);
        assert_eq!(names(&["a/0.tar", "b/0.tar", "b/1.tar"]), ["a-0", "b-0", "b-1"]);
        assert_eq!(names(&["x/a/0.tar", "y/a/0.tar"]), ["x-a-0", "y-a-0"]);
        assert_eq!(
            names(&["d/pairs.csv", "d/pairs.jsonl.gz"]),
            ["csv-d-pairs", "jsonl-gz-d-pairs"]
        );
        assert_eq!(names(&["d/0.tar", "d/0.tar"]), ["0"], "the same file twice is one");
    }

    #[test]
    fn a_form_is_told_by_the_name_whatever_packs_it() {
        let form = |name: &str| form_of(Path::new(name));
        assert_eq!(form("a.jsonl.gz"), Some(Form::JsonLines));
        assert_eq!(form("a.JSON.GZ"), Some(Form::Json));
        assert_eq!(form("a.tsv.gz"), Some(Form::Table(b'\t')));
        assert_eq!((form("a.tgz"), form("a.tar.gz")), (Some(Form::Tar), Some(Form::Tar)));
        assert_eq!((form("a.gz"), form("a.parquet.gz"), form("gz")), (None, None, None));
    }
}
