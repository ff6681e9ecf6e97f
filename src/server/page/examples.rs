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

/// What goes with every picture, for a model that writes no captions.
const ANY_QUESTION: &str = "What is in the picture?";

impl Entry {
    fn bytes(&self) -> Option<Vec<u8>> {
        assets::bytes(&format!("examples/{}", self.file))
    }

    /// The question that a model which offers these is asked; empty for a caption.
    fn question_for(&self, offers: Offers) -> String {
        match (offers.questions, offers.captions) {
            (false, _) => String::new(),
            (true, false) if self.question.is_empty() => ANY_QUESTION.into(),
            _ => self.question.clone(),
        }
    }
}

/// The examples as the page shows them for a model that offers these.
pub fn all(offers: Offers) -> Vec<Example> {
    let example = |entry: Entry| Example {
        url: format!("/examples/{}", entry.file),
        question: entry.question_for(offers),
        alt: entry.alt,
    };
    entries().into_iter().map(example).collect()
}

/// The pictures of the examples, each decoded when it is asked for.
pub fn pictures() -> impl Iterator<Item = Picture> + Send {
    // One that cannot be read is told to whoever opens it.
    let decode = |bytes: Vec<u8>| Picture::decode(&bytes, &PictureLimits::default()).ok();
    let all = entries().into_iter().filter_map(|entry| entry.bytes());
    all.filter_map(decode)
}

/// The bytes of an example's picture, and its question (`None` asks for a caption).
pub fn open(index: usize, offers: Offers) -> Option<(Vec<u8>, Option<String>)> {
    let entry = entries().into_iter().nth(index)?;
    let question = Some(entry.question_for(offers)).filter(|question| !question.is_empty());
    Some((entry.bytes()?, question))
}
