//! How long a question may wait and an answer may take: each has its limit, and says which it was.

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::page::{ask, begin, call, question};
use crate::support::script::ScriptControl;

/// Longer than a test takes.
const FOR_EVER: &str = "3600";

/// Asks, and gives how it ended and what is kept of it.
fn failed(server: &Server) -> (Value, Value) {
    let id = begin(server);
    let last = ask(server, &question(&id, 9))
        .last()
        .expect("the stream says how it ended");
    assert_eq!(last["event"], "error", "{last}");
    let (_, state) = call(server, "state", &json!({"conversation": id}));
    (last, state["conversation"]["turns"][0].clone())
}

#[test]
fn a_question_that_the_model_does_not_come_to_says_so() {
    let limits = ["--max-wait-seconds", "1", "--max-answer-seconds", FOR_EVER];
    let (server, script) = ScriptControl::start(&limits);
    let (last, kept) = failed(&server);
    assert_eq!(
        (&last["code"], &last["data"]["flag"]),
        (&json!("waited_too_long"), &json!("--max-wait-seconds"))
    );
    let sentence = last["message"].as_str().unwrap_or_default();
    assert!(sentence.contains("did not come to this question"), "{sentence}");
    assert_eq!(
        (&kept["state"], &kept["error"]["code"]),
        (&json!("failed"), &last["code"])
    );
    assert_eq!(script.wait("waiting=0")["begun"], 0, "it holds no place");
}

#[test]
fn an_answer_that_takes_too_long_says_so_and_frees_the_model() {
    let limits = ["--max-wait-seconds", FOR_EVER, "--max-answer-seconds", "1"];
    let (server, script) = ScriptControl::start(&limits);
    script.post("begin");
    script.post("release?tokens=2");
    let (last, kept) = failed(&server);
    assert_eq!(
        (&last["code"], &last["data"]["flag"]),
        (&json!("too_slow"), &json!("--max-answer-seconds"))
    );
    let sentence = last["message"].as_str().unwrap_or_default();
    assert!(sentence.contains("took longer"), "{sentence}");
    assert_eq!(
        (&kept["state"], &kept["answer"]),
        (&json!("failed"), &json!("a scripted"))
    );
    script.wait("running=0&cancelled=1");
}
