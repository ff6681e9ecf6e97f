//! COCO's captions of what is kept: `images`, and `annotations` with a caption each, which say besides
//! where it is `from` and how well it fits (`match`).

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::capfilt::row::{Origin, Row, hashed};
use crate::capfilt::{CapfiltError, Policy};

/// What a picture's entry has besides its id and its name, where the input says it.
pub const OF_PICTURE: [&str; 6] = ["width", "height", "license", "coco_url", "flickr_url", "date_captured"];

/// Fields that name a picture.
const NAMES: [&str; 5] = ["image", "file_name", "image_path", "path", "url"];

/// Writes a file: all pictures that keep a text first, then their texts.
pub struct Coco<'w> {
    path: &'w Path,
    file: &'w mut BufWriter<File>,
    /// The ids of pictures that keep a text, by what they are known by.
    ids: HashMap<u128, Value>,
    /// Texts that a picture has already: one with several captions has a row for each, and the same
    /// synthetic ones in all.
    written: HashSet<u128>,
    used: HashSet<u64>,
    next: u64,
    is_first: bool,
}

impl<'w> Coco<'w> {
    /// Begins a file.
    ///
    /// # Errors
    /// The disk's.
    pub fn new(
        path: &'w Path,
        file: &'w mut BufWriter<File>,
        policy: Policy,
        threshold: f32,
    ) -> Result<Self, CapfiltError> {
        let told = format!("texts kept by CapFilt, policy {}, threshold {threshold}", policy.name());
        let mut coco = Self {
            path,
            file,
            ids: HashMap::new(),
            written: HashSet::new(),
            used: HashSet::new(),
            next: 1,
            is_first: true,
        };
        let info = json!({ "description": told });
        coco.put(&format!("{{\"info\": {info}, \"licenses\": [], \"images\": ["))?;
        Ok(coco)
    }

    fn put(&mut self, text: &str) -> Result<(), CapfiltError> {
        let written = self.file.write_all(text.as_bytes());
        written.map_err(|error| CapfiltError::unwritable(self.path, error))
    }

    fn entry(&mut self, entry: Map<String, Value>) -> Result<(), CapfiltError> {
        let before = if self.is_first { "\n" } else { ",\n" };
        self.is_first = false;
        self.put(&format!("{before}{}", Value::Object(entry)))
    }

    /// Writes a row's picture, if it keeps a text and is not there yet.
    ///
    /// # Errors
    /// The disk's.
    pub fn image(&mut self, row: &Row) -> Result<(), CapfiltError> {
        if let Some(id) = row.fields.get("id").and_then(Value::as_u64) {
            self.next = self.next.max(id.saturating_add(1));
        }
        let picture = picture_of(row);
        if !is_kept(row) || self.ids.contains_key(&picture) {
            return Ok(());
        }
        let numbered = || Value::from(self.ids.len() + 1);
        let id = row.image_id().cloned().unwrap_or_else(numbered);
        self.ids.insert(picture, id.clone());
        let mut entry = Map::new();
        entry.insert("id".into(), id);
        entry.insert("file_name".into(), name_of(row).into());
        for name in OF_PICTURE {
            if let Some(value) = row.fields.get(name) {
                entry.insert(name.into(), value.clone());
            }
        }
        self.entry(entry)
    }

    /// All pictures are there.
    ///
    /// # Errors
    /// The disk's.
    pub fn begin_annotations(&mut self) -> Result<(), CapfiltError> {
        self.is_first = true;
        self.put("\n], \"annotations\": [")
    }

    /// Writes the texts that a row keeps.
    ///
    /// # Errors
    /// The disk's.
    pub fn annotations(&mut self, row: &Row) -> Result<(), CapfiltError> {
        let picture = picture_of(row);
        let (Some(choice), Some(image_id)) = (&row.choice, self.ids.get(&picture).cloned()) else {
            return Ok(());
        };
        for text in &choice.texts {
            if !self.written.insert(hashed(&[
                &picture.to_le_bytes(),
                text.from.name().as_bytes(),
                text.text.as_bytes(),
            ])) {
                continue;
            }
            let own = row.fields.get("id").and_then(Value::as_u64);
            let id = own.filter(|id| text.from == Origin::Web && self.used.insert(*id));
            let id = id.unwrap_or_else(|| {
                self.next += 1;
                self.next - 1
            });
            let mut entry = Map::new();
            entry.insert("id".into(), id.into());
            entry.insert("image_id".into(), image_id.clone());
            entry.insert("caption".into(), text.text.clone().into());
            entry.insert("from".into(), text.from.name().into());
            entry.insert("match".into(), number(text.matching));
            self.entry(entry)?;
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The disk's.
    pub fn finish(&mut self) -> Result<(), CapfiltError> {
        self.put("\n]}\n")
    }
}

/// With the digits that it needs, as in rows.
fn number(number: Option<f32>) -> Value {
    let text = number.map(|number| number.to_string());
    text.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

fn is_kept(row: &Row) -> bool {
    row.choice.as_ref().is_some_and(|choice| choice.kept)
}

/// What a row's picture is known by: its id in the input, or its name, or its row. Other pictures may have the
/// same bytes.
fn picture_of(row: &Row) -> u128 {
    match (row.image_id(), named(row)) {
        (Some(id), _) => hashed(&[b"id", id.to_string().as_bytes()]),
        (None, Some(name)) => hashed(&[b"name", name.as_bytes()]),
        (None, None) => hashed(&[b"key", row.record_key().as_bytes()]),
    }
}

fn named(row: &Row) -> Option<&str> {
    NAMES.iter().find_map(|name| row.fields.get(*name)?.as_str())
}

fn name_of(row: &Row) -> &str {
    named(row).unwrap_or_else(|| row.record_key())
}
