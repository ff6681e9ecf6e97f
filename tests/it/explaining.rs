//! Why an answer is as it is, asked as the page asks it.

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::page::{ask, begin, call, call_as};

const MATCHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo-model/matcher");
const SOMEBODY_ELSE: &str = "0123456789abcdef0123456789abcdef";

/// The answer's name and its text.
fn answered(server: &Server, conversation: &str, question: Option<&str>) -> (String, String) {
    let request = json!({"request": {"conversation": conversation, "question": question}});
    let events: Vec<Value> = ask(server, &request).collect();
    let id = events[0]["answer"].as_str().expect("it has a name").to_owned();
    let text = events.iter().filter_map(|event| event["text"].as_str()).collect();
    (id, text)
}

fn explained(server: &Server, conversation: &str, answer: &str) -> (u16, Value) {
    call(
        server,
        "explain",
        &json!({"conversation": conversation, "answer": answer}),
    )
}

fn assert_is_whole(explained: &Value, text: &str) {
    let words = explained["words"].as_array().expect("it has words");
    let together: String = words.iter().filter_map(|word| word["text"].as_str()).collect();
    assert_eq!(together.trim(), text.trim());
    let maps = words.iter().chain([explained]).map(|part| part["map"].as_str());
    for map in maps {
        assert!(map.is_some_and(|map| map.starts_with("data:image/png;base64,")));
    }
    for word in words {
        let probability = word["probability"].as_f64().expect("it is a number");
        assert!((0.0..=1.0).contains(&probability), "{word}");
        assert_eq!(word["others"].as_array().map(Vec::len), Some(4), "{word}");
    }
}

#[test]
fn every_word_says_where_the_model_looked_and_how_sure_it_was() {
    let server = Server::start(&[]);
    let id = begin(&server);
    for question in [Some("what is in the picture?"), None, Some("and what else?")] {
        let (answer, text) = answered(&server, &id, question);
        let (status, explained) = explained(&server, &id, &answer);
        assert_eq!(status, 200, "{explained}");
        assert_is_whole(&explained, &text);
    }
}

#[test]
fn an_answer_is_explained_to_its_owner_alone() {
    let server = Server::start(&[]);
    let id = begin(&server);
    let (answer, _) = answered(&server, &id, None);
    let arguments = json!({"conversation": id, "answer": answer});
    let (status, refused) = call_as(SOMEBODY_ELSE, &server, "explain", &arguments);
    assert_eq!((status, &refused["code"]), (404, &json!("not_found")));
    for wrong in ["", "x", "0123456789abcdef0123456789abcdef"] {
        let (status, refused) = explained(&server, &id, wrong);
        assert_eq!(status, 404, "{refused}");
    }
}

#[test]
fn what_a_model_that_compares_said_cannot_be_explained_and_the_sentence_says_so() {
    let server = Server::start(&["--model", MATCHER]);
    let id = begin(&server);
    let request = json!({"request": {"conversation": id, "texts": ["a dog"]}});
    let events: Vec<Value> = ask(&server, &request).collect();
    let answer = events[0]["answer"].as_str().expect("it has a name");
    let (status, refused) = explained(&server, &id, answer);
    assert_eq!(status, 404);
    assert!(
        refused["message"]
            .as_str()
            .is_some_and(|said| said.contains("cannot be explained")),
        "{refused}"
    );
}

#[test]
fn an_answer_is_explained_after_a_restart() {
    let data = tempfile::tempdir().expect("there is a disk");
    let folder = data.path().to_str().expect("it is text");
    let server = Server::start(&["--data", folder]);
    let id = begin(&server);
    let (answer, text) = answered(&server, &id, Some("what color is it?"));
    drop(server);
    let server = Server::start(&["--data", folder]);
    let (status, explained) = explained(&server, &id, &answer);
    assert_eq!(status, 200, "{explained}");
    assert_is_whole(&explained, &text);
}
