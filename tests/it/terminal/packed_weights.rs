//! Weights that are kept as they were packed.

use std::path::Path;

use super::object;
use crate::support::{PictureFile, TinyCheckpoint, glimpse};
use serde_json::Value;

/// The numbers of an answer, with weights kept in a folder or without.
fn scores(checkpoint: &TinyCheckpoint, picture: &PictureFile, folder: Option<&Path>) -> Value {
    let output = glimpse()
        .args(["ask", "--json", "--model", checkpoint.path(), "--dtype", "q8_0"])
        .args(["--num-beams", "2", picture.path(), "what is it?"])
        .args(folder.iter().flat_map(|folder| [Path::new("--packed-weights"), folder]))
        .output()
        .expect("the program starts");
    let answer = object(&output);
    assert!(answer["sequence_score"].is_number(), "{answer}");
    Value::Array(vec![answer["token_ids"].clone(), answer["sequence_score"].clone()])
}

#[test]
fn kept_weights_give_the_same_answers_and_are_those_of_the_checkpoint_as_it_is() {
    let (picture, checkpoint) = (PictureFile::new(), TinyCheckpoint::new());
    let folder = tempfile::tempdir().expect("there is a folder for tests");
    let folder = folder.path().join("packed");
    let kept = || {
        let mut files = std::fs::read_dir(&folder).expect("it was made");
        let file = files.next().expect("there is one").expect("it can be read").path();
        assert!(files.next().is_none(), "there is one file alone");
        std::fs::metadata(file)
            .and_then(|about| about.modified())
            .expect("it is there")
    };
    let usual = scores(&checkpoint, &picture, None);
    assert_eq!(scores(&checkpoint, &picture, Some(&folder)), usual);
    let first = kept();
    assert_eq!(scores(&checkpoint, &picture, Some(&folder)), usual);
    assert_eq!(kept(), first, "it was read, and not written again");
    checkpoint.save(|tensors| {
        let changed = tensors["language_projection.weight"].neg().expect("it is numbers");
        tensors.insert("language_projection.weight".into(), changed);
    });
    let other = scores(&checkpoint, &picture, None);
    assert_ne!(other, usual);
    assert_eq!(scores(&checkpoint, &picture, Some(&folder)), other);
    assert_ne!(kept(), first, "it took the place of the old one");
}
