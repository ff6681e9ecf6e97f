//! The example pictures that ship with the page, each with a question.

use serde::Deserialize;

use crate::api::Example;
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

/// The examples as the page shows them.
pub fn all() -> Vec<Example> {
    let example = |entry: Entry| Example {
        url: format!("/examples/{}", entry.file),
        alt: entry.alt,
        question: entry.question,
    };
    entries().into_iter().map(example).collect()
}

/// The pictures of the examples, each decoded when it is asked for.
pub fn pictures() -> impl Iterator<Item = Picture> + Send {
    // One that cannot be read is told to whoever opens it.
    let decode = |bytes: Vec<u8>| Picture::decode(&bytes, &PictureLimits::default()).ok();
    let all = (0..).map_while(open);
    all.filter_map(move |(bytes, _)| decode(bytes))
}

/// The bytes of an example's picture, and its question (`None` asks for a caption).
pub fn open(index: usize) -> Option<(Vec<u8>, Option<String>)> {
    let entry = entries().into_iter().nth(index)?;
    let bytes = assets::bytes(&format!("examples/{}", entry.file))?;
    Some((bytes, Some(entry.question).filter(|question| !question.is_empty())))
}
