//! A visitor's conversations, as the page lists, names, keeps and removes them.

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::page::{STRANGER, ask, begin, call, call_as, question};
use crate::support::script::ScriptControl;

fn entries(server: &Server) -> Vec<Value> {
    let (status, history) = call(server, "history", &json!({}));
    assert_eq!(status, 200, "{history}");
    history["entries"].as_array().cloned().unwrap_or_default()
}

fn asked(server: &Server, question: Option<&str>) -> String {
    let id = begin(server);
    let request = json!({"request": {"conversation": id, "question": question, "max_new_tokens": 2}});
    assert!(ask(server, &request).count() > 1);
    id
}

#[test]
fn a_list_has_the_visitors_own_the_latest_first_called_by_what_was_asked() {
    let server = Server::start(&["--max-conversations-per-visitor", "9"]);
    let first = asked(&server, Some("what is it?"));
    let second = asked(&server, None);
    let third = begin(&server);
    let listed = entries(&server);
    let ids: Vec<&Value> = listed.iter().map(|entry| &entry["id"]).collect();
    assert_eq!(ids, [&third, &second, &first]);
    let titles: Vec<&Value> = listed.iter().map(|entry| &entry["title"]).collect();
    assert_eq!(titles, ["", "Describe the picture", "what is it?"]);
    assert_eq!((&listed[0]["turns"], &listed[2]["turns"]), (&json!(0), &json!(1)));
    let picture = ureq::get(format!(
        "{}{}",
        server.address,
        listed[0]["url"].as_str().expect("it has one")
    ))
    .call();
    assert_eq!(picture.map(|picture| picture.status().as_u16()).ok(), Some(200));
    let (_, history) = call(&server, "history", &json!({}));
    assert_eq!(history["limit"], 9);
    let (_, strangers) = call_as(STRANGER, &server, "history", &json!({}));
    assert_eq!(strangers["entries"], json!([]));
}

#[test]
fn what_is_named_and_pinned_stays_so_and_is_the_last_to_make_room() {
    let server = Server::start(&["--max-conversations-per-visitor", "2"]);
    let kept = asked(&server, Some("what is it?"));
    asked(&server, Some("and this?"));
    let rename = |title: &str| call(&server, "rename", &json!({"conversation": kept, "title": title}));
    assert_eq!(rename("  my \n picture ").0, 200);
    let (status, refused) = rename(&"x".repeat(201));
    assert_eq!(status, 400, "{refused}");
    assert_eq!(
        call(&server, "pin", &json!({"conversation": kept, "is_pinned": true})).0,
        200
    );
    let newest = asked(&server, Some("and that?"));
    let listed = entries(&server);
    let ids: Vec<&Value> = listed.iter().map(|entry| &entry["id"]).collect();
    assert_eq!(ids, [&kept, &newest]);
    assert_eq!(
        (&listed[0]["title"], &listed[0]["is_pinned"]),
        (&json!("my picture"), &json!(true))
    );
    assert_eq!(rename("").0, 200);
    assert_eq!(entries(&server)[0]["title"], "what is it?");
}

#[test]
fn nobody_else_names_pins_or_removes_a_conversation() {
    let server = Server::start(&[]);
    let id = asked(&server, None);
    for (function, arguments) in [
        ("rename", json!({"conversation": id, "title": "mine"})),
        ("pin", json!({"conversation": id, "is_pinned": true})),
        ("remove", json!({"conversation": id})),
    ] {
        let (status, refused) = call_as(STRANGER, &server, function, &arguments);
        assert_eq!((status, &refused["code"]), (404, &json!("not_found")), "{function}");
    }
    assert_eq!(
        call_as(STRANGER, &server, "remove", &json!({"conversation": null})).0,
        200
    );
    assert_eq!(entries(&server).len(), 1, "a stranger removes his own");
}

#[test]
fn what_is_removed_is_nowhere_in_the_folder() {
    let data = tempfile::tempdir().expect("a folder for tests");
    let folder = data.path().to_str().expect("temporary folders have plain names");
    let server = Server::start(&["--data", folder]);
    let secret = "is the unmistakable wombat here?";
    let (one, other) = (asked(&server, Some(secret)), asked(&server, Some(secret)));
    assert!(!files_with(data.path(), secret).is_empty(), "it was kept");
    assert_eq!(call(&server, "remove", &json!({"conversation": one})).0, 200);
    assert_eq!(entries(&server).len(), 1);
    assert_eq!(call(&server, "remove", &json!({"conversation": null})).0, 200);
    assert!(entries(&server).is_empty());
    assert_eq!(call(&server, "remove", &json!({"conversation": other})).0, 404);
    assert_eq!(files_with(data.path(), secret), Vec::<String>::new());
}

/// Names of the files in a folder that have a text.
fn files_with(folder: &std::path::Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if std::fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_conversation_that_is_being_answered_is_stopped_and_removed() {
    let (server, script) = ScriptControl::start(&[]);
    let id = begin(&server);
    let mut events = ask(&server, &question(&id, 9));
    script.post("begin");
    script.post("release");
    assert!(events.any(|event| event["event"] == "token"));
    assert_eq!(call(&server, "remove", &json!({"conversation": id})).0, 200);
    assert_eq!(events.last().expect("it ends")["finish_reason"], "cancelled");
    assert!(entries(&server).is_empty());
}
