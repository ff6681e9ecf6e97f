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

/// Texts that a picture is compared with: what it shows, and what others show.
const TEXTS: usize = 4;

impl Entry {
    fn bytes(&self) -> Option<Vec<u8>> {
        assets::bytes(&format!("examples/{}", self.file))
    }

    /// What it shows, as somebody would type it.
    fn shows(&self) -> &str {
        let text = self.alt.trim_end_matches('.');
        text.strip_prefix("A drawn picture of ").unwrap_or(text)
    }
}

/// The examples, each with the question that goes best with it, and with texts to compare it with.
pub fn all() -> Vec<Example> {
    let entries = entries();
    let example = |(index, entry): (usize, &Entry)| {
        let mut texts: Vec<String> = entries.iter().map(|other| other.shows().to_owned()).collect();
        texts.rotate_left(index);
        texts.truncate(TEXTS);
        // The one that fits is not always the first.
        let place = index % texts.len().max(1);
        texts[..=place].rotate_left(1);
        Example {
            url: format!("/examples/{}", entry.file),
            question: entry.question.clone(),
            alt: entry.alt.clone(),
            texts,
        }
    };
    entries.iter().enumerate().map(example).collect()
}

/// The pictures of the examples, each decoded when it is asked for.
pub fn pictures() -> impl Iterator<Item = Picture> + Send {
    // One that cannot be read is told to whoever opens it.
    let decode = |bytes: Vec<u8>| Picture::decode(&bytes, &PictureLimits::default()).ok();
    let all = entries().into_iter().filter_map(|entry| entry.bytes());
    all.filter_map(decode)
}

/// The bytes of an example's picture, and what is asked about it.
pub fn open(index: usize) -> Option<(Vec<u8>, Example)> {
    let bytes = entries().get(index)?.bytes()?;
    Some((bytes, all().into_iter().nth(index)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_picture_is_compared_with_what_it_shows_and_with_what_others_show() {
        let all = all();
        assert_eq!(all.len(), 8);
        for example in &all {
            assert_eq!(example.texts.len(), TEXTS);
            let fitting = example.texts.iter().filter(|text| example.alt.contains(*text));
            assert_eq!(fitting.count(), 1, "{example:?}");
        }
        let first = |example: &&Example| example.alt.contains(&example.texts[0]);
        assert_eq!(all.iter().filter(first).count(), 2, "it is not always the first");
    }
}
