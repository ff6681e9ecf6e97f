//! Every request has an id: in the log, in its answer's header, and in what a visitor reads
//! whom a fault has met.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::page::{VISITOR, VISITOR_HEADER, begin, call, post_form, question};
use crate::support::script::ScriptControl;
use crate::support::{Server, TinyCheckpoint, glimpse, png};

/// The program with a log for programs, of errors alone, in this file.
fn logging_to(log: &Path) -> Command {
    let mut program = glimpse();
    program
        .env("GLIMPSE_LOG_FORMAT", "json")
        .stderr(File::create(log).expect("the folder is ours"));
    program
}

/// The ids of the requests whose errors are in the log.
fn logged(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).expect("it is there from the start");
    let lines = text.lines().map(serde_json::from_str::<Value>);
    let lines = lines.map(|line| line.expect("each line is an object"));
    lines
        .filter(|line| line["level"] == "ERROR")
        .map(|line| line["span"]["id"].clone())
        .collect()
}

/// A server whose disk takes no picture, and its log.
fn with_a_broken_disk() -> (TempDir, PathBuf, Server) {
    let folder = tempfile::tempdir().expect("a folder for tests");
    let (log, data) = (folder.path().join("log"), folder.path().join("data"));
    let data_name = data.to_str().expect("temporary folders have plain names");
    let arguments = ["--engine", "scripted", "--data", data_name];
    let server = Server::start_as(logging_to(&log), "127.0.0.1", &arguments);
    let pictures = data.join("pictures");
    // It is there or not: a file is in its place from now on.
    let _ = std::fs::remove_dir_all(&pictures);
    std::fs::write(&pictures, "").expect("the folder is ours");
    (folder, log, server)
}

#[test]
fn whoever_meets_a_fault_reads_the_id_that_the_log_has() {
    let (_folder, log, server) = with_a_broken_disk();
    let mut body = b"--edge\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"p\"\r\n\r\n".to_vec();
    body.extend_from_slice(&png([1, 2, 3]));
    body.extend_from_slice(b"\r\n--edge--\r\n");
    let mut answer = ureq::post(format!("{}/api/page/upload", server.address))
        .header(VISITOR_HEADER, VISITOR)
        .content_type("multipart/form-data; boundary=edge")
        .config()
        .http_status_as_error(false)
        .build()
        .send(&body)
        .expect("the server answers");
    let id = answer.headers()["x-request-id"]
        .to_str()
        .expect("it is plain")
        .to_owned();
    let text = answer.body_mut().read_to_string().expect("it is text");
    let error: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(
        (answer.status().as_u16(), &error["code"]),
        (500, &json!("internal")),
        "{error}"
    );
    assert_eq!(error["data"]["request"], *id);
    let sentence = error["message"].as_str().unwrap_or_default();
    assert!(sentence.contains(&format!("(request {id})")), "{sentence}");
    assert_eq!(logged(&log), [json!(id)]);
}

#[test]
fn without_javascript_the_page_tells_the_id_too() {
    let (_folder, log, server) = with_a_broken_disk();
    let picture = png([1, 2, 3]);
    let (status, page) = post_form(&server, &[("picture", "p.png", &picture), ("action", "", b"open")]);
    assert_eq!(status, 500);
    let logged = logged(&log);
    let id = logged.first().and_then(Value::as_str).expect("the log names a request");
    assert!(page.contains(&format!("(request {id})")), "{page}");
}

/// The lines of a stream, and the id of the request that it answers.
fn stream(server: &Server, function: &str, arguments: &Value) -> (String, Vec<Value>) {
    let response = ureq::post(format!("{}/api/page/{function}", server.address))
        .header(VISITOR_HEADER, VISITOR)
        .content_type("application/json")
        .send(arguments.to_string())
        .expect("it is accepted");
    let id = response.headers()["x-request-id"]
        .to_str()
        .expect("it is plain")
        .to_owned();
    let lines = BufReader::new(response.into_body().into_reader()).lines();
    let lines = lines.map(|line| serde_json::from_str(&line.expect("the stream holds")).expect("it is JSON"));
    (id, lines.collect())
}

#[test]
fn an_answer_that_fails_in_its_stream_names_the_request_that_asked() {
    let folder = tempfile::tempdir().expect("a folder for tests");
    let log = folder.path().join("log");
    let (server, control) = ScriptControl::start_as(logging_to(&log), &[]);
    let conversation = begin(&server);
    control.post("begin");
    control.post("fail");
    let (id, lines) = stream(&server, "ask", &question(&conversation, 5));
    let error = lines.last().expect("there are lines");
    assert_eq!(
        (&error["code"], &error["data"]["request"]),
        (&json!("model_failed"), &json!(id))
    );
    assert_eq!(logged(&log), [json!(id)]);
    let (other, again) = stream(&server, "follow", &json!({"conversation": conversation}));
    assert_ne!(other, id);
    assert_eq!(again.last(), lines.last(), "whoever takes it up reads what the log has");
    let (_, state) = call(&server, "state", &json!({"conversation": conversation}));
    let shown = &state["conversation"]["turns"][0]["error"];
    assert_eq!(
        shown["data"]["request"], *id,
        "and so does a page that is loaded later: {state}"
    );
}

#[test]
fn the_end_of_an_answer_is_logged_for_the_request_that_asked() {
    let (model, folder) = (TinyCheckpoint::new(), tempfile::tempdir().expect("a folder for tests"));
    let log = folder.path().join("log");
    let mut program = logging_to(&log);
    program.env("GLIMPSE_LOG", "info");
    let server = Server::start_as(program, "127.0.0.1", &["--model", model.path()]);
    let conversation = begin(&server);
    let asked = ["first", "second"].map(|_| stream(&server, "ask", &question(&conversation, 5)).0);
    let text = std::fs::read_to_string(&log).expect("it is there");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("it is an object"));
    let ended: Vec<Value> = lines.filter(|line| line["finish"].is_string()).collect();
    let ids: Vec<_> = ended.iter().filter_map(|line| line["span"]["id"].as_str()).collect();
    assert_eq!(ids, asked, "{text}");
    for line in &ended {
        assert_eq!(
            (&line["finish"], &line["tokens"]),
            (&json!("length"), &json!(5)),
            "{line}"
        );
        assert!(line["waited_ms"].is_u64() && line["first_token_ms"].is_u64(), "{line}");
        assert!(
            line["tokens_a_second"].as_f64().is_some_and(|speed| speed > 0.0),
            "{line}"
        );
    }
    let cached = ended
        .iter()
        .map(|line| line["cached_tokens"].as_u64().unwrap_or_default());
    let cached: Vec<u64> = cached.collect();
    assert!(
        cached[0] == 0 && cached[1] > 0,
        "the picture was read before: {cached:?}"
    );
}

#[test]
fn a_clients_own_id_is_taken_from_a_trusted_proxy_only_and_if_it_is_plain() {
    let id_of = |server: &Server, given: &str| {
        let request = ureq::get(format!("{}/healthz", server.address)).header("x-request-id", given);
        let response = request.call().expect("it lives");
        response.headers()["x-request-id"]
            .to_str()
            .expect("it is plain")
            .to_owned()
    };
    let proxied = Server::start(&["--engine", "scripted", "--trusted-proxies", "127.0.0.1"]);
    assert_eq!(id_of(&proxied, "a-proxys.number_1"), "a-proxys.number_1");
    assert_eq!(id_of(&proxied, "not fit for a log").len(), 16);
    assert_eq!(id_of(&proxied, &"0".repeat(65)).len(), 16);
    let open = Server::start(&["--engine", "scripted"]);
    assert_ne!(id_of(&open, "a-strangers.number_1"), "a-strangers.number_1");
}
