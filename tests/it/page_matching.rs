//! A model that compares texts with a picture, asked as the page asks it.

use serde_json::{Value, json};

use crate::support::page::{ask, begin, call, get, post_form};
use crate::support::{PictureFile, Server, glimpse, png, stderr};

const MATCHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo-model/matcher");
const CAPTIONER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo-model/captioner");

const TEXTS: [&str; 3] = ["a green square", "four snails", "a dog and a moon"];

fn request(conversation: &str, more: Value) -> Value {
    let mut request = json!({ "conversation": conversation });
    for (key, value) in more.as_object().into_iter().flatten() {
        request[key] = value.clone();
    }
    json!({ "request": request })
}

fn comparing(conversation: &str, texts: &[&str]) -> Value {
    request(conversation, json!({ "texts": texts }))
}

fn scores(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["event"] == "score").collect()
}

fn turns(server: &Server, id: &str) -> Vec<Value> {
    let (_, state) = call(server, "state", &json!({"conversation": id}));
    state["conversation"]["turns"].as_array().cloned().unwrap_or_default()
}

/// A refusal's code and sentence.
fn refused(server: &Server, arguments: &Value) -> (Value, String) {
    let (status, error) = call(server, "ask", arguments);
    assert!((400..500).contains(&status), "{status}: {error}");
    (
        error["code"].clone(),
        error["message"].as_str().unwrap_or_default().to_owned(),
    )
}

#[test]
fn texts_have_the_scores_that_the_terminal_gives_and_keep_them() {
    let server = Server::start(&["--model", MATCHER]);
    let (_, state) = call(&server, "state", &json!({"conversation": null}));
    assert_eq!(
        state["model"]["offers"],
        json!({"questions": false, "captions": false, "matching": true})
    );
    let id = begin(&server);
    let events: Vec<Value> = ask(&server, &comparing(&id, &TEXTS)).collect();
    let found = scores(&events);
    assert_eq!(found.len(), 3, "{events:?}");
    assert_eq!(events.last().map(|last| &last["finish_reason"]), Some(&json!("stop")));

    let file = PictureFile::new();
    let picture = file.beside("p.png", png([10, 200, 30]));
    let mut arguments = vec!["match", "--json", "--model", MATCHER, &picture];
    TEXTS.iter().for_each(|text| arguments.extend(["--text", text]));
    let output = glimpse().args(&arguments).output().expect("the program starts");
    let line: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    for (found, said) in found.iter().zip(line["scores"].as_array().into_iter().flatten()) {
        assert_eq!(found["text"], said["text"]);
        for measure in ["match", "cosine"] {
            let [one, other] = [found, &said].map(|score| score[measure].as_f64().expect("it is a number"));
            assert!((one - other).abs() < 1e-5, "{found} {said}");
        }
    }

    let turn = &turns(&server, &id)[0];
    let kept: Vec<&Value> = turn["scores"].as_array().into_iter().flatten().collect();
    assert_eq!(kept.len(), 3);
    for (kept, found) in kept.iter().zip(&found) {
        assert_eq!((&kept["text"], &kept["match"]), (&found["text"], &found["match"]));
    }
    assert_eq!(
        (&turn["question"], &turn["answer"]),
        (&json!(TEXTS.join("\n")), &json!(""))
    );
    // Spaces and empty texts are nobody's.
    let events: Vec<Value> = ask(&server, &comparing(&id, &["", "  a  green\nsquare ", " "])).collect();
    assert_eq!(scores(&events)[0]["text"], "a green square");
    assert_eq!(scores(&events)[0]["match"], found[0]["match"]);
}

#[test]
fn what_cannot_be_compared_is_refused_in_a_sentence() {
    let server = Server::start(&["--model", MATCHER, "--max-texts", "2", "--max-question-chars", "900"]);
    let id = begin(&server);
    assert_eq!(refused(&server, &comparing(&id, &["", " "])).0, "no_texts");
    assert_eq!(refused(&server, &request(&id, json!({"question": "hi"}))).0, "no_texts");
    let (code, said) = refused(&server, &comparing(&id, &TEXTS));
    assert_eq!(
        (code, said.contains('3') && said.contains('2')),
        (json!("too_many_texts"), true),
        "{said}"
    );
    let (code, said) = refused(&server, &comparing(&id, &["a dog", &"a".repeat(901)]));
    assert_eq!(
        (code, said.starts_with("Text 2 has 901")),
        (json!("text_too_long"), true),
        "{said}"
    );
    // Characters enough, and more tokens than the model reads: it is found out when it is read.
    let last = ask(&server, &comparing(&id, &[&"dog ".repeat(200)])).last();
    let last = last.expect("it ends");
    assert_eq!(
        (&last["event"], &last["code"]),
        (&json!("error"), &json!("question_refused"))
    );
    let said = last["message"].as_str().unwrap_or_default();
    assert!(said.contains("tokens long") && said.contains("at most 160"), "{said}");
    // What was refused before it began is no turn.
    assert_eq!(turns(&server, &id).len(), 1);
}

#[test]
fn a_captioner_and_a_matcher_share_a_server_and_are_asked_what_they_do() {
    let models = ["--model", CAPTIONER, "--model", MATCHER, "--preload"];
    let server = Server::start(&models);
    let id = begin(&server);
    let (_, said) = refused(&server, &comparing(&id, &TEXTS));
    assert!(
        said.contains("captioner writes captions, and compares no texts"),
        "{said}"
    );
    let both = json!({"model": "captioner", "compare_with": "matcher", "texts": TEXTS});
    let (_, said) = refused(&server, &request(&id, both));
    assert!(said.contains("cannot be asked the same"), "{said}");
    let of_matcher = json!({"model": "matcher", "texts": TEXTS});
    assert_eq!(
        scores(&ask(&server, &request(&id, of_matcher)).collect::<Vec<_>>()).len(),
        3
    );
    let caption = ask(&server, &request(&id, json!({"model": "captioner", "question": null}))).last();
    assert_eq!(caption.map(|last| last["event"].clone()), Some(json!("done")));
    let said = turns(&server, &id);
    assert!(said[0]["scores"].is_array() && said[1]["scores"].is_null(), "{said:?}");
    let metrics = get(&server, "metrics").to_string();
    assert!(metrics.contains("glimpse_model_loaded"), "{metrics}");
}

#[test]
fn two_matchers_score_the_same_texts_side_by_side() {
    let server = Server::start(&["--model", MATCHER, "--model", GOLDEN, "--preload"]);
    let (_, state) = call(&server, "state", &json!({"conversation": null}));
    let name = |index: usize| state["models"][index]["name"].clone();
    let id = begin(&server);
    let both = json!({"model": name(0), "compare_with": name(1), "texts": ["a dog", "a cat"]});
    let queued = ask(&server, &request(&id, both)).next().expect("it waits");
    let beside = json!({"conversation": id, "answer": queued["beside"][0], "after": 0});
    let (_, lines) = call(&server, "follow", &beside);
    assert_eq!(
        lines.as_str().unwrap_or_default().matches("\"score\"").count(),
        2,
        "{lines}"
    );
    // The first may take longer.
    let latest = json!({"conversation": id, "answer": queued["answer"], "after": 0});
    call(&server, "follow", &latest);
    let turn = &turns(&server, &id)[0];
    for answer in [turn, &turn["compared"][0]] {
        assert_eq!(answer["scores"].as_array().map(Vec::len), Some(2), "{turn}");
    }
}

/// BLIP-2 for matching, with weights drawn at random.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/retrieval/00");

#[test]
fn a_browser_without_javascript_compares_texts() {
    let server = Server::start(&["--model", CAPTIONER, "--model", MATCHER]);
    let picture = png([1, 2, 3]);
    // The page had a box for a question, where it is made for the first model.
    let (status, page) = post_form(
        &server,
        &[
            ("picture", "p.png", &picture),
            ("text", "", b"a red circle"),
            ("text", "", b""),
            ("text", "", b"a <b>dog</b>"),
            ("model", "", b"matcher"),
        ],
    );
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("Match 2 texts"), "{page}");
    assert_eq!(page.matches("class=\"cosine\"").count(), 2, "{page}");
    assert!(
        page.contains("a &lt;b&gt;dog&lt;/b&gt;") && page.contains("name=\"text\""),
        "{page}"
    );
    let (status, page) = post_form(&server, &[("example", "", b"2"), ("model", "", b"matcher")]);
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("Match 4 texts") && page.contains("four snails"), "{page}");
    let (status, page) = post_form(
        &server,
        &[
            ("picture", "p.png", &picture),
            ("text", "", b" "),
            ("model", "", b"matcher"),
        ],
    );
    assert_eq!(status, 422, "{page}");
    assert!(page.contains("Type a text to compare the picture with."), "{page}");
}

#[test]
fn the_terminal_says_of_a_matcher_that_it_answers_nothing() {
    let file = PictureFile::new();
    let output = glimpse().args(["ask", "--model", MATCHER, file.path()]).output();
    let output = output.expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("glimpse match"), "{}", stderr(&output));
}
