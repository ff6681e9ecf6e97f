//! Why cleaning stops. What is wrong with one picture is no reason: it is told in its row.

use std::path::{Path, PathBuf};

use super::shards::ShardRange;
use crate::engine::{EngineError, StartError};

/// Why cleaning stops; each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CapfiltError {
    #[error(
        "{input} is not there ({reason}). Name a folder of pictures with texts beside them, a .jsonl, .json, .csv, .tsv or .parquet file, or webdataset shards, as in 'data/{{00000..00099}}.tar'."
    )]
    NoInput { input: String, reason: String },
    #[error(
        "{path} ends as no form that is read. Name a folder, a .jsonl, .json, .csv or .tsv file, packed as .gz or not, a .parquet file, or shards, .tar or .tar.gz."
    )]
    UnknownForm { path: PathBuf },
    #[error("{input} holds no pictures and no shards. Name the folder or the files that do.")]
    EmptyInput { input: String },
    #[error("{path} cannot be read: {reason}. Mend it, or leave it out; what was scored before it is kept.")]
    Unreadable { path: PathBuf, reason: String },
    #[error("{path} cannot be written: {reason}. Make room there, or name another --output.")]
    Unwritable { path: PathBuf, reason: String },
    #[error(
        "Another process is writing to {folder}. Wait until it is done, or name another --output; several share one by --worker 0/2, 1/2, …"
    )]
    Busy { folder: PathBuf },
    #[error(
        "{folder} was begun with other settings: {name} was {was}, and is {is}. Run it with the same ones, or name another --output."
    )]
    OtherSettings {
        folder: PathBuf,
        name: String,
        was: String,
        is: String,
    },
    #[error(
        "{path} has {found} in the place of {expected}: the input has changed since this was begun. Bring it back, or name another --output."
    )]
    InputChanged {
        path: PathBuf,
        found: String,
        expected: String,
    },
    #[error("{place} has no shards with the numbers {wanted}: it has {there}. Name some of them with --shards.")]
    NoShards {
        place: PathBuf,
        wanted: String,
        there: String,
    },
    #[error(
        "{path} holds pairs, and no scores yet. Run `glimpse capfilt score` with it as --input, and name here what that wrote."
    )]
    Unscored { path: PathBuf },
    #[error("{folder} holds no scores. Name the --output of `glimpse capfilt score`, or a file of its rows.")]
    NoScores { folder: PathBuf },
    #[error(
        "The input that {scores} was made of is not there, so that there are no pictures to write. Bring it back, or use --output-format jsonl, which needs none."
    )]
    NoPictures { scores: PathBuf },
    #[error("{folder} is there already, and glimpse did not write it. Move it away, or name another --output.")]
    OthersFolder { folder: PathBuf },
    #[error("{path}, row {row}: {reason}. Name rows that `glimpse capfilt score` wrote.")]
    NoRow { path: PathBuf, row: u64, reason: String },
    #[error(
        "{name} {does}, and writes no captions. Name a captioner, as --captioner Salesforce/blip-image-captioning-base."
    )]
    NoCaptioner { name: String, does: &'static str },
    #[error(
        "{name} {does}, and compares no pictures with texts. Name a filter, as --filter Salesforce/blip-itm-base-coco."
    )]
    NoFilter { name: String, does: &'static str },
    #[error(
        "A caption may have {most} tokens, and what it begins with has {before} of them already. Raise --max-length, or shorten --prefix."
    )]
    NoRoomForCaption { most: usize, before: usize },
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Texts(#[from] crate::processor::TextError),
    #[error("The filter failed: {0}. Try again.")]
    Filter(String),
    #[error("The system gives no thread for reading pictures: {0}. End other programs, or allow more threads.")]
    NoThread(std::io::Error),
}

impl CapfiltError {
    /// Of a file that cannot be read.
    pub(super) fn unreadable(path: &Path, reason: impl ToString) -> Self {
        Self::Unreadable {
            path: path.to_path_buf(),
            reason: reason.to_string(),
        }
    }

    /// Of shards, or parts, of which none has a number that is wanted; their names are in order.
    pub(super) fn no_shards(place: &Path, wanted: ShardRange, names: &[String]) -> Self {
        Self::NoShards {
            place: place.to_path_buf(),
            wanted: wanted.to_string(),
            there: match names {
                [] => "none".into(),
                [only] => format!("{only} alone"),
                [first, .., last] => format!("{first} to {last}"),
            },
        }
    }

    /// Of a file that cannot be written.
    pub(super) fn unwritable(path: &Path, reason: impl ToString) -> Self {
        Self::Unwritable {
            path: path.to_path_buf(),
            reason: reason.to_string(),
        }
    }
}
