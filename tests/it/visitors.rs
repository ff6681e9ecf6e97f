//! Visitors: what each owns, how much each may have, and how he takes an answer up again.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use crate::support::page::{
    STRANGER, VISITOR, VISITOR_HEADER, ask, begin, call, call_as, post_form, question, send_as, upload,
};
use crate::support::{Server, TinyCheckpoint, png};

fn server(further: &[&str]) -> (TinyCheckpoint, Server) {
    let model = TinyCheckpoint::new();
    let server = Server::start(&[&["--model", model.path()], further].concat());
    (model, server)
}

/// A conversation of this visitor's.
fn begin_as(visitor: &str, server: &Server) -> String {
    let body = [
        &b"--edge\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"p\"\r\n\r\n"[..],
        &png([1, 2, 3]),
        b"\r\n--edge--\r\n",
    ]
    .concat();
    let request =
        ureq::post(format!("{}/api/page/upload", server.address)).content_type("multipart/form-data; boundary=edge");
    let (status, conversation) = send_as(visitor, request, &body);
    assert_eq!(status, 200, "{conversation}");
    conversation["id"].as_str().expect("it has one").to_owned()
}

fn is_there(visitor: &str, server: &Server, id: &str) -> bool {
    let (_, state) = call_as(visitor, server, "state", &json!({"conversation": id}));
    !state["conversation"].is_null()
}

/// What follows behind a line, to the end.
fn follow(server: &Server, arguments: &Value) -> Vec<Value> {
    let response = ureq::post(format!("{}/api/page/follow", server.address))
        .header(VISITOR_HEADER, VISITOR)
        .content_type("application/json")
        .send(arguments.to_string())
        .expect("it can be followed");
    let lines = BufReader::new(response.into_body().into_reader()).lines();
    let line = |line: Result<String, _>| serde_json::from_str(&line.expect("the stream holds")).expect("it is JSON");
    lines.map(line).collect()
}

#[test]
fn a_visitors_own_oldest_conversation_makes_room_and_nobody_elses() {
    let (_model, server) = server(&["--max-conversations-per-visitor", "2"]);
    let theirs = begin_as(STRANGER, &server);
    let mine: Vec<String> = (0..4).map(|_| begin_as(VISITOR, &server)).collect();
    let kept: Vec<bool> = mine.iter().map(|id| is_there(VISITOR, &server, id)).collect();
    assert_eq!(kept, [false, false, true, true]);
    assert!(is_there(STRANGER, &server, &theirs));
}

#[test]
fn a_visitor_has_so_many_questions_a_minute() {
    let (_model, server) = server(&["--max-questions-per-minute", "1"]);
    let id = begin(&server);
    assert!(ask(&server, &question(&id, 1)).count() > 1);
    let refused = ureq::post(format!("{}/api/page/ask", server.address))
        .header(VISITOR_HEADER, VISITOR)
        .config()
        .http_status_as_error(false)
        .build()
        .content_type("application/json")
        .send(question(&id, 1).to_string())
        .expect("the server answers");
    assert_eq!(refused.status(), 429);
    let seconds = refused.headers()["retry-after"]
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok());
    assert!(
        seconds.is_some_and(|seconds: u64| (1..=60).contains(&seconds)),
        "{seconds:?}"
    );
    let other = begin_as(STRANGER, &server);
    let (status, error) = call_as(STRANGER, &server, "ask", &question(&other, 0));
    assert_eq!(
        (status, &error["code"]),
        (400, &json!("setting_refused")),
        "another one has his own"
    );
}

#[test]
fn a_stream_is_taken_up_behind_its_last_line_also_after_the_end() {
    let (_model, server) = server(&[]);
    let id = begin(&server);
    let all: Vec<Value> = ask(&server, &question(&id, 9)).collect();
    let ids = [&all[0]["turn"], &all[0]["answer"]];
    let (_, state) = call(&server, "state", &json!({"conversation": id}));
    let turn = &state["conversation"]["turns"][0];
    assert_eq!(ids, [&turn["id"], &turn["answer_id"]], "the page knows what it follows");
    for after in [0, 3, all.len() - 1, all.len(), 1000] {
        let rest = follow(&server, &json!({"conversation": id, "answer": ids[1], "after": after}));
        assert_eq!(rest, all[after.min(all.len())..], "behind {after}");
    }
    assert_eq!(follow(&server, &json!({"conversation": id})), all);
    let other = json!({"conversation": id, "answer": "0".repeat(32)});
    assert_eq!(call(&server, "follow", &other).0, 404);
}

#[test]
fn an_answer_is_kept_to_be_followed_for_as_long_as_the_host_says() {
    let (_model, server) = server(&["--keep-answers", "0"]);
    let id = begin(&server);
    assert!(ask(&server, &question(&id, 2)).count() > 1);
    assert_eq!(call(&server, "follow", &json!({"conversation": id})).0, 404);
    let (_, state) = call(&server, "state", &json!({"conversation": id}));
    assert_eq!(
        state["conversation"]["turns"][0]["state"], "done",
        "the conversation has it"
    );
}

#[test]
fn the_form_without_javascript_knows_its_visitor_by_a_cookie() {
    let (_model, server) = server(&[]);
    let picture = png([9, 9, 200]);
    let (status, page) = post_form(&server, &[("picture", "p.png", &picture), ("action", "", b"open")]);
    assert_eq!(status, 200);
    let id = page
        .split("name=\"conversation\" value=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let id = id.expect("the form is about the conversation");
    assert!(is_there(VISITOR, &server, id) && !is_there(STRANGER, &server, id));
}

#[test]
fn a_browser_without_a_secret_is_given_one() {
    let (_model, server) = server(&[]);
    let looked = ureq::get(&server.address).call().expect("the page is there");
    assert!(
        looked.headers().get("set-cookie").is_none(),
        "whoever only looks is nobody"
    );
    let (status, conversation) = upload(&server, &png([1, 2, 3]));
    assert_eq!(status, 200);
    let page = ureq::get(format!(
        "{}/c/{}",
        server.address,
        conversation["id"].as_str().unwrap_or_default()
    ))
    .header(VISITOR_HEADER, VISITOR)
    .call()
    .expect("it is his");
    let cookie = page.headers()["set-cookie"].to_str().expect("it is plain").to_owned();
    assert!(
        cookie.starts_with(&format!("glimpse-visitor={VISITOR};")) && cookie.contains("HttpOnly"),
        "the cookie follows the header: {cookie}"
    );
}
