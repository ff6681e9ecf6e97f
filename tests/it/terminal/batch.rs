//! A file of questions.

use serde_json::Value;

use crate::support::{PictureFile, TinyCheckpoint, ask, glimpse, stderr};

#[test]
fn a_batch_answers_in_order_and_a_bad_line_in_its_place() {
    let model = TinyCheckpoint::new();
    let picture = PictureFile::new();
    let line = |question: &str| serde_json::json!({"picture": picture.path(), "question": question}).to_string();
    let missing = serde_json::json!({"picture": "nowhere.png"}).to_string();
    let file = picture.beside(
        "questions.jsonl",
        [line("a"), "{oops".into(), missing, line("abc")].join("\n"),
    );
    let output = ask(["--model", model.path(), "--max-new-tokens", "2", "--batch", &file]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    assert_eq!(lines.len(), 4);
    let prompt = |index: usize| lines[index]["prompt_ids"].as_array().map(Vec::len);
    assert_eq!(prompt(3).zip(prompt(0)).map(|(long, short)| long - short), Some(2));
    assert!(
        lines[1]["error"]
            .as_str()
            .is_some_and(|error| error.starts_with("line 2") && !error.contains("column"))
    );
    assert!(
        lines[2]["error"]
            .as_str()
            .is_some_and(|error| error.contains("nowhere.png"))
    );
}

#[test]
fn a_key_that_is_not_read_is_named_once() {
    let model = TinyCheckpoint::new();
    let picture = PictureFile::new();
    let line = serde_json::json!({"picture": picture.path(), "Question": "a"}).to_string();
    let file = picture.beside("questions.jsonl", [line.clone(), line].join("\n"));
    let output = glimpse()
        .args([
            "ask",
            "--model",
            model.path(),
            "--max-new-tokens",
            "2",
            "--batch",
            &file,
        ])
        .env("GLIMPSE_LOG", "warn")
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output).matches("\"Question\", which is not read").count(), 1);
}

#[test]
fn a_batch_that_cannot_work_is_refused_before_the_model_is_loaded() {
    let picture = PictureFile::new();
    let file = picture.beside("questions.jsonl", String::new());
    let output = ask(["--model", "nowhere", "--batch", "."]);
    assert!(stderr(&output).contains(". is a folder"));
    let output = ask(["--model", "nowhere", "--prefix", " ", "--batch", &file]);
    assert_eq!(output.status.code(), Some(2));
}
