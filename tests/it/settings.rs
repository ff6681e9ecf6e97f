//! Ways of decoding over HTTP and through the page's form, checked from outside.

use crate::support::page::{ask, begin, call, post_form};
use crate::support::{Server, TinyCheckpoint, png, stderr};
use serde_json::{Value, json};

fn server(further: &[&str]) -> (TinyCheckpoint, Server) {
    let model = TinyCheckpoint::new();
    let server = Server::start(&[&["--model", model.path()], further].concat());
    (model, server)
}

/// What is asked with these settings, as a script sends it.
fn with(conversation: &str, settings: &Value) -> Value {
    let mut request = json!({"conversation": conversation, "question": "hi"});
    let settings = settings.as_object().expect("settings are an object");
    let all = request.as_object_mut().expect("it is an object");
    all.extend(settings.clone());
    json!({ "request": request })
}

/// The events of an answer, in a conversation of its own.
fn events(server: &Server, settings: &Value) -> Vec<Value> {
    ask(server, &with(&begin(server), settings)).collect()
}

fn text(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["text"].as_str()).collect()
}

#[test]
fn every_way_of_decoding_gives_what_the_terminal_gives() {
    let (model, server) = server(&[]);
    let file = model.folder.path().join("p.png");
    std::fs::write(&file, png([10, 200, 30])).expect("the folder is ours");
    let ways: [(Value, &[&str]); 4] = [
        (
            json!({"num_beams": 3, "length_penalty": -1.5, "early_stopping": "never"}),
            &[
                "--num-beams",
                "3",
                "--length-penalty",
                "-1.5",
                "--early-stopping",
                "never",
            ],
        ),
        (
            json!({"do_sample": true, "temperature": 3, "top_k": 0, "top_p": 0.9, "seed": 7}),
            &[
                "--do-sample",
                "--temperature",
                "3",
                "--top-k",
                "0",
                "--top-p",
                "0.9",
                "--seed",
                "7",
            ],
        ),
        (
            json!({"num_beams": 2, "do_sample": true, "seed": 1, "num_return_sequences": 2}),
            &[
                "--num-beams",
                "2",
                "--do-sample",
                "--seed",
                "1",
                "--num-return-sequences",
                "2",
            ],
        ),
        (
            json!({"repetition_penalty": 1.8, "no_repeat_ngram_size": 2, "raw": true}),
            &["--repetition-penalty", "1.8", "--no-repeat-ngram-size", "2", "--raw"],
        ),
    ];
    for (mut settings, flags) in ways {
        settings["max_new_tokens"] = json!(8);
        let events = events(&server, &settings);
        let last = events.last().expect("there are events");
        let base = ["--model", model.path(), "--json", "--max-new-tokens", "8"];
        let output = crate::support::glimpse()
            .arg("ask")
            .args(base)
            .args(flags)
            .arg(&file)
            .arg("hi")
            .output()
            .expect("the program starts");
        let record: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        assert_eq!(json!(text(&events)), record["answer"], "{settings}");
        assert_eq!(last["seed"], record["seed"], "{settings}");
        let further = record["answers"].as_array().map(|all| all[1..].to_vec());
        let further: Vec<_> = further
            .iter()
            .flatten()
            .map(|answer| answer["answer"].clone())
            .collect();
        assert_eq!(last["further_answers"], json!(further), "{settings}");
    }
}

#[test]
fn a_search_is_told_before_its_answer_and_its_turn_keeps_all_answers() {
    let (_model, server) = server(&[]);
    let id = begin(&server);
    let settings = json!({"num_beams": 4, "num_return_sequences": 3, "max_new_tokens": 5});
    let events: Vec<Value> = ask(&server, &with(&id, &settings)).collect();
    assert_eq!(
        events[1],
        json!({"event": "started", "num_beams": 4, "seq": 2}),
        "{events:?}"
    );
    let further = &events.last().expect("there are events")["further_answers"];
    assert_eq!(further.as_array().map(Vec::len), Some(2), "{further}");
    let (_, state) = call(&server, "state", &json!({"conversation": id}));
    assert_eq!(&state["conversation"]["turns"][0]["further_answers"], further);
}

#[test]
fn the_same_seed_gives_the_same_answer_whatever_else_is_asked() {
    let (_model, server) = server(&[]);
    let drawn = |seed: Value| {
        let settings = json!({"do_sample": true, "temperature": 3, "top_k": 0, "seed": seed, "max_new_tokens": 12});
        events(&server, &settings)
    };
    let first = text(&drawn(json!(5)));
    assert_ne!(text(&drawn(json!(6))), first);
    let others: Vec<String> = (0..3).map(|_| begin(&server)).collect();
    let streams: Vec<_> = others
        .iter()
        .map(|id| ask(&server, &with(id, &json!({"do_sample": true, "max_new_tokens": 50}))))
        .collect();
    assert_eq!(text(&drawn(json!(5))), first);
    drop(streams);
    let unseeded = drawn(Value::Null);
    let seed = unseeded.last().expect("there are events")["seed"].clone();
    assert!(seed.is_u64(), "{seed}");
    assert_eq!(
        text(&drawn(seed)),
        text(&unseeded),
        "the seed that was told repeats the answer"
    );
}

#[test]
fn stop_ends_a_search_at_once() {
    let (_model, server) = server(&["--max-new-tokens", "4000"]);
    let id = begin(&server);
    let mut answer = ask(&server, &with(&id, &json!({"num_beams": 10, "max_new_tokens": 4000})));
    assert!(answer.by_ref().any(|event| event["event"] == "started"));
    assert_eq!(call(&server, "cancel", &json!({"conversation": id})).0, 200);
    let last = answer.last().expect("the stream says how it ended");
    assert_eq!(last["finish_reason"], "cancelled", "{last}");
    assert!(
        text(&events(&server, &json!({"max_new_tokens": 2}))).len() == 2,
        "the model is free"
    );
}

#[test]
fn wrong_settings_are_named_with_what_they_may_be() {
    let (_model, server) = server(&["--max-beams", "4"]);
    let id = begin(&server);
    let wrong = [
        (json!({"num_beams": 5}), "num_beams is 5, and may be 1 to 4"),
        (json!({"num_beams": -1}), "num_beams is -1"),
        (json!({"num_beams": 2.5}), "without a fraction"),
        (json!({"max_new_tokens": 201}), "1 to 200"),
        (json!({"context_turns": 101}), "0 to 100"),
        (
            json!({"do_sample": true, "temperature": 0}),
            "temperature is 0, and may be 0.01 to 100",
        ),
        (json!({"do_sample": true, "seed": -3}), "seed is -3"),
        (json!({"temperature": 0.7}), "temperature is for drawing tokens"),
        (json!({"seed": 1}), "Add do_sample"),
        (json!({"length_penalty": 2}), "length_penalty is for beam search"),
        (json!({"early_stopping": true}), "early_stopping is for beam search"),
        (json!({"num_return_sequences": 2}), "greedy decoding has only one"),
        (
            json!({"num_beams": 2, "num_return_sequences": 3}),
            "num_return_sequences 3 is more than num_beams 2",
        ),
        (
            json!({"min_new_tokens": 9, "max_new_tokens": 8}),
            "min_new_tokens 9 is more than max_new_tokens 8",
        ),
        (json!({"prefix": "a photo of"}), "prefix is how a caption begins"),
        (json!({"question": null, "raw": true}), "raw sends a question as it is"),
        (json!({"num_beam": 2}), "unknown field `num_beam`"),
        (json!({"seed": 1, "num_beams": "5"}), "\"num_beams\" was not understood"),
        (json!({"early_stopping": "maybe"}), "it is false, true or \"never\""),
        (json!({"top_k": "many"}), "many"),
        (json!({"stop_strings": [""]}), "1 to 200 bytes"),
        (json!({"stop_strings": vec!["x"; 17]}), "at most 16"),
    ];
    for (settings, words) in wrong {
        let (status, error) = call(&server, "ask", &with(&id, &settings));
        assert_eq!(
            (status, error["code"].as_str()),
            (400, Some("setting_refused")),
            "{settings}: {error}"
        );
        let message = error["message"].as_str().unwrap_or_default();
        assert!(
            message.contains(words) && message.ends_with('.'),
            "{settings}: {message}"
        );
    }
    let (_, state) = call(&server, "state", &json!({"conversation": id}));
    assert_eq!(state["conversation"]["turns"], json!([]), "nothing was asked");
}

#[test]
fn a_caption_goes_on_from_its_prefix_and_stops_behind_a_text() {
    let (_model, server) = server(&[]);
    let settings = json!({"question": null, "prefix": "a photo of", "max_new_tokens": 9});
    let whole = events(&server, &settings);
    assert_eq!(
        whole.last().map(|last| last["prompt"].clone()),
        Some(json!("a photo of"))
    );
    let said = text(&whole);
    // Bytes that are no text have become others on the way.
    let end = said
        .chars()
        .find(char::is_ascii_alphanumeric)
        .expect("there is a letter");
    let mut stopped = settings;
    stopped["stop_strings"] = json!(["never said", end]);
    let stopped = events(&server, &stopped);
    assert_eq!(Some(text(&stopped).as_str()), said.split_inclusive(end).next());
    assert_eq!(
        stopped.last().map(|last| last["finish_reason"].clone()),
        Some(json!("stop"))
    );
}

#[test]
fn what_was_sent_as_it_is_is_no_turn_of_the_conversation() {
    let (_model, server) = server(&[]);
    let id = begin(&server);
    let prompt = |settings: Value| {
        let last = ask(&server, &with(&id, &settings)).last().expect("there are events");
        last["prompt"].clone()
    };
    assert_eq!(prompt(json!({"raw": true, "max_new_tokens": 2})), "hi");
    assert_eq!(prompt(json!({"max_new_tokens": 2})), "Question: hi Answer:");
}

#[test]
fn the_form_takes_the_settings_that_matter_and_gives_back_what_is_wrong() {
    let (_model, server) = server(&[]);
    let picture = png([9, 9, 200]);
    let post = |fields: &[(&str, &str)]| {
        let mut all: Vec<(&str, &str, &[u8])> = vec![("picture", "p.png", &picture), ("question", "", b"who?")];
        all.extend(fields.iter().map(|(name, value)| (*name, "", value.as_bytes())));
        all.push(("action", "", b"ask"));
        post_form(&server, &all)
    };
    let unused = [("length_penalty", "99"), ("num_beams", "99"), ("max_new_tokens", "3")];
    let sampling = [("decoding", "sampling"), ("seed", "12"), ("num_return_sequences", "3")];
    let (status, page) = post(&[&unused[..], &sampling[..]].concat());
    assert_eq!(status, 200);
    assert!(
        page.contains("Further answers") && page.contains("<dt>Seed</dt><dd>12</dd>"),
        "{page}"
    );

    let (status, page) = post(&[("decoding", "beams"), ("num_beams", "99"), ("stop_strings", "a<b")]);
    assert_eq!(status, 400);
    assert!(page.contains("Beams is 99, and may be 1 to 10"), "{page}");
    assert!(
        page.contains("value=\"99\"") && page.contains("a&lt;b"),
        "what was typed is still there"
    );
    let chosen = page.split("<input").find(|input| input.contains("value=\"beams\""));
    assert!(chosen.is_some_and(|input| input.split('>').next().unwrap_or_default().contains("checked")));
}

#[test]
fn a_request_that_is_too_large_gets_a_sentence() {
    use std::io::{Read, Write};
    let (_model, server) = server(&[]);
    let address = server.address.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    let head =
        "POST /api/page/upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 600000000\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    assert!(
        head.starts_with("HTTP/1.1 413") && head.contains("application/json"),
        "{answer}"
    );
    let error: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    assert_eq!(error["code"], "picture_too_large");
    assert_eq!(error["data"]["flag"], "--max-upload-bytes", "{error}");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|sentence| sentence.contains("67174400 bytes") && !sentence.contains("--")),
        "{error}"
    );
}

#[test]
fn limits_of_questions_and_turns_name_their_flags() {
    let (_model, server) = server(&["--max-turns", "1", "--max-question-chars", "5"]);
    let id = begin(&server);
    let refused = |question: &str| {
        call(
            &server,
            "ask",
            &json!({"request": {"conversation": id, "question": question}}),
        )
    };
    let (_, error) = refused("why, why, why?");
    assert_eq!(error["data"]["flag"], "--max-question-chars", "{error}");
    assert!(ask(&server, &with(&id, &json!({"max_new_tokens": 1}))).count() > 1);
    let (_, error) = refused("why?");
    assert_eq!(error["data"]["flag"], "--max-turns", "{error}");
}
