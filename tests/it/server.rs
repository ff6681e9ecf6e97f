//! What the server promises over HTTP, checked from outside.

use std::time::{Duration, Instant};

use crate::support::page::{STRANGER, ask, begin, call, call_as, get, post_form, question, send, upload};
use crate::support::{Server, TinyCheckpoint, png};
use serde_json::{Value, json};

#[test]
fn an_answer_streams_and_is_what_the_terminal_says() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let id = begin(&server);
    let events: Vec<Value> = ask(&server, &question(&id, 12)).collect();
    assert_eq!(
        (&events[0]["event"], &events[0]["position"]),
        (&json!("queued"), &json!(1))
    );
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(
        numbers,
        (1..=events.len() as u64).collect::<Vec<_>>(),
        "each has its number"
    );
    let last = events.last().expect("there are events");
    assert_eq!(
        (&last["event"], &last["finish_reason"]),
        (&json!("done"), &json!("length"))
    );
    assert_eq!(last["generated_tokens"], 12);
    let text: String = events.iter().filter_map(|event| event["text"].as_str()).collect();

    let file = model.folder.path().join("p.png");
    std::fs::write(&file, png([10, 200, 30])).expect("the folder is ours");
    let file = file.to_str().expect("temporary folders have plain names");
    let output = crate::support::ask(["--model", model.path(), "--max-new-tokens", "12", file, "hi"]);
    assert_eq!(format!("{text}\n"), String::from_utf8_lossy(&output.stdout));
    let (_, state) = call(&server, "state", &json!({"conversation": id}));
    assert_eq!(state["conversation"]["turns"][0]["answer"], text);
}

#[test]
fn two_visitors_never_meet() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let (mine, yours) = (begin(&server), begin(&server));
    assert_ne!(mine, yours);
    strangers_are_kept_out(&server, &mine);
    assert!(ask(&server, &question(&mine, 3)).count() > 1);
    let (_, state) = call(&server, "state", &json!({"conversation": yours}));
    assert_eq!(state["conversation"]["turns"], json!([]));
    let (_, state) = call(&server, "state", &json!({"conversation": null}));
    assert_eq!(state["conversation"], Value::Null);
    let page = get(&server, "").to_string();
    assert!(!page.contains(&mine) && !page.contains(&yours));
    for guess in ["1", "../../etc/passwd", &"0".repeat(32)] {
        let (status, _) = call(&server, "ask", &question(guess, 3));
        assert_eq!(status, 404, "{guess}");
    }
}

/// Whoever has the address of a conversation, but not its owner's secret.
fn strangers_are_kept_out(server: &Server, id: &str) {
    for (function, arguments) in [
        ("ask", question(id, 3)),
        ("cancel", json!({"conversation": id})),
        ("follow", json!({"conversation": id})),
    ] {
        let (status, error) = call_as(STRANGER, server, function, &arguments);
        assert_eq!(
            (status, &error["code"]),
            (404, &json!("not_found")),
            "{function}: {error}"
        );
    }
    let (_, state) = call_as(STRANGER, server, "state", &json!({"conversation": id}));
    assert_eq!(state["conversation"], Value::Null);
    let page = ureq::get(format!("{}/c/{id}", server.address))
        .config()
        .http_status_as_error(false)
        .build()
        .call();
    assert_eq!(page.expect("it answers").status(), 404);
}

#[test]
fn another_sites_page_cannot_speak_for_a_visitor() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let status_from = |header: &str, site: &str| {
        let request = ureq::post(format!("{}/api/page/state", server.address)).header(header, site);
        let request = request.config().http_status_as_error(false).build();
        let response = request
            .content_type("application/json")
            .send(r#"{"conversation":null}"#);
        response.expect("the server answers").status().as_u16()
    };
    assert_eq!(status_from("sec-fetch-site", "cross-site"), 403);
    assert_eq!(status_from("sec-fetch-site", "same-site"), 403);
    for site in ["same-origin", "none"] {
        assert_eq!(status_from("sec-fetch-site", site), 200);
    }
    // Without https a browser says no more than this.
    assert_eq!(status_from("origin", &server.address), 200);
    for origin in ["http://elsewhere.example", "null"] {
        assert_eq!(status_from("origin", origin), 403, "{origin}");
    }
    // A proxy that asks us by another name says which one it was asked by.
    let behind_proxy = ureq::post(format!("{}/api/page/state", server.address))
        .header("origin", "http://demo.lan")
        .header("x-forwarded-host", "Demo.lan, inner")
        .content_type("application/json")
        .send(r#"{"conversation":null}"#);
    assert_eq!(behind_proxy.expect("it is ours").status(), 200);
}

#[test]
fn a_picture_comes_back_encoded_anew() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let (_, conversation) = upload(&server, &png([10, 200, 30]));
    let path = conversation["picture"]["url"].as_str().expect("it has one");
    let response = ureq::get(format!("{}{path}", server.address))
        .call()
        .expect("it is there");
    let id = conversation["id"].as_str().expect("it has one");
    let by_address = ureq::get(format!("{}/pictures/{id}", server.address)).call();
    assert!(by_address.is_err(), "the conversation's address shows no picture");
    assert_eq!(response.headers()["content-type"], "image/jpeg");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    // Of a conversation that is gone a browser shows it no longer than this.
    assert_eq!(response.headers()["cache-control"], "private, max-age=3600, immutable");
}

#[test]
fn bad_uploads_get_a_sentence_and_the_next_visitor_is_served() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path(), "--max-upload-bytes", "100000"]);
    let whole = png([1, 2, 3]);
    let cases: [(&[u8], u16, &str); 4] = [
        (b"just words", 422, "picture_unreadable"),
        (b"", 422, "picture_unreadable"),
        (&whole[..whole.len() / 2], 422, "picture_unreadable"),
        (&[0; 100_001], 413, "picture_too_large"),
    ];
    for (file, status, kind) in cases {
        let (got, error) = upload(&server, file);
        assert_eq!((got, error["code"].as_str()), (status, Some(kind)), "{error}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|sentence| sentence.ends_with('.')),
            "{error}"
        );
    }
    let url = format!("{}/api/page/upload", server.address);
    for content_type in ["multipart/form-data", "text/plain", "multipart/form-data; boundary="] {
        let (status, error) = send(ureq::post(&url).content_type(content_type), b"x");
        assert_eq!(
            (status, error["code"].as_str()),
            (400, Some("bad_request")),
            "{content_type}: {error}"
        );
    }
    assert!(ask(&server, &question(&begin(&server), 2)).count() > 1);
}

#[test]
fn bad_questions_get_a_sentence_and_leave_the_conversation_as_it_was() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let id = begin(&server);
    let refuse = |request: Value, words: &str| {
        let (status, error) = call(&server, "ask", &json!({ "request": request }));
        assert!((400..500).contains(&status), "{error}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|sentence| sentence.contains(words)),
            "{error}"
        );
    };
    refuse(
        json!({"conversation": id, "question": "  ", "max_new_tokens": null}),
        "press Describe",
    );
    let long = "x".repeat(100_000);
    refuse(
        json!({"conversation": id, "question": long, "max_new_tokens": null}),
        "100000 characters",
    );
    refuse(
        json!({"conversation": id, "question": "hi", "max_new_tokens": 0}),
        "1 to 200",
    );
    let (_, state) = call(&server, "state", &json!({"conversation": id}));
    assert_eq!(state["conversation"]["turns"], json!([]));
}

#[test]
fn a_call_that_makes_no_sense_is_the_callers_fault() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    for arguments in [
        json!(null),
        json!({"request": 5}),
        json!({"request": {"conversation": 1}}),
    ] {
        let (status, error) = call(&server, "ask", &arguments);
        assert_eq!((status, error["code"].as_str()), (400, Some("bad_request")), "{error}");
    }
    let (status, error) = call(&server, "ask", &json!({"request": "x".repeat(2 << 20)}));
    assert_eq!(
        (status, error["code"].as_str()),
        (422, Some("question_too_long")),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn a_half_sent_request_does_not_hold_the_process() {
    use std::io::Write;
    let model = TinyCheckpoint::new();
    let mut server = Server::start(&["--model", model.path()]);
    let address = server.address.trim_start_matches("http://").to_string();
    let mut half = std::net::TcpStream::connect(address).expect("it listens");
    half.write_all(b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
        .expect("it reads");
    assert!(
        server.asked_to_end(Duration::from_secs(15)),
        "it still runs 15 seconds after SIGTERM"
    );
}

#[test]
fn silent_connections_make_room_for_visitors() {
    use std::io::{Read, Write};
    let model = TinyCheckpoint::new();
    let limits = ["--max-connections", "2", "--max-head-seconds", "5"];
    let server = Server::start(&[&["--model", model.path()], &limits[..]].concat());
    let silent = || {
        let address = server.address.trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(address).expect("it listens");
        stream.write_all(b"GET / HTTP/1.1\r\nHost:").expect("it reads");
        stream
    };
    let (mut first, second) = (silent(), silent());
    let visit = |seconds| {
        ureq::get(format!("{}/healthz", server.address))
            .config()
            .timeout_global(Some(Duration::from_secs(seconds)))
            .build()
            .call()
    };
    assert!(visit(1).is_err(), "both connections are taken");
    drop(second);
    assert!(visit(10).is_ok(), "one has ended");
    first
        .set_read_timeout(Some(Duration::from_secs(40)))
        .expect("it is a time");
    let mut rest = Vec::new();
    assert!(
        first.read_to_end(&mut rest).is_ok(),
        "whoever does not finish the head of a request is sent away"
    );
}

#[test]
fn stop_frees_the_model_and_keeps_the_beginning() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path(), "--max-new-tokens", "4000"]);
    let (mine, yours) = (begin(&server), begin(&server));
    let mut answer = ask(&server, &question(&mine, 4000));
    let started = answer.by_ref().find(|event| event["event"] == "token");
    assert!(started.is_some());
    let (status, _) = call(&server, "ask", &question(&mine, 5));
    assert_eq!(status, 409, "one answer at a time in a conversation");
    assert_eq!(
        call(&server, "cancel", &json!({"id": mine, "conversation": mine})).0,
        200
    );
    let last = answer.last().expect("the stream says how it ended");
    assert_eq!(last["finish_reason"], "cancelled");
    assert!(last["generated_tokens"].as_u64().is_some_and(|tokens| tokens < 4000));
    assert!(ask(&server, &question(&yours, 2)).count() > 1);
    assert!(
        ask(&server, &question(&mine, 2)).count() > 1,
        "the same conversation goes on"
    );
}

#[test]
fn a_closed_connection_frees_the_model_after_the_grace_period() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&[
        "--model",
        model.path(),
        "--max-new-tokens",
        "4000",
        "--grace-seconds",
        "0",
    ]);
    let id = begin(&server);
    drop(ask(&server, &question(&id, 4000)).next());
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let (_, state) = call(&server, "state", &json!({"conversation": id}));
        let turn = &state["conversation"]["turns"][0];
        if turn["state"] == "done" {
            assert_eq!(turn["finish_reason"], "interrupted");
            break;
        }
        assert!(Instant::now() < deadline, "the answer still goes on: {turn}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// In the queue.
fn position(event: Value) -> Option<u64> {
    (event["event"] == "queued").then(|| event["position"].as_u64())?
}

#[test]
fn a_full_queue_says_so_and_positions_count_down() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&[
        "--model",
        model.path(),
        "--max-new-tokens",
        "4000",
        "--max-waiting",
        "2",
        "--max-batch-rows",
        "1",
    ]);
    let visitors: Vec<String> = (0..4).map(|_| begin(&server)).collect();
    let mut first = ask(&server, &question(&visitors[0], 4000));
    assert!(first.by_ref().any(|event| event["event"] == "token"));
    let mut second = ask(&server, &question(&visitors[1], 2));
    let mut third = ask(&server, &question(&visitors[2], 2));
    assert_eq!(second.next().and_then(position), Some(1));
    assert_eq!(third.next().and_then(position), Some(2));
    let (status, error) = call(&server, "ask", &question(&visitors[3], 2));
    assert_eq!((status, error["code"].as_str()), (503, Some("queue_full")), "{error}");
    assert_eq!(call(&server, "cancel", &json!({"conversation": visitors[0]})).0, 200);
    let third: Vec<Value> = third.collect();
    assert!(
        third.iter().any(|event| position(event.clone()) == Some(1)),
        "{third:?}"
    );
    assert_eq!(third.last().map(|event| event["event"].clone()), Some(json!("done")));
    assert_eq!(second.last().map(|event| event["event"].clone()), Some(json!("done")));
}

#[test]
fn the_form_works_without_javascript_and_shows_what_failed() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let post = |fields: &[(&str, &str, &[u8])]| post_form(&server, fields);
    let picture = png([9, 9, 200]);
    let (status, page) = post(&[
        ("picture", "p.png", &picture),
        ("question", "", b"who is it?"),
        ("action", "", b"ask"),
    ]);
    assert_eq!(status, 200);
    assert!(
        page.contains("who is it?") && page.contains("<article"),
        "the turn is on the page"
    );
    let (status, page) = post(&[
        ("picture", "p.png", b"words"),
        ("question", "", b"who is it?"),
        ("action", "", b"ask"),
    ]);
    assert_eq!(status, 422);
    assert!(
        page.contains("role=\"alert\"") && page.contains("not a picture"),
        "the page says what was wrong"
    );
    assert!(page.contains("who is it?"), "the question is not lost");
    let (status, page) = post(&[("question", "", b"what?"), ("action", "", b"ask")]);
    assert_eq!(status, 400);
    assert!(page.contains("Choose a picture first"));
}

#[test]
fn of_several_pictures_the_first_is_taken() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let (first, no_picture) = (png([9, 9, 200]), b"words");
    let (status, page) = post_form(
        &server,
        &[
            ("picture", "", b""),
            ("picture", "1.png", &first),
            ("picture", "2.txt", no_picture),
            ("action", "", b"describe"),
        ],
    );
    assert!(status == 200 && page.contains("<article"), "{page}");
}

#[test]
fn health_is_told_as_json() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    for (path, status) in [("healthz", "ok"), ("readyz", "ready")] {
        assert_eq!(get(&server, path)["status"], status);
    }
}

#[cfg(unix)]
#[test]
fn the_end_of_the_process_keeps_the_answer_of_whoever_is_not_connected() {
    let (model, data) = (TinyCheckpoint::new(), tempfile::tempdir().expect("a folder for tests"));
    let folder = data.path().to_str().expect("temporary folders have plain names");
    let limits = ["--max-new-tokens", "4000", "--drain-seconds", "0"];
    let arguments = [&["--model", model.path(), "--data", folder], &limits[..]].concat();
    let mut server = Server::start(&arguments);
    let id = begin(&server);
    let mut answer = ask(&server, &question(&id, 4000));
    assert!(answer.by_ref().any(|event| event["event"] == "token"));
    drop(answer);
    assert!(server.asked_to_end(Duration::from_secs(60)), "it still runs");
    drop(server);
    let server = Server::start(&arguments);
    let (_, state) = call(&server, "state", &json!({"conversation": id}));
    let turn = &state["conversation"]["turns"][0];
    assert_eq!(turn["finish_reason"], "interrupted", "{turn}");
    assert!(
        turn["answer"].as_str().is_some_and(|answer| !answer.is_empty()),
        "{turn}"
    );
}
