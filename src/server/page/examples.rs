//! The example pictures that ship with the page, each with a question.

use serde::Deserialize;

use crate::api::{Example, Offers};
use crate::processor::{Picture, PictureLimits};
use crate::server::assets;

/// One entry of `public/examples/examples.json`.
#[derive(Deserialize)]
struct Entry {
    file: String,
    question: String,
    alt: String,
}

fn entries() -> Vec<Entry> {
    // A page without examples is still a page; `tests/` makes sure that ours has them.
    assets::text("examples/examples.json")
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default()
}

impl Entry {
    fn bytes(&self) -> Option<Vec<u8>> {
        assets::bytes(&format!("examples/{}", self.file))
    }
}

impl From<Entry> for Example {
    fn from(entry: Entry) -> Self {
        Self {
            url: format!("/examples/{}", entry.file),
            question: entry.question,
            alt: entry.alt,
        }
    }
}

/// The examples, each with the question that goes best with it.
pub fn all() -> Vec<Example> {
    entries().into_iter().map(Into::into).collect()
}

/// The pictures of the examples, each decoded when it is asked for.
pub fn pictures() -> impl Iterator<Item = Picture> + Send {
    // One that cannot be read is told to whoever opens it.
    let decode = |bytes: Vec<u8>| Picture::decode(&bytes, &PictureLimits::default()).ok();
    let all = entries().into_iter().filter_map(|entry| entry.bytes());
    all.filter_map(decode)
}

/// The bytes of an example's picture, and its question to a model that offers these (`None` asks for a
/// caption).
pub fn open(index: usize, offers: Offers) -> Option<(Vec<u8>, Option<String>)> {
    let entry = entries().into_iter().nth(index)?;
    let bytes = entry.bytes()?;
    let question = Example::from(entry).question_for(offers).to_owned();
    Some((bytes, Some(question).filter(|question| !question.is_empty())))
}
