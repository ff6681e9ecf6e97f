//! Visitors: what each owns, how much each may have, and how he takes an answer up again.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use crate::support::page::{
    STRANGER, VISITOR, VISITOR_HEADER, ask, begin, call, call_as, post_form, question, send_as, upload,
};
use crate::support::script::ScriptControl;
use crate::support::{Server, TinyCheckpoint, glimpse, png};

fn server(further: &[&str]) -> (TinyCheckpoint, Server) {
    let model = TinyCheckpoint::new();
    let server = Server::start(&[&["--model", model.path()], further].concat());
    (model, server)
}

/// What is answered to a picture's file that this visitor puts in, from this address.
fn upload_as(visitor: &str, address: &str, server: &Server, file: &[u8]) -> (u16, Value) {
    let body = [
        &b"--edge\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"p\"\r\n\r\n"[..],
        file,
        b"\r\n--edge--\r\n",
    ]
    .concat();
    let request =
        ureq::post(format!("{}/api/page/upload", server.address)).content_type("multipart/form-data; boundary=edge");
    send_as(visitor, request.header("x-forwarded-for", address), &body)
}

/// A conversation of this visitor's.
fn begin_as(visitor: &str, server: &Server) -> String {
    begin_from("127.0.0.1", visitor, server)
}

fn begin_from(address: &str, visitor: &str, server: &Server) -> String {
    let (status, conversation) = upload_as(visitor, address, server, &png([1, 2, 3]));
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
fn an_answer_is_followed_piece_by_piece_for_as_long_as_the_host_says_and_then_as_a_whole() {
    let (_model, server) = server(&["--keep-answers", "0"]);
    let id = begin(&server);
    assert!(ask(&server, &question(&id, 2)).count() > 1);
    let (_, state) = call(&server, "state", &json!({"conversation": id}));
    let turn = &state["conversation"]["turns"][0];
    assert_eq!(turn["state"], "done", "the conversation has it");
    let lines = follow(&server, &json!({"conversation": id}));
    let events: Vec<&Value> = lines.iter().map(|line| &line["event"]).collect();
    assert_eq!(events, ["kept", "done"]);
    assert_eq!(
        (&lines[0]["text"], &lines[1]["finish_reason"]),
        (&turn["answer"], &turn["finish_reason"])
    );
    assert_eq!(call(&server, "follow", &json!({"conversation": begin(&server)})).0, 404);
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

/// Asks as a visitor from this address, and gives the response without reading on.
fn ask_from(address: &str, visitor: &str, server: &Server) -> ureq::http::Response<ureq::Body> {
    let id = begin_from(address, visitor, server);
    ureq::post(format!("{}/api/page/ask", server.address))
        .header(VISITOR_HEADER, visitor)
        .header("x-forwarded-for", address)
        .config()
        .http_status_as_error(false)
        .build()
        .content_type("application/json")
        .send(question(&id, 1).to_string())
        .expect("the server answers")
}

#[test]
fn fresh_secrets_from_one_address_leave_another_address_a_place() {
    let limits = ["--trusted-proxies", "127.0.0.1", "--max-waiting", "8"];
    let (server, script) = ScriptControl::start(&limits);
    let mut crowd: Vec<_> = (0..8)
        .map(|number| ask_from("192.0.2.1", &format!("{number:032x}"), &server))
        .collect();
    let statuses: Vec<u16> = crowd.iter().map(|response| response.status().as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 429, 429]);
    let refused = crowd.pop().map(|mut response| response.body_mut().read_to_string());
    let refused = refused.expect("there are eight").expect("it is text");
    assert!(refused.contains("network_queue_full"), "{refused}");
    let mut other = ask_from("192.0.2.2", STRANGER, &server);
    assert_eq!(other.status(), 200, "another address has a place");
    let mut line = String::new();
    let mut lines = BufReader::new(other.body_mut().as_reader());
    lines.read_line(&mut line).expect("the stream holds");
    let position = serde_json::from_str::<Value>(&line).expect("it is JSON")["position"].clone();
    assert_eq!(position, 2, "it has the second turn, not the seventh: {line}");
    script.post("open");
}

/// A picture of about 1.5 MB, which cannot be packed.
fn large_png() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 1000, 500);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("it is written to memory");
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let pixels: Vec<u8> = (0..1000 * 500 * 3).map(|_| noise()).collect();
    writer.write_image_data(&pixels).expect("the size is right");
    drop(writer);
    bytes
}

#[test]
fn a_picture_larger_than_a_visitor_may_keep_is_refused_with_the_limit() {
    let (server, _script) = ScriptControl::start(&["--max-megabytes-per-visitor", "1"]);
    let (status, error) = upload_as(VISITOR, "127.0.0.1", &server, &large_png());
    assert_eq!((status, &error["code"]), (413, &json!("picture_too_large")), "{error}");
    assert_eq!(error["data"]["flag"], "--max-megabytes-per-visitor");
    let sentence = error["message"].as_str().unwrap_or_default();
    assert!(sentence.contains("may keep 1000000"), "{sentence}");
}

#[test]
fn what_visitors_are_told_has_no_flags_and_the_data_has_them() {
    let limits = ["--max-megabytes-per-visitor", "1", "--max-upload-bytes", "2000000"];
    let further = [
        "--max-question-chars",
        "9",
        "--max-turns",
        "1",
        "--max-waiting-per-visitor",
        "1",
    ];
    let (server, script) = ScriptControl::start(&[&limits[..], &further, &["--allow-picture-urls=no"]].concat());
    let mut told = Vec::new();
    let id = begin(&server);
    told.push(upload(&server, &large_png()).1);
    told.push(upload(&server, &vec![7; 3_000_000]).1);
    let long = json!({"request": {"conversation": id, "question": "more than nine"}});
    told.push(call(&server, "ask", &long).1);
    let beams = json!({"request": {"conversation": id, "question": "hi", "num_beams": 11}});
    told.push(call(&server, "ask", &beams).1);
    told.push(call(&server, "address", &json!({"address": "http://192.0.2.1/p.png"})).1);
    let waiting = ask(&server, &question(&id, 1));
    let second = begin(&server);
    told.push(call(&server, "ask", &question(&second, 1)).1);
    script.post("fail?error=too_much_memory");
    script.post("open");
    told.push(waiting.last().expect("it ends"));
    assert!(ask(&server, &question(&second, 1)).count() > 1);
    told.push(call(&server, "ask", &question(&second, 1)).1);
    let flags: Vec<&str> = told
        .iter()
        .map(|error| error["data"]["flag"].as_str().unwrap_or("none"))
        .collect();
    let expected = [
        "--max-megabytes-per-visitor",
        "--max-upload-bytes",
        "--max-question-chars",
        "--max-beams",
        "--allow-picture-urls",
        "--max-waiting-per-visitor",
        "--max-memory",
        "--max-turns",
    ];
    assert_eq!(flags, expected, "{told:#?}");
    for error in &told {
        let sentence = error["message"].as_str().expect("it has a sentence");
        assert!(!sentence.contains("--"), "{sentence}");
    }
}

/// A photo as phones of 108 megapixels make it: 12,000 x 9,000, every row the same gradient.
fn phone_photo() -> std::io::Result<Vec<u8>> {
    let (width, height) = (12_000, 9_000);
    let row: Vec<u8> = (0..width).flat_map(|x| [(x * 255 / width) as u8, 90, 40]).collect();
    let mut photo = mozjpeg::Compress::new(mozjpeg::ColorSpace::JCS_RGB);
    photo.set_fastest_defaults();
    photo.set_size(width, height);
    let mut photo = photo.start_compress(Vec::new())?;
    for _ in 0..height {
        photo.write_scanlines(&row)?;
    }
    photo.finish()
}

#[test]
fn a_photo_of_108_megapixels_is_taken_and_answered_by_default() {
    let (_model, server) = server(&[]);
    let photo = phone_photo().expect("it is written to memory");
    let (status, conversation) = upload(&server, &photo);
    assert_eq!(status, 200, "{conversation}");
    let id = conversation["id"].as_str().expect("it has one");
    let last = ask(&server, &question(id, 2)).last().expect("it is answered");
    assert_eq!(last["event"], "done", "{last}");
}

/// A browser that comes by the address has no cookie yet, and a program that previews links never
/// will: what either reads first is the page's own call's later.
#[test]
fn a_conversation_of_an_older_glimpse_goes_to_whoever_opens_it_with_a_secret() {
    let id = "0765e9d1d70629de3fd989e9e7bf9b2c";
    let data = tempfile::tempdir().expect("there is a folder for tests");
    let (from, to) = (format!("src/store/sqlite/tests/older/{id}"), data.path().join(id));
    std::fs::create_dir(&to).expect("it is ours");
    for file in std::fs::read_dir(from).expect("it is part of the source") {
        let file = file.expect("it can be read");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("it is ours");
    }
    let folder = data.path().to_str().expect("it is plain");
    let server = Server::start(&["--engine", "scripted", "--data", folder]);
    let page = ureq::get(format!("{}/c/{id}", server.address)).config();
    let page = page.http_status_as_error(false).build();
    let response = page.call().expect("the server answers");
    assert!(
        !response.headers().contains_key("set-cookie"),
        "a look makes nobody a visitor"
    );
    assert!(is_there(VISITOR, &server, id), "it was still nobody's");
    assert!(!is_there(STRANGER, &server, id), "now it is a visitor's");
    assert!(is_there(VISITOR, &server, id));
}

#[test]
fn a_picture_whose_file_is_gone_is_told_as_such() {
    let folder = tempfile::tempdir().expect("there is a folder for tests");
    let (log, data) = (folder.path().join("log"), folder.path().join("data"));
    let start = || {
        let log = std::fs::File::create(&log).expect("the folder is ours");
        let mut program = glimpse();
        program.env("GLIMPSE_LOG", "warn").stderr(log);
        let name = data.to_str().expect("temporary folders have plain names");
        Server::start_as(program, "127.0.0.1", &["--engine", "scripted", "--data", name])
    };
    let server = start();
    let (status, conversation) = upload(&server, &png([1, 2, 3]));
    assert_eq!(status, 200, "{conversation}");
    drop(server);
    std::fs::remove_dir_all(data.join("pictures")).expect("it was made");
    let server = start();
    let id = conversation["id"].as_str().expect("it has one");
    let (status, said) = call(&server, "ask", &question(id, 1));
    assert_eq!((status, &said["code"]), (404, &json!("not_found")), "{said}");
    let preview = conversation["picture"]["url"].as_str().expect("it has one");
    let mut preview = ureq::get(format!("{}{preview}", server.address))
        .config()
        .http_status_as_error(false)
        .build()
        .call()
        .expect("the server answers");
    assert_eq!(preview.status(), 404);
    let preview = preview.body_mut().read_to_string().expect("it is text");
    for said in [said["message"].as_str().unwrap_or_default(), preview.as_str()] {
        assert!(said.contains("file of this picture is gone"), "{said}");
    }
    let log = std::fs::read_to_string(&log).expect("it is there");
    assert_eq!(log.matches("is gone from the folder of pictures").count(), 2, "{log}");
}
