//! A server whose model is not there yet: it lives, and says so.

use std::fs::File;

use serde_json::{Value, json};

use super::User;
use super::server::{Hub, ID};
use crate::support::page::{call, send};
use crate::support::{Server, TinyCheckpoint, glimpse};

/// A server that has to get its model from a hub.
fn serving_from(user: &User) -> Server {
    Server::spawn(user.command([]), "127.0.0.1", &["--model", ID]).when("healthz")
}

/// Status, `Retry-After` and text of an answer.
fn get(server: &Server, path: &str) -> (u16, Option<String>, String) {
    let request = ureq::get(format!("{}/{path}", server.address)).header("accept", "text/html");
    let request = request.config().http_status_as_error(false).build();
    let mut response = request.call().expect("the server answers");
    let again = response
        .headers()
        .get("retry-after")
        .map(|value| value.to_str().expect("it is plain").to_owned());
    let text = response.body_mut().read_to_string().expect("it is text");
    (response.status().as_u16(), again, text)
}

#[test]
fn who_comes_before_the_model_is_told_so_and_the_page_opens_by_itself() {
    let hub = Hub::serving(TinyCheckpoint::new().folder.path());
    let user = User::of(&hub);
    let held = hub.hold();
    let server = serving_from(&user);
    let (status, again, text) = get(&server, "readyz");
    assert_eq!(
        (status, again.is_some(), text.as_str()),
        (503, true, r#"{"status":"loading"}"#)
    );
    for path in ["", "c/0123", "ask"] {
        let (status, again, page) = get(&server, path);
        assert_eq!((status, again.is_some()), (503, true), "/{path}");
        assert!(
            page.contains("being loaded") && page.contains(r#"<noscript><meta http-equiv="refresh""#),
            "{page}"
        );
    }
    let (status, error) = call(&server, "state", &json!({"conversation": null}));
    assert_eq!(status, 503);
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|said| said.contains("being loaded")),
        "{error}"
    );
    let upload =
        ureq::post(format!("{}/api/page/upload", server.address)).content_type("multipart/form-data; boundary=edge");
    assert_eq!(send(upload, &vec![0; 4 << 20]).0, 503, "it is heard out");
    let port = server.address.rsplit(':').next().expect("it has a port");
    let check = glimpse()
        .args(["check", "--addr", port])
        .status()
        .expect("the program starts");
    assert_eq!(check.code(), Some(1));

    drop(held);
    let server = server.when("readyz");
    let (status, _, page) = get(&server, "");
    assert!(status == 200 && page.contains("Question"), "{page}");
}

#[cfg(unix)]
#[test]
fn a_server_without_its_model_ends_when_it_is_asked_to() {
    let hub = Hub::empty();
    let user = User::of(&hub);
    let _held = hub.hold();
    let temporary = tempfile::tempdir().expect("there is a folder for tests");
    let mut program = user.command([]);
    program.env("TMPDIR", temporary.path());
    let server = Server::spawn(program, "127.0.0.1", &["--model", ID]).when("healthz");
    let mut server = with_a_temporary_folder(server, temporary.path());
    assert!(
        server.asked_to_end(std::time::Duration::from_secs(60)),
        "it waits for nothing"
    );
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(folders(temporary.path()), 0, "nothing is left behind");
}

#[cfg(unix)]
#[test]
fn a_start_that_fails_leaves_no_temporary_folder() {
    let hub = Hub::empty();
    let user = User::of(&hub);
    let held = hub.hold();
    let temporary = tempfile::tempdir().expect("there is a folder for tests");
    let mut program = user.command([]);
    program.env("TMPDIR", temporary.path());
    let server = Server::spawn(program, "127.0.0.1", &["--model", ID]).when("healthz");
    let mut server = with_a_temporary_folder(server, temporary.path());
    drop(held);
    assert_eq!(server.exit_code(), Some(1));
    assert_eq!(folders(temporary.path()), 0, "nothing is left behind");
}

/// How many folders of conversations there are.
#[cfg(unix)]
fn folders(temporary: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(temporary).expect("it is ours").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("glimpse-")).count()
}

/// The server, once it has made its folder.
#[cfg(unix)]
fn with_a_temporary_folder(server: Server, temporary: &std::path::Path) -> Server {
    for _ in 0..1200 {
        if folders(temporary) == 1 {
            return server;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("no folder was made within a minute");
}

#[test]
fn a_model_that_cannot_be_had_ends_the_server_with_a_sentence() {
    for format in ["text", "json"] {
        let hub = Hub::empty();
        let user = User::of(&hub);
        let held = hub.hold();
        let file = user.home.path().join("log");
        let mut program = user.command([]);
        program.stderr(File::create(&file).expect("the folder is ours"));
        let arguments = ["--model", ID, "--log-format", format];
        let mut server = Server::spawn(program, "127.0.0.1", &arguments).when("healthz");
        drop(held);
        assert_eq!(server.exit_code(), Some(1));
        let log = std::fs::read_to_string(file).expect("it is there");
        let last = log.lines().last().expect("it says why");
        match format {
            "text" => assert!(last.starts_with("glimpse: ") && last.ends_with('.'), "{log}"),
            _ => {
                let lines: Vec<Value> = log
                    .lines()
                    .map(|line| serde_json::from_str(line).expect(line))
                    .collect();
                let last = lines.last().expect("it says why");
                assert_eq!(last["level"], "ERROR", "{log}");
                assert!(
                    last["message"].as_str().is_some_and(|said| said.ends_with('.')),
                    "{log}"
                );
            }
        }
    }
}
