//! The pictures to try, each with a question: those that ship with the page, or a host's own (`--examples`).

mod folder;

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
pub use folder::ExamplesError;
use serde::Deserialize;

use crate::api::{ApiError, Example};
use crate::chat::{Error, Missing};
use crate::processor::{Picture, PictureLimits};
use crate::server::customization::Customization;
use crate::server::{assets, errors};

/// Where the small copies of a host's own are served.
pub const OWN: &str = "/examples/own/";

/// One entry of `examples.json`. What else it has, such as an answer, is for others.
#[derive(Clone, Debug, Deserialize)]
struct Entry {
    file: String,
    /// A small one of it, of those that ship with the page; others are made small at the start.
    #[serde(default)]
    small: Option<String>,
    /// Empty asks for a caption.
    #[serde(default)]
    question: String,
    /// What the picture shows.
    #[serde(default)]
    alt: String,
}

/// Where a picture is.
#[derive(Clone, Debug)]
enum Place {
    BuiltIn(String),
    Own {
        path: PathBuf,
        /// A small copy, as a JPEG.
        thumbnail: Vec<u8>,
    },
}

impl Place {
    fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::BuiltIn(file) => assets::bytes(&format!("examples/{file}")),
            Self::Own { path, .. } => std::fs::read(path).ok(),
        }
    }
}

/// Texts that a picture is compared with: what it shows, and what others show.
const TEXTS: usize = 4;

impl Entry {
    /// What it shows, as somebody would type it.
    fn shows(&self) -> &str {
        let text = self.alt.trim_end_matches('.');
        text.strip_prefix("A drawn picture of ").unwrap_or(text)
    }
}

/// All of them. Copies share the same pictures.
#[derive(Clone, Debug)]
pub struct Examples {
    places: Arc<[Place]>,
    shown: Arc<[Example]>,
    limits: PictureLimits,
}

impl Default for Examples {
    /// Those that ship with the page.
    fn default() -> Self {
        // A page without examples is still a page; `tests/` makes sure that ours has them.
        let entries: Vec<Entry> = assets::text("examples/examples.json")
            .and_then(|json| serde_json::from_str(&json).ok())
            .unwrap_or_default();
        let url = |entry: &Entry| {
            let file = entry.small.as_ref().unwrap_or(&entry.file);
            assets::address(&format!("/examples/{file}"))
        };
        let urls = entries.iter().map(url).collect();
        let places = entries.iter().map(|entry| Place::BuiltIn(entry.file.clone())).collect();
        Self::new(&entries, urls, places, PictureLimits::default())
    }
}

impl Examples {
    /// Those of a host's folder, each decoded once, so that what is wrong with one is told at the start.
    ///
    /// # Errors
    /// A sentence with the file that is in the way.
    pub fn in_folder(folder: &std::path::Path, limits: PictureLimits) -> Result<Self, ExamplesError> {
        folder::read(folder, limits)
    }

    fn new(entries: &[Entry], urls: Vec<String>, places: Vec<Place>, limits: PictureLimits) -> Self {
        let example = |(index, (entry, url)): (usize, (&Entry, String))| {
            let mut texts: Vec<String> = entries.iter().map(|other| other.shows().to_owned()).collect();
            texts.rotate_left(index);
            texts.truncate(TEXTS);
            // The one that fits is not always the first.
            let place = index % texts.len().max(1);
            texts[..=place].rotate_left(1);
            Example {
                url,
                question: entry.question.clone(),
                alt: entry.alt.clone(),
                texts,
            }
        };
        Self {
            shown: entries.iter().zip(urls).enumerate().map(example).collect(),
            places: places.into(),
            limits,
        }
    }

    /// The examples, each with the question that goes best with it, and with texts to compare it with.
    pub fn all(&self) -> Vec<Example> {
        self.shown.to_vec()
    }

    /// Their pictures, each decoded when it is asked for.
    pub fn pictures(&self) -> impl Iterator<Item = Picture> + Send + use<> {
        let (places, limits) = (Arc::clone(&self.places), self.limits);
        // One that cannot be read is told to whoever opens it.
        (0..places.len()).filter_map(move |index| Picture::decode(&places[index].bytes()?, &limits).ok())
    }

    /// The bytes of an example's picture, and what is asked about it. It may read a file.
    pub fn open(&self, index: usize) -> Option<(Vec<u8>, Example)> {
        Some((self.places.get(index)?.bytes()?, self.shown.get(index)?.clone()))
    }
}

/// `GET /examples/own/{name}`: the small copy of one of a host's own.
pub async fn thumbnail(
    State(customization): State<Arc<Customization>>,
    name: Result<Path<String>, PathRejection>,
) -> Response {
    let number = name
        .ok()
        .and_then(|Path(name)| name.strip_suffix(".jpg")?.parse::<usize>().ok());
    match number.and_then(|number| customization.examples.places.get(number)) {
        Some(Place::Own { thumbnail, .. }) => {
            let headers = [
                (header::CONTENT_TYPE, "image/jpeg"),
                // Its address has its hash.
                (header::CACHE_CONTROL, assets::IMMUTABLE),
            ];
            (headers, thumbnail.clone()).into_response()
        }
        _ => {
            let error = ApiError::from(Error::NotFound { what: Missing::Example });
            (errors::status(error.code), error.message).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_picture_is_compared_with_what_it_shows_and_with_what_others_show() {
        let all = Examples::default().all();
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
