//! What is sent to the model in a conversation, checked from outside.

use crate::support::page::{ask, begin, call, get};
use crate::support::{PictureFile, Server, TinyCheckpoint, glimpse, stderr};
use serde_json::{Value, json};

/// Asks to the end; gives the last event.
fn asked(server: &Server, id: &str, question: Option<&str>, more: Value) -> Value {
    let mut request = json!({"conversation": id, "question": question, "max_new_tokens": 3});
    for (key, value) in more.as_object().into_iter().flatten() {
        request[key] = value.clone();
    }
    let last = ask(server, &json!({ "request": request }))
        .last()
        .expect("there are events");
    assert_eq!(last["event"], "done", "{last}");
    last
}

fn turns(server: &Server, id: &str) -> Vec<Value> {
    let (_, state) = call(server, "state", &json!({"conversation": id}));
    state["conversation"]["turns"].as_array().cloned().unwrap_or_default()
}

#[test]
fn earlier_turns_are_sent_along_and_the_prompt_is_told() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let id = begin(&server);
    let first = asked(&server, &id, Some("one?"), json!({}));
    assert_eq!(first["prompt"], "Question: one? Answer:");
    let caption = asked(&server, &id, None, json!({}));
    assert_eq!(caption["prompt"], "", "a caption is about the picture alone");
    let second = asked(&server, &id, Some("two?"), json!({}));
    let said = turns(&server, &id);
    let answer = |turn: usize| said[turn]["answer"].as_str().unwrap_or_default().trim();
    assert_ne!(answer(0), "", "the test says nothing about a silent model");
    let expected = format!("Question: one? Answer: {} Question: two? Answer:", answer(0));
    assert_eq!(second["prompt"], expected);
    // Two picture tokens, the begin-of-text token, and a token a byte.
    assert_eq!(second["prompt_tokens"], 3 + expected.len());
    assert_eq!(said[2]["prompt"], expected);

    let alone = asked(&server, &id, Some("three?"), json!({"context_turns": 0}));
    assert_eq!(alone["prompt"], "Question: three? Answer:");
    let one = asked(&server, &id, Some("four?"), json!({"context_turns": 1}));
    let said = turns(&server, &id);
    let answer = said[3]["answer"].as_str().unwrap_or_default().trim();
    assert_eq!(
        one["prompt"],
        format!("Question: three? Answer: {answer} Question: four? Answer:")
    );

    let request = json!({"request": {"conversation": id, "question": "?", "max_new_tokens": 3, "context_turns": 101}});
    let (status, error) = call(&server, "ask", &request);
    assert!(
        status == 400 && error["message"].as_str().is_some_and(|text| text.contains("0 to 100")),
        "{error}"
    );
    let page = get(&server, &format!("c/{id}")).to_string();
    assert!(page.contains(">Prompt</p>"), "the prompt is on the page");
}

#[test]
fn a_stopped_turn_takes_no_part() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path(), "--max-new-tokens", "4000"]);
    let id = begin(&server);
    let request = json!({"request": {"conversation": id, "question": "long?", "max_new_tokens": 4000}});
    let mut answer = ask(&server, &request);
    assert!(answer.by_ref().any(|event| event["event"] == "token"));
    assert_eq!(call(&server, "cancel", &json!({"conversation": id})).0, 200);
    let last = answer.last().expect("the stream says how it ended");
    assert_eq!(
        (&last["finish_reason"], &last["prompt"]),
        (&json!("cancelled"), &json!("Question: long? Answer:"))
    );
    assert_eq!(
        asked(&server, &id, Some("next?"), json!({}))["prompt"],
        "Question: next? Answer:"
    );
}

#[test]
fn the_oldest_turns_fall_off_when_the_model_has_no_more_room() {
    let model = TinyCheckpoint::new();
    model.shorten(500);
    let server = Server::start(&["--model", model.path()]);
    let id = begin(&server);
    // A token a byte: four of these fit into 500 positions, with an answer.
    let question = |number: usize| format!("{number}{}", "x".repeat(80));
    let mut last = Value::Null;
    for number in 0..6 {
        last = asked(&server, &id, Some(&question(number)), json!({}));
    }
    let prompt = last["prompt"].as_str().unwrap_or_default();
    assert!(
        !prompt.contains(&question(0)) && !prompt.contains(&question(1)),
        "the oldest are gone"
    );
    for number in 2..6 {
        assert!(prompt.contains(&question(number)), "{number} has room");
    }
    assert!(prompt.starts_with("Question: 2") && prompt.ends_with("x Answer:"));
    assert_eq!(last["prompt_tokens"], 3 + prompt.len(), "the picture's tokens stay");
}

#[test]
fn a_caption_may_begin_with_given_words() {
    let (model, picture) = (TinyCheckpoint::new(), PictureFile::new());
    let prompt = |arguments: &[&str]| {
        let base = ["ask", "--model", model.path(), "--json", "--max-new-tokens", "1"];
        let output = glimpse()
            .args(base)
            .args(arguments)
            .output()
            .expect("the program starts");
        assert!(output.status.success(), "{}", stderr(&output));
        let record: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        record["prompt_ids"].clone()
    };
    let path = picture.path();
    assert_eq!(
        prompt(&["--prefix", "a photo of", path]),
        prompt(&["--raw", path, "a photo of"])
    );
    assert_eq!(prompt(&[path, "hi"]), prompt(&["--raw", path, "Question: hi Answer:"]));
    for wrong in [&["--prefix", " ", path][..], &["--prefix", "a photo of", path, "who?"]] {
        let output = glimpse().arg("ask").args(wrong).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    }
}

#[test]
fn special_tokens_in_a_question_are_letters() {
    let (model, picture) = (TinyCheckpoint::new(), PictureFile::new());
    for text in ["<image>", "</s>", "<pad>", "a <image></s>?"] {
        let arguments = [
            "--model",
            model.path(),
            "--json",
            "--max-new-tokens",
            "1",
            "--raw",
            picture.path(),
            text,
        ];
        let output = crate::support::ask(arguments);
        let record: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        let ids = record["prompt_ids"].as_array().cloned().unwrap_or_default();
        assert_eq!(ids.len(), 3 + text.len(), "a token a letter: {text}");
        // 0, 1 and 2 are the special ones.
        assert!(
            ids[3..].iter().all(|id| id.as_u64().is_some_and(|id| id > 2)),
            "{text}: {ids:?}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_path_that_is_no_utf_8_is_a_path() {
    use std::os::unix::ffi::OsStrExt;
    let (model, picture) = (TinyCheckpoint::new(), PictureFile::new());
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.png");
    let path = std::path::Path::new(picture.path()).with_file_name(name);
    std::fs::copy(picture.path(), &path).expect("the folder is ours");
    let base = ["ask", "--model", model.path(), "--max-new-tokens", "1"];
    let output = glimpse().args(base).arg(&path).output().expect("the program starts");
    assert!(output.status.success(), "{}", stderr(&output));
}
