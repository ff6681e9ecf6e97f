//! A JSON file: a list of objects, or COCO's captions. It is read as it comes, never held.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::bounded::{self, Position};
use super::record::Record;
use super::{Sample, Take};
use crate::capfilt::CapfiltError;

/// Reads a list, or COCO's captions: an object with `images` and `annotations`.
pub fn read(path: &Path, base: &Path, take: &mut Take) -> Result<(), CapfiltError> {
    let mut images = Images::default();
    // COCO's pictures may stand behind its captions: their names are read first.
    if is_object(path)? {
        walk(path, Part::Images(&mut images))?;
    }
    let mut place = 0u64;
    let mut is_over = false;
    let mut each = |value: Value, position: &Position| {
        let samples = match value {
            Value::Object(fields) => images.named(fields).samples(place, base),
            other => vec![Sample::broken(
                format!("{place:09}"),
                format!("it is {}, and no object", kind_of(&other)),
            )],
        };
        place += 1;
        is_over = samples
            .into_iter()
            .any(|sample| take(sample, position.get()).is_break());
        !is_over
    };
    let walked = walk(path, Part::Pairs(&mut each));
    match is_over {
        true => Ok(()),
        false => walked,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Whether a file begins as an object does.
///
/// # Errors
/// It cannot be opened.
pub fn is_object(path: &Path) -> Result<bool, CapfiltError> {
    use std::io::Read;
    let (reader, _) = bounded::open(path)?;
    let mut first = reader.bytes().filter_map(Result::ok);
    Ok(first.find(|byte| byte.is_ascii_graphic()) == Some(b'{'))
}

/// COCO's pictures by their ids, each as JSON, which is small beside the object. They are held: a caption
/// names its picture by the id alone.
#[derive(Default)]
struct Images(HashMap<String, Box<str>>);

impl Images {
    fn add(&mut self, mut image: Map<String, Value>) {
        let Some(id) = image.remove("id") else { return };
        let mut rename = |from: &str, to: &str| {
            if let Some(value @ Value::String(_)) = image.remove(from) {
                image.entry(to).or_insert(value);
            }
        };
        rename("file_name", "image");
        rename("filename", "image");
        rename("url", "coco_url");
        if image.get("image").is_some_and(Value::is_string) {
            self.0.insert(id.to_string(), Value::Object(image).to_string().into());
        }
    }

    /// A caption with its picture's name, and what else is said of the picture.
    fn named(&self, mut fields: Map<String, Value>) -> Record {
        let image = fields.get("image_id").and_then(|id| self.0.get(&id.to_string()));
        let image = image.and_then(|image| serde_json::from_str::<Map<String, Value>>(image).ok());
        if let Some(image) = image
            && !fields.contains_key("image")
        {
            for (name, value) in image {
                fields.entry(name).or_insert(value);
            }
        }
        Record { fields, bytes: None }
    }
}

/// What is wanted of a file, one at a time.
enum Part<'a> {
    Images(&'a mut Images),
    /// Says whether there should be more.
    Pairs(&'a mut dyn FnMut(Value, &Position) -> bool),
}

fn walk(path: &Path, part: Part) -> Result<(), CapfiltError> {
    let (reader, position) = bounded::open(path)?;
    let mut json = serde_json::Deserializer::from_reader(reader);
    let walked = Walk { part, position }.deserialize(&mut json).and_then(|()| json.end());
    walked.map_err(|error| CapfiltError::unreadable(path, error))
}

struct Walk<'a> {
    part: Part<'a>,
    position: Position,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a list of objects with `image` and `caption`, or COCO's `images` and `annotations`")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(value) = list.next_element::<Value>()? {
            self.position.begin_record();
            match &mut self.part {
                Part::Images(images) => {
                    if let Value::Object(image) = value {
                        images.add(image);
                    }
                }
                Part::Pairs(each) => {
                    if !each(value, &self.position) {
                        return Err(serde::de::Error::custom("nobody reads on"));
                    }
                }
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        while let Some(name) = object.next_key::<String>()? {
            self.position.begin_record();
            let is_wanted = match &self.part {
                Part::Images(_) => name == "images",
                Part::Pairs(_) => name == "annotations" || name == "data",
            };
            if !is_wanted {
                object.next_value_seed(Skip(&self.position))?;
                continue;
            }
            let part = match &mut self.part {
                Part::Images(images) => Part::Images(images),
                Part::Pairs(each) => Part::Pairs(&mut **each),
            };
            object.next_value_seed(Walk {
                part,
                position: self.position.clone(),
            })?;
        }
        Ok(())
    }
}

/// Passes over a value, an element at a time where it is a list.
struct Skip<'a>(&'a Position);

impl<'de> DeserializeSeed<'de> for Skip<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {
            self.0.begin_record();
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}
