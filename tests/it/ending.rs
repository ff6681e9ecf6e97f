//! Asking the process to end: what has begun is answered for a while, what waits is told, and
//! what has come of answers is kept.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Server;
use crate::support::page::{VISITOR, VISITOR_HEADER, ask, begin, call, post_form, question};
use crate::support::script::ScriptControl;

/// Longer than a test takes.
const FOR_EVER: &str = "3600";

/// A server with a script, and the folder that it keeps conversations in.
struct Scripted {
    server: Server,
    script: ScriptControl,
    data: TempDir,
}

impl Scripted {
    fn start(drain_seconds: &str) -> Self {
        let data = tempfile::tempdir().expect("a folder for tests");
        let (server, script) = Self::start_in(&data, drain_seconds);
        Self { server, script, data }
    }

    fn start_in(data: &TempDir, drain_seconds: &str) -> (Server, ScriptControl) {
        let folder = data.path().to_str().expect("temporary folders have plain names");
        ScriptControl::start(&["--data", folder, "--drain-seconds", drain_seconds])
    }

    /// Asks a question whose first token has come.
    fn running(&self) -> (String, impl Iterator<Item = Value> + use<>) {
        let id = begin(&self.server);
        let mut events = ask(&self.server, &question(&id, 9));
        self.script.post("begin");
        self.script.post("release");
        assert!(events.any(|event| event["event"] == "token"));
        (id, events)
    }

    /// Asks a question that waits.
    fn waiting(&self) -> (String, impl Iterator<Item = Value> + use<>) {
        let id = begin(&self.server);
        let mut events = ask(&self.server, &question(&id, 9));
        assert_eq!(events.next().map(|event| event["event"].clone()), Some(json!("queued")));
        (id, events)
    }

    /// The process has ended by itself; the turn of a conversation as the next one knows it.
    fn turn_after_restart(mut self, id: &str) -> Value {
        assert_eq!(self.server.exit_code(), Some(0));
        drop((self.server, self.script));
        let (server, _script) = Self::start_in(&self.data, "0");
        let (_, state) = call(&server, "state", &json!({"conversation": id}));
        state["conversation"]["turns"][0].clone()
    }
}

fn last(events: impl Iterator<Item = Value>) -> Value {
    events.last().expect("the stream says how it ended")
}

/// Status, `Retry-After` and body.
fn get(server: &Server, path: &str) -> (u16, Option<String>, Value) {
    let request = ureq::get(format!("{}/{path}", server.address));
    read(request.config().http_status_as_error(false).build().call())
}

fn read(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, Option<String>, Value) {
    let mut response = response.expect("the server answers");
    let retry_after = response.headers().get("retry-after").cloned();
    let text = response.body_mut().read_to_string().expect("it is text");
    (
        response.status().as_u16(),
        retry_after.and_then(|value| value.to_str().ok().map(str::to_owned)),
        serde_json::from_str(&text).expect("it is JSON"),
    )
}

#[test]
fn what_has_begun_is_answered_and_what_waits_or_comes_is_told() {
    let scripted = Scripted::start(FOR_EVER);
    let (id, running) = scripted.running();
    let (waiting_id, waiting) = scripted.waiting();
    scripted.server.signal("TERM");
    let told = last(waiting);
    assert_eq!((&told["event"], &told["code"]), (&json!("error"), &json!("ending")));
    let sentence = told["message"].as_str().unwrap_or_default().to_owned();
    assert!(sentence.contains("being restarted"), "{told}");

    let (status, retry_after, ready) = get(&scripted.server, "readyz");
    assert_eq!((status, &ready["status"]), (503, &json!("ending")));
    assert!(retry_after.is_some());
    assert_eq!(get(&scripted.server, "healthz").0, 200, "it lives");
    let request = ureq::post(format!("{}/api/page/ask", scripted.server.address));
    let request = request.header(VISITOR_HEADER, VISITOR).content_type("application/json");
    let request = request.config().http_status_as_error(false).build();
    let (status, retry_after, refused) = read(request.send(question(&waiting_id, 9).to_string()));
    assert_eq!((status, &refused["message"]), (503, &json!(sentence)));
    assert!(retry_after.is_some());

    scripted.script.post("release?tokens=all");
    let end = last(running);
    assert_eq!((&end["event"], &end["finish_reason"]), (&json!("done"), &json!("stop")));
    let turn = scripted.turn_after_restart(&id);
    assert_eq!(
        (&turn["answer"], &turn["finish_reason"]),
        (&json!("a scripted answer"), &json!("stop"))
    );
}

#[test]
fn a_question_that_waited_for_a_server_that_ended_says_so_and_can_be_asked_again() {
    let scripted = Scripted::start("1");
    let (_, running) = scripted.running();
    let (id, _waiting) = scripted.waiting();
    scripted.server.signal("TERM");
    assert_eq!(last(running)["finish_reason"], "interrupted");
    let turn = scripted.turn_after_restart(&id);
    assert_eq!(
        (&turn["state"], &turn["error"]["code"]),
        (&json!("failed"), &json!("ending"))
    );
}

#[test]
fn what_runs_when_the_time_is_over_is_kept_as_interrupted() {
    for drain_seconds in ["0", "1"] {
        let scripted = Scripted::start(drain_seconds);
        let (id, running) = scripted.running();
        scripted.server.signal("TERM");
        let end = last(running);
        assert_eq!(
            (&end["event"], &end["finish_reason"]),
            (&json!("done"), &json!("interrupted"))
        );
        let turn = scripted.turn_after_restart(&id);
        assert_eq!(
            (&turn["answer"], &turn["finish_reason"]),
            (&json!("a"), &json!("interrupted"))
        );
    }
}

#[test]
fn asked_a_second_time_it_ends_at_once_and_keeps_what_has_come() {
    for signal in ["TERM", "INT"] {
        let scripted = Scripted::start(FOR_EVER);
        let (id, _running) = scripted.running();
        let (_, waiting) = scripted.waiting();
        scripted.server.signal("TERM");
        assert_eq!(last(waiting)["code"], "ending", "the first was heard");
        scripted.server.signal(signal);
        let turn = scripted.turn_after_restart(&id);
        assert_eq!(
            (&turn["answer"], &turn["finish_reason"]),
            (&json!("a"), &json!("interrupted"))
        );
    }
}

#[test]
fn nobody_is_waited_for_where_nothing_runs() {
    let mut scripted = Scripted::start(FOR_EVER);
    scripted.server.signal("TERM");
    assert_eq!(scripted.server.exit_code(), Some(0));
}

/// What follows in a conversation, to the end.
fn followed(server: &Server, arguments: &Value) -> Vec<Value> {
    let response = ureq::post(format!("{}/api/page/follow", server.address))
        .header(VISITOR_HEADER, VISITOR)
        .content_type("application/json")
        .send(arguments.to_string());
    let text = response.and_then(|mut response| response.body_mut().read_to_string());
    let text = text.expect("it can be followed");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("it is JSON"))
        .collect()
}

#[test]
fn a_stream_is_taken_up_after_a_restart() {
    let mut scripted = Scripted::start("0");
    let (id, running) = scripted.running();
    scripted.server.signal("TERM");
    let end = last(running);
    assert_eq!(end["finish_reason"], "interrupted");
    assert_eq!(scripted.server.exit_code(), Some(0));
    drop((scripted.server, scripted.script));
    let (server, _script) = Scripted::start_in(&scripted.data, "0");
    let (_, state) = call(&server, "state", &json!({"conversation": id}));
    let turn = &state["conversation"]["turns"][0];
    for answer in [Value::Null, turn["answer_id"].clone()] {
        let lines = followed(&server, &json!({"conversation": id, "answer": answer, "after": 3}));
        let [whole, done] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        assert_eq!((&whole["event"], &whole["seq"]), (&json!("kept"), &json!(4)));
        assert_eq!(
            (&whole["text"], &whole["answer"]),
            (&turn["answer"], &turn["answer_id"])
        );
        assert_eq!(whole["text"], "a");
        assert_eq!(
            (&done["event"], &done["finish_reason"]),
            (&json!("done"), &json!("interrupted"))
        );
        assert_eq!(done["generated_tokens"], 1);
    }
}

#[test]
fn an_answer_that_is_stopped_says_what_it_took() {
    let scripted = Scripted::start("0");
    let (id, running) = scripted.running();
    let (status, _) = call(&scripted.server, "cancel", &json!({"conversation": id}));
    assert_eq!(status, 200);
    let end = last(running);
    assert_eq!(
        (&end["finish_reason"], &end["generated_tokens"]),
        (&json!("cancelled"), &json!(1))
    );
    assert!(end["prompt_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{end}");
    assert!(
        end["timings_ms"]["total"].as_f64().is_some_and(|total| total > 0.0),
        "{end}"
    );
}

#[test]
fn an_answer_is_stopped_without_scripts() {
    let scripted = Scripted::start("0");
    let (id, running) = scripted.running();
    let form = [("conversation", "", id.as_bytes()), ("action", "", b"stop".as_slice())];
    let (status, page) = post_form(&scripted.server, &form);
    assert!(matches!(status, 200 | 303), "{status} {page}");
    assert_eq!(last(running)["finish_reason"], "cancelled");
}
