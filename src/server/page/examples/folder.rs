//! A host's folder of examples: its pictures by name, or as its `examples.json` has them.

use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Entry, Examples, OWN, Place};
use crate::processor::file_names::{is_named_as_picture, is_passed_over};
use crate::processor::preview::encode_within;
use crate::processor::{EncodeError, Picture, PictureError, PictureLimits};

/// What says more than the names of the files.
const LIST: &str = "examples.json";

/// More than anybody looks through.
const MOST: usize = 24;

/// Longer side of a small copy: twice what the page shows, for fine screens.
const THUMBNAIL_SIDE: usize = 480;

/// Why a folder's pictures cannot be the page's examples.
#[derive(Debug, thiserror::Error)]
pub enum ExamplesError {
    #[error("the folder cannot be read: {0}")]
    Folder(io::Error),
    #[error("there is no picture in it (.jpg, .png, .webp, .gif, .bmp, .tiff). Put some in")]
    Empty,
    #[error(
        "it has {0} pictures, and the page shows at most {MOST}. Take some out, or list in its {LIST} which are shown"
    )]
    TooMany(usize),
    #[error(
        "its {LIST} cannot be read: {0}. It is a list such as [{{\"file\": \"cat.jpg\", \"question\": \"What is this?\", \"alt\": \"A cat.\"}}]"
    )]
    List(String),
    #[error("its {LIST} names {0:?}, which is no name of a file in the folder. Write the name alone, as cat.jpg")]
    Name(String),
    #[error("{file} cannot be read: {error}")]
    File { file: String, error: io::Error },
    #[error("{file}: {error}")]
    Picture { file: String, error: PictureError },
    #[error("{file} cannot be made small: {error}")]
    Thumbnail { file: String, error: EncodeError },
}

/// Reads all of it.
pub fn read(folder: &Path, limits: PictureLimits) -> Result<Examples, ExamplesError> {
    let entries = match fs::read(folder.join(LIST)) {
        Ok(json) => listed(&json)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => found(folder)?,
        Err(error) => return Err(ExamplesError::List(error.to_string())),
    };
    match entries.len() {
        0 => return Err(ExamplesError::Empty),
        1..=MOST => {}
        more => return Err(ExamplesError::TooMany(more)),
    }
    let mut places = Vec::new();
    let mut urls = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let thumbnail = thumbnail(folder, &entry.file, limits)?;
        urls.push(format!("{OWN}{index}.jpg?v={}", tag(&thumbnail)));
        let path = folder.join(&entry.file);
        places.push(Place::Own { path, thumbnail });
    }
    Ok(Examples::new(&entries, urls, places, limits))
}

fn thumbnail(folder: &Path, file: &str, limits: PictureLimits) -> Result<Vec<u8>, ExamplesError> {
    let named = || file.to_owned();
    let path = folder.join(file);
    let size = path.metadata().map(|metadata| metadata.len());
    let bytes = match size {
        // Not read where it would be refused.
        Ok(size) if size > limits.max_bytes as u64 => {
            let error = PictureError::TooManyBytes {
                bytes: usize::try_from(size).unwrap_or(usize::MAX),
                max_bytes: limits.max_bytes,
            };
            return Err(ExamplesError::Picture { file: named(), error });
        }
        Ok(_) => fs::read(&path),
        Err(error) => Err(error),
    };
    let bytes = bytes.map_err(|error| ExamplesError::File { file: named(), error })?;
    let picture = Picture::decode(&bytes, &limits).map_err(|error| ExamplesError::Picture { file: named(), error })?;
    encode_within(&picture, THUMBNAIL_SIDE).map_err(|error| ExamplesError::Thumbnail { file: named(), error })
}

/// What the list says, and the names of files where it says nothing.
fn listed(json: &[u8]) -> Result<Vec<Entry>, ExamplesError> {
    let entries: Vec<serde_json::Value> =
        serde_json::from_slice(json).map_err(|error| ExamplesError::List(error.to_string()))?;
    let read = |value: serde_json::Value| {
        let says_question = value.get("question").is_some();
        let mut entry: Entry = serde_json::from_value(value).map_err(|error| ExamplesError::List(error.to_string()))?;
        if entry.file.is_empty() || entry.file.contains(['/', '\\']) || entry.file == ".." {
            return Err(ExamplesError::Name(entry.file));
        }
        let words = words(&entry.file);
        if !says_question {
            entry.question = question(&words);
        }
        if entry.alt.trim().is_empty() {
            entry.alt = words;
        }
        Ok(entry)
    };
    entries.into_iter().map(read).collect()
}

/// The folder's pictures, in the order of their names.
fn found(folder: &Path) -> Result<Vec<Entry>, ExamplesError> {
    let mut names = Vec::new();
    for file in fs::read_dir(folder).map_err(ExamplesError::Folder)? {
        let file = file.map_err(ExamplesError::Folder)?;
        // A name that is no text is nobody's question.
        let Ok(name) = file.file_name().into_string() else {
            continue;
        };
        if !is_passed_over(&name) && is_named_as_picture(Path::new(&name)) && file.path().is_file() {
            names.push(name);
        }
    }
    names.sort_unstable();
    let entry = |file: String| {
        let words = words(&file);
        Entry {
            question: question(&words),
            alt: words,
            file,
            small: None,
        }
    };
    Ok(names.into_iter().map(entry).collect())
}

/// A file's name in words: without its ending, and a number in front that gives it its place.
fn words(file: &str) -> String {
    let stem = Path::new(file)
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or(file);
    let blanks = stem.replace(['_', '-'], " ");
    let mut words: Vec<&str> = blanks.split_whitespace().collect();
    if words.len() > 1 && is_number(words[0].trim_end_matches('.')) {
        words.remove(0);
    }
    words.join(" ")
}

/// The question that words make: none where they are one word, or what a camera calls its pictures.
fn question(words: &str) -> String {
    let is_name = !words.contains(' ') || words.split(' ').any(is_number);
    match is_name {
        true => String::new(),
        false if words.ends_with(|end: char| end.is_ascii_punctuation()) => words.to_owned(),
        false => format!("{words}?"),
    }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// The beginning of its hash, so that another picture has another address.
fn tag(bytes: &[u8]) -> String {
    Sha256::digest(bytes)[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_several_words_is_a_question() {
        for (file, asked, alt) in [
            ("What_is_this.jpg", "What is this?", "What is this"),
            (
                "what-is-on-the-table.png",
                "what is on the table?",
                "what is on the table",
            ),
            ("01_Was_ist_das.jpg", "Was ist das?", "Was ist das"),
            ("Count the cats!.webp", "Count the cats!", "Count the cats!"),
            ("cat.jpg", "", "cat"),
            ("IMG_1234.jpg", "", "IMG 1234"),
            ("2024.jpg", "", "2024"),
        ] {
            let words = words(file);
            assert_eq!((question(&words).as_str(), words.as_str()), (asked, alt), "{file}");
        }
    }

    #[test]
    fn a_list_says_more_than_names_and_names_files_alone() {
        let all = listed(
            br#"[{"file": "a.png", "question": "", "alt": "A cat.", "answer": "cat"}, {"file": "What_now.png"}]"#,
        );
        let all = all.expect("it is a list");
        assert_eq!((all[0].question.as_str(), all[0].alt.as_str()), ("", "A cat."));
        assert_eq!(
            (all[1].question.as_str(), all[1].alt.as_str()),
            ("What now?", "What now")
        );
        for outside in ["../a.png", "/etc/passwd", "a/b.png", "..", "a\\\\b.png", ""] {
            let list = format!(r#"[{{"file": "{outside}"}}]"#);
            assert!(
                matches!(listed(list.as_bytes()), Err(ExamplesError::Name(_))),
                "{outside}"
            );
        }
        assert!(matches!(listed(b"{}"), Err(ExamplesError::List(_))));
        assert!(matches!(listed(br#"[{"question": "?"}]"#), Err(ExamplesError::List(_))));
    }
}
