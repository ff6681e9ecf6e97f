//! Pictures from addresses, checked from outside. Every refusal has its unit test in
//! `src/remote`; here it is that they hold where visitors and scripts come in.

use crate::support::page::{STRANGER, VISITOR, VISITOR_HEADER, ask, call, call_as, get, post_form, question};
use crate::support::site::{SECRET, Site};
use crate::support::{PictureFile, Server, TinyCheckpoint, glimpse, stderr};
use serde_json::{Value, json};

fn open(server: &Server, address: &str) -> (u16, Value) {
    call(server, "address", &json!({ "address": address }))
}

/// A server with a small model and a site that it may fetch from.
fn server_and_site() -> (Server, Site) {
    let (model, site) = (TinyCheckpoint::new(), Site::start());
    let place = site.place.to_string();
    let server = Server::start(&["--model", model.path(), "--allow-picture-source", &place]);
    (server, site)
}

/// A refusal with these words in its sentence.
fn refused(answer: (u16, Value), kind: &str, words: &str) {
    let (status, error) = answer;
    assert!((400..500).contains(&status), "{status}: {error}");
    assert_eq!(error["code"], kind, "{error}");
    let sentence = error["message"].as_str().unwrap_or_default();
    assert!(sentence.contains(words) && sentence.ends_with('.'), "{sentence}");
}

#[test]
fn a_picture_from_an_address_begins_a_conversation() {
    let (server, site) = server_and_site();
    for path in ["/a.png", "/to?/a.png"] {
        let (status, conversation) = open(&server, &site.url(path));
        assert_eq!(status, 200, "{conversation}");
        assert_eq!(
            (&conversation["picture"]["width"], &conversation["turns"]),
            (&json!(40), &json!([]))
        );
        let id = conversation["id"].as_str().expect("it has one");
        assert!(ask(&server, &question(id, 2)).count() > 1);
    }
    refused(
        open(&server, &site.url("/words.png")),
        "picture_unreadable",
        "not a picture",
    );
    refused(open(&server, &site.url("/page")), "picture_unreadable", "web page");
    refused(open(&server, &site.url("/gone.png")), "address_refused", "404");
    refused(
        open(&server, "cat.png"),
        "address_refused",
        "not an http or https address",
    );
    refused(
        open(&server, "https://pictures.invalid/a.png"),
        "address_refused",
        "not found",
    );
}

#[test]
fn nothing_private_is_fetched_for_a_visitor() {
    let ((server, site), hidden) = (server_and_site(), Site::start());
    let port = hidden.place.port();
    let direct = [
        hidden.url("/a.png"),
        format!("http://localhost:{port}/a.png"),
        format!("http://127.1:{port}/a.png"),
        format!("http://2130706433:{port}/a.png"),
        format!("http://0x7f.0.0.1:{port}/a.png"),
        format!("http://0177.0.0.1:{port}/a.png"),
        format!("http://[::ffff:127.0.0.1]:{port}/a.png"),
        format!("http://0.0.0.0:{port}/a.png"),
        format!("{}/readyz", server.address),
        "http://169.254.169.254/latest/meta-data/".to_string(),
        "http://[fd00:ec2::254]/latest/meta-data/".to_string(),
        "http://metadata.google.internal/".to_string(),
    ];
    for address in direct {
        refused(
            open(&server, &address),
            "address_refused",
            "from where nothing is fetched",
        );
        refused(
            open(&server, &site.url(&format!("/to?{address}"))),
            "address_refused",
            "from where nothing is fetched",
        );
    }
    refused(
        open(&server, &format!("http://me:secret@{}/a.png", site.place)),
        "address_refused",
        "password",
    );
    refused(
        open(&server, "file:///etc/hostname"),
        "address_refused",
        "not an http or https address",
    );
    assert_eq!(hidden.requests(), 0, "nobody came");
}

#[test]
fn what_comes_back_is_encoded_anew_whatever_the_bytes_were_called() {
    let (server, site) = server_and_site();
    for path in ["/untyped", "/stored"] {
        let (status, conversation) = open(&server, &site.url(path));
        assert_eq!(status, 200, "{conversation}");
        let url = conversation["picture"]["url"].as_str().expect("it has a picture");
        let preview = bytes(&server, url);
        assert!(preview.starts_with(&[0xff, 0xd8]), "it is a JPEG");
        assert!(!preview.windows(SECRET.len()).any(|window| window == SECRET));
    }
    refused(
        open(&server, &site.url("/stored-words")),
        "picture_unreadable",
        "not a picture",
    );
}

fn bytes(server: &Server, path: &str) -> Vec<u8> {
    let mut answer = ureq::get(format!("{}{path}", server.address))
        .call()
        .expect("it is there");
    answer.body_mut().read_to_vec().expect("it comes whole")
}

#[test]
fn a_server_for_others_fetches_only_when_told() {
    let (model, site) = (TinyCheckpoint::new(), Site::start());
    let place = site.place.to_string();
    let off = [
        Server::start_on("0.0.0.0", &["--model", model.path()]),
        Server::start(&["--model", model.path(), "--allow-picture-urls=no"]),
    ];
    // As JSON has it; the page's words alone offer nothing.
    let field = r#"aria-label=\"Picture address\""#;
    for server in off {
        refused(
            open(&server, &site.url("/a.png")),
            "addresses_not_allowed",
            "not fetched from addresses",
        );
        assert!(
            !get(&server, "").to_string().contains(field),
            "the page does not offer it"
        );
        let address = site.url("/a.png");
        let (status, page) = post_form(&server, &[("address", "", address.as_bytes()), ("action", "", b"open")]);
        assert!(status == 403 && page.contains("role=\"alert\""), "{status}");
    }
    assert_eq!(site.requests(), 0, "nobody came");
    let arguments = ["--model", model.path(), "--allow-picture-source", &place];
    let on = [
        Server::start_on("0.0.0.0", &[&arguments[..], &["--allow-picture-urls"]].concat()),
        Server::start(&arguments),
    ];
    for server in on {
        assert_eq!(open(&server, &site.url("/a.png")).0, 200);
        assert!(get(&server, "").to_string().contains(field));
    }
}

#[test]
fn a_source_where_nothing_is_fetched_is_wrong_usage() {
    for flags in [
        ["--addr", "0.0.0.0:0"],
        ["--addr=127.0.0.1:0", "--allow-picture-urls=no"],
    ] {
        let output = glimpse()
            .args(["serve", "--allow-picture-source", "10.0.0.5:80"])
            .args(flags)
            .output()
            .expect("the program starts");
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("--allow-picture-source") && message.contains("--allow-picture-urls"));
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn a_password_is_not_repeated() {
    let (server, site) = server_and_site();
    let address = format!("http://me:secret@{}/a.png", site.place);
    let (_, answer) = open(&server, &address);
    assert!(!answer.to_string().contains("secret"), "{answer}");
    let (status, page) = post_form(&server, &[("address", "", address.as_bytes()), ("action", "", b"open")]);
    assert!(status == 422 && page.contains("name or password"), "{page}");
    assert!(!page.contains("secret") && page.contains(&site.url("/a.png")), "{page}");
    let folder = PictureFile::new();
    let line = json!({"picture": address}).to_string();
    let batch = folder.beside("questions.jsonl", line);
    for arguments in [
        &[address.as_str()][..],
        &["https://me:secret@pictures .invalid/"],
        &["ftp://me:secret@pictures.invalid/"],
        &["--batch", &batch],
    ] {
        let output = glimpse()
            .arg("ask")
            .args(arguments)
            .env("GLIMPSE_LOG", "trace")
            .output();
        let output = output.expect("the program starts");
        let said = [output.stdout.as_slice(), &output.stderr].concat();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            !String::from_utf8_lossy(&said).contains("secret"),
            "{}",
            stderr(&output)
        );
    }
    assert_eq!(site.requests(), 0, "nobody came");
}

#[test]
fn the_limits_of_bytes_and_seconds_are_named() {
    let (model, site) = (TinyCheckpoint::new(), Site::start());
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let quiet = silent.local_addr().expect("it is bound");
    let places = format!("{},{quiet}", site.place);
    let mut arguments = vec!["--model", model.path(), "--allow-picture-source", &places];
    arguments.extend(["--max-upload-bytes", "50", "--max-fetch-seconds", "1"]);
    let server = Server::start(&arguments);
    refused(open(&server, &site.url("/a.png")), "picture_too_large", "50 bytes");
    refused(
        open(&server, &format!("http://{quiet}/a.png")),
        "address_refused",
        "within 1 second.",
    );
}

#[test]
fn the_form_takes_an_address_and_loses_nothing() {
    let (server, site) = server_and_site();
    let picture = site.url("/a.png");
    let (status, page) = post_form(
        &server,
        &[
            ("address", "", picture.as_bytes()),
            ("question", "", b"who is it?"),
            ("action", "", b"ask"),
        ],
    );
    assert!(
        status == 200 && page.contains("<article") && page.contains("who is it?"),
        "{page}"
    );
    let (status, page) = post_form(&server, &[("address", "", picture.as_bytes()), ("action", "", b"open")]);
    assert!(
        status == 200 && page.contains("/pictures/") && !page.contains("<article"),
        "{page}"
    );
    let wrong = site.url("/page");
    let (status, page) = post_form(
        &server,
        &[
            ("address", "", wrong.as_bytes()),
            ("question", "", b"who is it?"),
            ("action", "", b"ask"),
        ],
    );
    assert_eq!(status, 422);
    assert!(page.contains("role=\"alert\"") && page.contains("web page"), "{page}");
    assert!(
        page.contains("who is it?") && page.contains(&wrong),
        "what was typed is still there"
    );
}

#[test]
fn the_terminal_fetches_from_wherever_its_user_can_and_what_needs_no_proxy_without() {
    let (model, site) = (TinyCheckpoint::new(), Site::start());
    let ask = |address: &str| {
        glimpse()
            .args(["ask", "--model", model.path(), "--max-new-tokens", "2", address])
            .env("http_proxy", "http://127.0.0.1:1")
            .env("ALL_PROXY", "http://127.0.0.1:1")
            .env("no_proxy", "pictures.invalid")
            .output()
            .expect("the program starts")
    };
    let localhost = format!("http://localhost:{}/to?/a.png", site.place.port());
    for address in [site.url("/a.png"), localhost] {
        let output = ask(&address);
        assert!(
            output.status.success() && !output.stdout.is_empty(),
            "{}",
            stderr(&output)
        );
    }
    for (address, words) in [
        (site.url("/page"), "web page"),
        (site.url("/gone.png"), "404"),
        (site.url("/words.png"), "not a picture"),
        ("http://pictures.invalid/a.png".into(), "not found"),
    ] {
        let output = ask(&address);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(&address) && message.contains(words), "{message}");
    }
}

#[test]
fn a_line_of_a_batch_may_name_an_address() {
    let (model, site, folder) = (TinyCheckpoint::new(), Site::start(), PictureFile::new());
    let line = |path: &str| json!({"picture": site.url(path), "question": "hi"}).to_string();
    let file = folder.beside(
        "questions.jsonl",
        [line("/a.png"), line("/a.png"), line("/page")].join("\n"),
    );
    let output = crate::support::ask(["--model", model.path(), "--max-new-tokens", "2", "--batch", &file]);
    let lines: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert!(
        lines[0]["answer"].is_string() && lines[1]["answer"].is_string(),
        "{lines:?}"
    );
    assert!(
        lines[2]["error"]
            .as_str()
            .is_some_and(|error| error.contains("web page")),
        "{lines:?}"
    );
    assert_eq!(site.requests(), 2, "a picture that was just there is not fetched again");
}

#[test]
fn a_visitor_has_so_many_pictures_fetched_a_minute() {
    let (model, site) = (TinyCheckpoint::new(), Site::start());
    let place = site.place.to_string();
    let mut arguments = vec!["--model", model.path(), "--allow-picture-source", &place];
    arguments.extend(["--max-fetches-per-minute", "1"]);
    let server = Server::start(&arguments);
    let picture = site.url("/a.png");
    assert_eq!(open(&server, &picture).0, 200);
    let refused = ureq::post(format!("{}/api/page/address", server.address))
        .header(VISITOR_HEADER, VISITOR)
        .config()
        .http_status_as_error(false)
        .build()
        .content_type("application/json")
        .send(json!({ "address": picture }).to_string());
    let mut refused = refused.expect("the server answers");
    assert_eq!(refused.status(), 429);
    let seconds = refused.headers()["retry-after"].to_str().ok();
    let seconds = seconds.and_then(|seconds| seconds.parse::<u64>().ok());
    assert!(
        seconds.is_some_and(|seconds| (1..=60).contains(&seconds)),
        "{seconds:?}"
    );
    let error = refused.body_mut().read_to_string().expect("it is text");
    assert!(
        error.contains("too_many_fetches") && error.contains("--max-fetches-per-minute"),
        "{error}"
    );
    assert_eq!(site.requests(), 1, "nothing was fetched for it");
    let (status, page) = post_form(&server, &[("address", "", picture.as_bytes()), ("action", "", b"open")]);
    assert!(status == 429 && page.contains("many pictures fetched"), "{page}");
    let (status, _) = call_as(STRANGER, &server, "address", &json!({ "address": picture }));
    assert_eq!(status, 200, "another one has his own");
}
