//! Pictures and questions that cannot be taken.

use super::refused;
use crate::support::{PictureFile, TinyCheckpoint, ask, png, stderr};

#[test]
fn bad_pictures_get_a_sentence() {
    let folder = PictureFile::new();
    let refuse = |name: &str, bytes: &[u8], words: &[&str]| {
        refused(&ask([&folder.beside(name, bytes), "what?"]), words);
    };
    refuse("notes.txt", b"no picture at all", &["notes.txt", "not a picture"]);
    refuse("empty.png", b"", &["empty.png", "empty"]);
    let whole = png([1, 2, 3]);
    refuse("half.png", &whole[..whole.len() / 2], &["half.png"]);
    refuse(
        "bomb.png",
        &declared_size(&whole, 40_000, 40_000),
        &["40000 x 40000", "1600000000"],
    );
    refuse(
        "thin.png",
        &declared_size(&whole, 90_000_000, 1),
        &["90000000 x 1", "65535"],
    );
    refuse("huge.bmp", &vec![b'B'; 100 << 20], &["bytes", "accepted"]);
    refused(&ask(["nowhere.png", "what?"]), &["nowhere.png"]);
    refused(
        &ask(["https://pictures.invalid/cat.jpg"]),
        &["https://pictures.invalid/cat.jpg"],
    );
}

#[test]
fn whoever_asks_sets_the_limits_of_a_picture_as_a_host_does() {
    let picture = PictureFile::new();
    let refused_by = |flag, words: &[&str]| refused(&ask([picture.path(), flag, "what?"]), words);
    refused_by("--max-pixels=1199", &["40 x 30", "1199"]);
    refused_by("--max-upload-bytes=10", &["at most 10"]);
    let model = TinyCheckpoint::new();
    let output = ask([
        "--model",
        model.path(),
        "--max-pixels=1200",
        "--max-new-tokens=1",
        picture.path(),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A PNG that says it is of another size, with its checksum put right.
fn declared_size(png: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png.to_vec();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = bytes[12..29].iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1)))
    });
    bytes[29..33].copy_from_slice(&(!checksum).to_be_bytes());
    bytes
}

#[test]
fn bad_questions_get_a_sentence() {
    let model = TinyCheckpoint::new();
    let picture = PictureFile::new();
    let empty = ask(["--model", model.path(), picture.path(), "  "]);
    assert_eq!(empty.status.code(), Some(2));
    assert!(stderr(&empty).contains("question is empty"));
    let long = "x".repeat(100_000);
    refused(
        &ask(["--model", model.path(), picture.path(), &long]),
        &["tokens", "8191"],
    );
}
