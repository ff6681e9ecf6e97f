//! What goes wrong while questions are answered: the one concerned ends with one sentence, and
//! everything else goes on.

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::page::{ask, begin, call, get, question};
use crate::support::script::ScriptControl;

const ANSWER: &str = "a scripted answer";

/// The events of a whole answer: `queued`, `started`, a token each, `done`.
const EVENTS: usize = 6;

fn turn(server: &Server, id: &str) -> Value {
    let (_, state) = call(server, "state", &json!({"conversation": id}));
    state["conversation"]["turns"][0].clone()
}

fn last(events: impl Iterator<Item = Value>) -> Value {
    events.last().expect("the stream says how it ended")
}

/// One sentence or two, and none of a program's own words.
fn is_for_visitors(error: &Value) -> bool {
    let sentence = error["message"].as_str().unwrap_or_default();
    sentence.ends_with('.') && !sentence.contains("::") && !sentence.contains("script")
}

#[test]
fn a_question_that_the_model_fails_on_is_the_only_one_that_fails() {
    let (server, script) = ScriptControl::start(&[]);
    for (failure, code) in [
        ("panicked", "model_failed"),
        ("device", "model_failed"),
        ("too_much_memory", "question_refused"),
        ("prompt_too_long", "question_refused"),
        ("deadline", "waited_too_long"),
        ("gone", "model_gone"),
    ] {
        script.post("close");
        let [mine, yours] = [begin(&server), begin(&server)];
        let failing = ask(&server, &question(&mine, 9));
        script.post("begin");
        let before = script.wait("running=1&waiting=0");
        let waiting = ask(&server, &question(&yours, 9));
        script.wait("waiting=1");
        script.post(&format!("fail?error={failure}"));
        let end = last(failing);
        assert_eq!(
            (&end["event"], &end["code"]),
            (&json!("error"), &json!(code)),
            "{failure}"
        );
        assert!(is_for_visitors(&end), "{end}");
        let kept = turn(&server, &mine);
        assert_eq!(
            (&kept["state"], &kept["error"]["message"]),
            (&json!("failed"), &end["message"])
        );
        script.post("open");
        assert_eq!(last(waiting)["finish_reason"], "stop", "{failure}");
        assert_eq!(
            last(ask(&server, &question(&mine, 9)))["finish_reason"],
            "stop",
            "{failure}"
        );
        assert_eq!(
            script.wait("running=0")["answered"].as_u64(),
            before["answered"].as_u64().map(|count| count + 2)
        );
        assert_eq!(get(&server, "readyz")["status"], "ready", "{failure}");
    }
}

#[test]
fn without_the_models_thread_everybody_is_told_and_what_was_said_is_still_shown() {
    let (server, script) = ScriptControl::start(&[]);
    let [said, mine, yours] = [(); 3].map(|()| begin(&server));
    let answered = ask(&server, &question(&said, 9));
    script.post("begin");
    script.post("release?tokens=all");
    assert_eq!(last(answered)["finish_reason"], "stop");
    let running = ask(&server, &question(&mine, 9));
    script.post("begin");
    script.wait("running=1");
    let waiting = ask(&server, &question(&yours, 9));
    script.wait("waiting=1");
    script.post("fail?error=dies");
    for end in [last(running), last(waiting)] {
        assert_eq!((&end["event"], &end["code"]), (&json!("error"), &json!("model_gone")));
        assert!(is_for_visitors(&end), "{end}");
    }
    let (status, refused) = call(&server, "ask", &question(&said, 9));
    assert_eq!((status, &refused["code"]), (503, &json!("model_gone")));
    let ready = ureq::get(format!("{}/readyz", server.address)).call();
    assert!(matches!(ready, Err(ureq::Error::StatusCode(503))), "{ready:?}");
    assert_eq!(turn(&server, &said)["answer"], ANSWER);
}

#[test]
fn whoever_is_cut_off_after_any_event_finds_the_answer_whole_and_takes_up_the_rest() {
    let (server, script) = ScriptControl::start(&["--grace-seconds", "3600"]);
    for read in 0..=EVENTS {
        script.post("close");
        let id = begin(&server);
        script.post("begin");
        // What is read must have come, and nothing more.
        script.post(&format!("release?tokens={}", read.saturating_sub(2).min(3)));
        let mut events = ask(&server, &question(&id, 9));
        let seen: Vec<Value> = events.by_ref().take(read).collect();
        drop(events);
        script.post("open");
        let follow = json!({"conversation": id, "after": read});
        let rest = follow_up(&server, &follow);
        let texts = seen.iter().chain(&rest).filter_map(|event| event["text"].as_str());
        assert_eq!(texts.collect::<String>(), ANSWER, "cut off after {read}");
        let numbers = seen.iter().chain(&rest).map(|event| event["seq"].as_u64());
        assert!(
            numbers.eq((1..=EVENTS as u64).map(Some)),
            "cut off after {read}: {seen:?} {rest:?}"
        );
        let kept = turn(&server, &id);
        assert_eq!(
            (&kept["answer"], &kept["finish_reason"]),
            (&json!(ANSWER), &json!("stop"))
        );
    }
}

/// Takes up an answer, to its end.
fn follow_up(server: &Server, arguments: &Value) -> Vec<Value> {
    let (status, lines) = call(server, "follow", arguments);
    assert_eq!(status, 200, "{lines}");
    let lines = match lines {
        Value::String(text) => text,
        // A single line is read as what it is.
        line => line.to_string(),
    };
    let events = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("every line is JSON"));
    events.filter(|event: &Value| event["event"] != "heartbeat").collect()
}
