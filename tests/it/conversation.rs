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

#[test]
fn another_question_in_the_place_of_one_knows_nothing_of_what_followed_that() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let id = begin(&server);
    asked(&server, &id, Some("one?"), json!({}));
    asked(&server, &id, Some("two?"), json!({}));
    let said = turns(&server, &id);
    let [first, second] = [&said[0]["id"], &said[1]["id"]];
    let answer = said[0]["answer"].as_str().unwrap_or_default().trim().to_owned();

    let behind_first = asked(&server, &id, Some("other?"), json!({"place": {"after": first}}));
    assert_eq!(
        behind_first["prompt"],
        format!("Question: one? Answer: {answer} Question: other? Answer:")
    );
    let first_instead = asked(&server, &id, Some("anew?"), json!({"place": {"after": null}}));
    assert_eq!(first_instead["prompt"], "Question: anew? Answer:");
    let said = turns(&server, &id);
    let parents: Vec<&Value> = said.iter().map(|turn| &turn["parent"]).collect();
    assert_eq!(parents, [&Value::Null, first, first, &Value::Null]);

    let behind_second = asked(&server, &id, Some("on?"), json!({"place": {"after": second}}));
    let prompt = behind_second["prompt"].as_str().unwrap_or_default();
    assert!(
        prompt.contains("two?") && !prompt.contains("other?") && !prompt.contains("anew?"),
        "{prompt}"
    );

    let foreign = json!({"request": {"conversation": id, "question": "?", "place": {"after": "0".repeat(32)}}});
    assert_eq!(call(&server, "ask", &foreign).0, 404);
    let no_id = json!({"request": {"conversation": id, "question": "?", "place": {"after": "../x"}}});
    assert_eq!(call(&server, "ask", &no_id).0, 404);
    assert_eq!(turns(&server, &id).len(), 5, "what was refused is no turn");
}

#[test]
fn another_answer_is_of_the_same_turn_and_knows_what_the_first_knew() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let id = begin(&server);
    asked(&server, &id, Some("one?"), json!({}));
    asked(&server, &id, Some("two?"), json!({}));
    asked(&server, &id, Some("three?"), json!({}));
    let before = turns(&server, &id);
    let second = &before[1];
    let again = asked(
        &server,
        &id,
        Some("what is sent here does not count"),
        json!({"place": {"again": second["id"]}, "do_sample": true, "seed": 5}),
    );
    assert_eq!(again["prompt"], second["prompt"]);
    let said = turns(&server, &id);
    assert_eq!(said.len(), 3);
    assert_eq!((&said[1]["question"], &said[1]["seed"]), (&json!("two?"), &json!(5)));
    let earlier = said[1]["earlier"].as_array().cloned().unwrap_or_default();
    assert_eq!(earlier.len(), 1);
    assert_eq!(
        (&earlier[0]["answer_id"], &earlier[0]["answer"]),
        (&second["answer_id"], &second["answer"])
    );
    assert_ne!(said[1]["answer_id"], second["answer_id"]);
}

#[test]
fn an_answer_that_was_cut_off_goes_on_where_it_ended() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path(), "--max-new-tokens", "10"]);
    for how in [json!({}), json!({"do_sample": true, "temperature": 1.5})] {
        let id = begin(&server);
        let first = asked(&server, &id, Some("long?"), how);
        assert_eq!(first["finish_reason"], "length");
        let mut lengths = Vec::new();
        let mut texts = Vec::new();
        loop {
            let turn = turns(&server, &id).pop().expect("it was asked");
            lengths.push(turn["tokens"].as_u64().unwrap_or_default());
            texts.push(turn["answer"].as_str().unwrap_or_default().to_owned());
            let longer =
                json!({"request": {"conversation": id, "question": "?", "place": {"longer": turn["answer_id"]}}});
            if lengths.len() == 3 {
                let (status, error) = call(&server, "ask", &longer);
                let sentence = error["message"].as_str().unwrap_or_default();
                assert!(status == 400 && sentence.contains("10 tokens at most"), "{error}");
                break;
            }
            ask(&server, &longer).last().expect("there are events");
        }
        assert_eq!(lengths, [3, 6, 10]);
        assert!(
            texts.is_sorted_by(|short, long| long.starts_with(short.as_str())),
            "{texts:?}"
        );
        assert_eq!(turns(&server, &id).len(), 1);
    }
}
