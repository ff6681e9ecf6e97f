//! What the terminal promises: answers, and one sentence for everything that goes wrong.

mod answers;
mod attention;
mod batch;
mod caption;
mod checkpoints;
mod flags;
mod generation;
mod kernels;
mod named_settings;
mod packed_weights;
mod proxy;
mod questions;
mod several;

use std::process::Output;

use crate::support::{PictureFile, TinyCheckpoint, glimpse, stderr};
use serde_json::Value;

/// One sentence or two on standard error, with these words, and exit status 1.
fn refused(output: &Output, words: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(output.stdout.is_empty(), "nothing but answers goes to standard output");
    assert_eq!(message.lines().count(), 1, "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

/// The object that was printed, where the question was answered.
fn object(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

/// How many of something a record lists.
fn count(record: &Value, field: &str) -> usize {
    record[field].as_array().expect("it is a list").len()
}

/// What `glimpse ask --json` prints for a small picture, with these further arguments.
fn record(model: &TinyCheckpoint, arguments: &[&str]) -> Value {
    let picture = PictureFile::new();
    let output = glimpse()
        .args(["ask", "--json", "--model", model.path(), picture.path()])
        .args(arguments)
        .output();
    object(&output.expect("the program starts"))
}
