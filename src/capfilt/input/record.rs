//! An object of a file as samples: which of its fields is the picture, which the text, which the key.

use std::path::Path;

use serde_json::{Map, Value};

use super::{PictureSource, Sample};
use crate::capfilt::row::Row;
use crate::remote::is_address;

/// Fields that name a picture's file, or its address, the likeliest first.
const PICTURES: [&str; 8] = [
    "image",
    "picture",
    "image_path",
    "file_name",
    "filename",
    "path",
    "filepath",
    "jpg",
];
const ADDRESSES: [&str; 4] = ["url", "image_url", "URL", "coco_url"];
const TEXTS: [&str; 5] = ["caption", "text", "TEXT", "captions", "txt"];
const KEYS: [&str; 3] = ["key", "id", "uid"];

/// An object, with the bytes that it holds besides what JSON can say.
#[derive(Default)]
pub struct Record {
    pub fields: Map<String, Value>,
    pub bytes: Option<Vec<u8>>,
}

/// Whether names of columns have one for pictures.
pub fn names_pictures<'n>(mut names: impl Iterator<Item = &'n str>) -> bool {
    names.any(|name| PICTURES.contains(&name) || ADDRESSES.contains(&name))
}

impl Record {
    /// The samples that it stands for: one, or one a text where it has a list of them. Its pictures' names
    /// begin at `base`; without a key it has its place in the input.
    pub fn samples(mut self, place: u64, base: &Path) -> Vec<Sample> {
        let text = TEXTS.iter().find_map(|name| self.fields.remove(*name));
        let key = KEYS.iter().find_map(|name| key_of(self.fields.get(*name)?));
        let has_own_key = self.fields.get("key").and_then(key_of).is_some();
        if has_own_key {
            self.fields.remove("key");
        }
        let key = key.unwrap_or_else(|| format!("{place:09}"));
        let bytes = self.bytes.take();
        let mut picture = self.picture(base, bytes);
        let mut fields = Map::new();
        for (name, value) in self.fields {
            Row::take_field(&mut fields, name, value);
        }
        let texts = texts_of(text);
        let count = texts.len();
        let mut samples = Vec::with_capacity(count);
        for (index, text) in texts.into_iter().enumerate() {
            let key = match count {
                1 => key.clone(),
                _ => format!("{key}#{index}"),
            };
            let is_last = index + 1 == count;
            let (picture, fields) = match is_last {
                true => (
                    std::mem::replace(&mut picture, PictureSource::None(String::new())),
                    std::mem::take(&mut fields),
                ),
                false => (again(&picture), fields.clone()),
            };
            samples.push(Sample {
                key,
                text,
                picture,
                fields,
            });
        }
        samples
    }

    fn picture(&self, base: &Path, bytes: Option<Vec<u8>>) -> PictureSource {
        if let Some(bytes) = bytes {
            return PictureSource::Bytes(bytes);
        }
        let text = |name: &&str| self.fields.get(*name)?.as_str().filter(|text| !text.is_empty());
        // As HF writes pictures: an object with its path.
        let nested = || self.fields.get("image")?.get("path")?.as_str();
        let name = PICTURES.iter().find_map(text).or_else(nested);
        match name.or_else(|| ADDRESSES.iter().find_map(text)) {
            Some(address) if is_address(address) => PictureSource::Address(address.to_owned()),
            Some(name) => PictureSource::File(base.join(name)),
            None => PictureSource::None("it names no picture: there is neither `image` nor `url`".into()),
        }
    }
}

fn key_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn texts_of(value: Option<Value>) -> Vec<String> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    };
    match value {
        Some(Value::Array(texts)) if !texts.is_empty() => texts.into_iter().map(text).collect(),
        Some(Value::Array(_)) | None => vec![String::new()],
        Some(value) => vec![text(value)],
    }
}

fn again(picture: &PictureSource) -> PictureSource {
    match picture {
        PictureSource::Bytes(bytes) => PictureSource::Bytes(bytes.clone()),
        PictureSource::File(path) => PictureSource::File(path.clone()),
        PictureSource::Address(address) => PictureSource::Address(address.clone()),
        PictureSource::None(reason) => PictureSource::None(reason.clone()),
    }
}
