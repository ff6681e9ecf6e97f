//! What is known of a picture and its texts: a row, the same in JSON lines and in Parquet.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::models::MatchScore;

/// A text, and how well it fits the picture; an empty one, or one of a picture that cannot be read,
/// has no scores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoredText {
    pub text: String,
    /// The probability that they belong together, from 0 to 1.
    #[serde(rename = "match")]
    pub matching: Option<f32>,
    /// The cosine between their vectors, from -1 to 1.
    pub cosine: Option<f32>,
}

impl ScoredText {
    /// A text with its scores, where it has any.
    pub fn new(text: String, score: Option<MatchScore>) -> Self {
        Self {
            text,
            matching: score.map(|score| score.probability),
            cosine: score.map(|score| score.cosine),
        }
    }
}

/// Where a text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    Web,
    Synthetic,
}

impl Origin {
    /// As it is written in rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Synthetic => "synthetic",
        }
    }
}

/// A text that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptText {
    pub text: String,
    pub from: Origin,
    #[serde(rename = "match")]
    pub matching: Option<f32>,
}

/// What was decided of a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Whether any text is kept.
    pub kept: bool,
    /// The texts that are, the web's first.
    pub texts: Vec<KeptText>,
}

/// What is known of a picture and its texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub key: String,
    /// Of the bytes of the picture's file, in hexadecimal; none where they could not be had.
    pub sha256: Option<String>,
    /// Why there are no scores.
    pub error: Option<String>,
    pub web: ScoredText,
    pub synthetic: Vec<ScoredText>,
    /// The other fields of the input, as they came.
    pub fields: Map<String, Value>,
    /// Once it was selected.
    pub choice: Option<Choice>,
}

/// The names of a row's own fields.
pub const OWN_FIELDS: [&str; 7] = ["key", "sha256", "error", "web", "synthetic", "kept", "texts"];

impl Row {
    /// Takes a field of the input; one with a name of our own is kept beside ours.
    pub fn take_field(fields: &mut Map<String, Value>, name: String, value: Value) {
        match OWN_FIELDS.contains(&name.as_str()) {
            true => fields.insert(format!("input_{name}"), value),
            false => fields.insert(name, value),
        };
    }

    /// The key of the record that it was made of: one with several texts has a row for each, `key#0`, `key#1`, …
    pub fn record_key(&self) -> &str {
        let numbered = self.key.rsplit_once('#');
        let numbered =
            numbered.filter(|(_, number)| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()));
        numbered.map_or(self.key.as_str(), |(record, _)| record)
    }

    /// The id that COCO's captions give their picture.
    pub fn image_id(&self) -> Option<&Value> {
        let id = self.fields.get("image_id");
        id.filter(|id| id.is_number() || id.is_string())
    }

    /// What its picture is known by where other rows may be of the same picture: one of COCO's captions names its
    /// picture, and of a record with several texts each has a row.
    pub fn shared_picture(&self) -> Option<u128> {
        let name = ["image", "file_name", "url"]
            .iter()
            .find_map(|name| self.fields.get(*name));
        if let Some(id) = self.image_id() {
            let name = name.map(Value::to_string).unwrap_or_default();
            return Some(hashed(&[b"id", id.to_string().as_bytes(), name.as_bytes()]));
        }
        let record = self.record_key();
        let bytes = self.sha256.as_deref().unwrap_or_default();
        (record != self.key).then(|| hashed(&[b"record", record.as_bytes(), bytes.as_bytes()]))
    }

    /// A row as a line, with what ends it.
    pub fn line(&self) -> serde_json::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// Half of a hash, which is enough to tell apart what is in a file, or in memory.
pub fn hashed(parts: &[&[u8]]) -> u128 {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let hash: [u8; 32] = hash.finalize().into();
    hash[..16].iter().fold(0, |half, byte| half << 8 | u128::from(*byte))
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("key", &self.key)?;
        map.serialize_entry("sha256", &self.sha256)?;
        map.serialize_entry("error", &self.error)?;
        map.serialize_entry("web", &self.web)?;
        map.serialize_entry("synthetic", &self.synthetic)?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        if let Some(choice) = &self.choice {
            map.serialize_entry("kept", &choice.kept)?;
            map.serialize_entry("texts", &choice.texts)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RowVisitor)
    }
}

/// Reads a row in one go: millions of them are read in seconds.
struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a row with key, web and synthetic")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let (mut row, mut choice) = (Row::default(), Choice::default());
        let (mut has_key, mut has_web, mut is_chosen) = (false, false, false);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "key" => (row.key, has_key) = (map.next_value()?, true),
                "sha256" => row.sha256 = map.next_value()?,
                "error" => row.error = map.next_value()?,
                "web" => (row.web, has_web) = (map.next_value()?, true),
                "synthetic" => row.synthetic = map.next_value()?,
                "kept" => (choice.kept, is_chosen) = (map.next_value()?, true),
                "texts" => choice.texts = map.next_value()?,
                _ => {
                    let value = map.next_value()?;
                    row.fields.insert(name, value);
                }
            }
        }
        match (has_key, has_web) {
            (false, _) => Err(de::Error::missing_field("key")),
            (_, false) => Err(de::Error::missing_field("web")),
            _ => {
                row.choice = is_chosen.then_some(choice);
                Ok(row)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() -> serde_json::Result<()> {
        let text = r#"{"key":"7","sha256":null,"error":null,"web":{"text":"a \"dog\"","match":0.25,"cosine":-0.5},"synthetic":[{"text":"a cat","match":null,"cosine":null}],"image":"a.png","size":[1,2],"kept":true,"texts":[{"text":"a cat","from":"synthetic","match":0.75}]}"#;
        let row: Row = serde_json::from_str(text)?;
        assert_eq!(row.fields["image"], "a.png");
        assert_eq!(row.choice.as_ref().map(|choice| choice.texts.len()), Some(1));
        assert_eq!(String::from_utf8_lossy(&row.line()?), format!("{text}\n"));
        for other in [
            r#"{"key":"7"}"#,
            r#"{"web":{"text":"a"}}"#,
            "[]",
            r#"{"key":7,"web":{"text":"a"}}"#,
        ] {
            assert!(serde_json::from_str::<Row>(other).is_err(), "{other}");
        }
        Ok(())
    }

    #[test]
    fn a_field_of_the_input_with_a_name_of_ours_is_kept_beside_it() {
        let mut fields = Map::new();
        for name in ["sha256", "url"] {
            Row::take_field(&mut fields, name.into(), Value::from(1));
        }
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["input_sha256", "url"]);
    }
}
