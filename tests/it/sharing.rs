//! What an owner shows others of a conversation, takes elsewhere, and thinks of answers.

use serde_json::{Value, json};

use crate::support::page::{STRANGER, VISITOR, ask, begin, call, call_as, post_form};
use crate::support::script::ScriptControl;
use crate::support::{Server, glimpse, stderr};

/// What tries to be something else than a question.
const HOSTILE: &str = "<script>alert(1)</script> `code` [here](https://evil.example) \u{202e}gpj \"' & done";

fn open(arguments: &[&str]) -> Server {
    let (server, script) = ScriptControl::start(arguments);
    script.post("open");
    server
}

fn say(server: &Server, id: &str, question: &str) {
    let request = json!({"request": {"conversation": id, "question": question, "max_new_tokens": 5}});
    assert_eq!(ask(server, &request).last().expect("it is answered")["event"], "done");
}

fn asked(server: &Server, question: &str) -> String {
    let id = begin(server);
    say(server, &id, question);
    id
}

fn share(server: &Server, id: &str) -> String {
    let (status, path) = call(server, "share", &json!({"conversation": id}));
    assert_eq!(status, 200, "{path}");
    path.as_str().expect("it is a path").to_owned()
}

/// Status, headers and text of what anybody gets there.
fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> (u16, ureq::http::HeaderMap, String) {
    let mut request = ureq::get(format!("{}{path}", server.address)).header("accept", "text/html");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.config().http_status_as_error(false).build();
    let mut response = request.call().expect("the server answers");
    let bytes = response.body_mut().read_to_vec().expect("it comes whole");
    (
        response.status().as_u16(),
        response.headers().clone(),
        String::from_utf8_lossy(&bytes).into_owned(),
    )
}

/// The content of a tag in a page's head.
fn meta<'a>(page: &'a str, name: &str) -> &'a str {
    let begin = format!("=\"{name}\" content=\"");
    let rest = page.split(&begin).nth(1).unwrap_or_else(|| panic!("no {name}: {page}"));
    rest.split('"').next().unwrap_or_default()
}

#[test]
fn whoever_has_the_address_reads_what_was_said_until_then_and_no_more() {
    let server = open(&[]);
    let id = asked(&server, "what is first?");
    let path = share(&server, &id);
    say(&server, &id, "what is later?");
    let (status, headers, page) = get(&server, &path, &[]);
    assert_eq!(status, 200);
    assert!(
        page.contains("what is first?") && page.contains("a scripted answer"),
        "{page}"
    );
    assert!(!page.contains("what is later?") && !page.contains("<script") && !page.contains(&id));
    assert_eq!(meta(&page, "robots"), "noindex");
    assert_eq!(meta(&page, "og:title"), "what is first?");
    assert_eq!(meta(&page, "twitter:description"), "a scripted answer");
    let picture = format!("{}{path}/picture.jpg", server.address);
    assert_eq!(meta(&page, "og:image"), picture);
    assert_eq!(
        (meta(&page, "og:image:width"), meta(&page, "og:image:height")),
        ("40", "30")
    );
    let header = |name: &str| headers[name].to_str().expect("it is plain");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("x-robots-tag"), "noindex");
    assert!(header("content-security-policy").starts_with("default-src 'none'"));
    let (status, headers, jpeg) = get(&server, &format!("{path}/picture.jpg"), &[]);
    assert_eq!(
        (status, headers["content-type"].to_str().ok()),
        (200, Some("image/jpeg"))
    );
    assert!(jpeg.contains("JFIF"));
    let later = share(&server, &id);
    assert!(get(&server, &later, &[]).2.contains("what is later?"));
    assert_eq!(call(&server, "shares", &json!({"conversation": id})).1, 2);
}

#[test]
fn what_is_revoked_or_deleted_is_gone_at_once() {
    let server = open(&[]);
    let id = asked(&server, "what?");
    let gone = [share(&server, &id), share(&server, &id)];
    assert_eq!(call(&server, "unshare", &json!({"conversation": id})).0, 200);
    let deleted = share(&server, &id);
    assert_eq!(call(&server, "shares", &json!({"conversation": id})).1, 1);
    for path in &gone {
        let (status, headers, page) = get(&server, path, &[]);
        assert_eq!((status, page.contains("what?")), (404, false));
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(get(&server, &format!("{path}/picture.jpg"), &[]).0, 404);
    }
    assert_eq!(get(&server, &deleted, &[]).0, 200);
    assert_eq!(call(&server, "remove", &json!({"conversation": id})).0, 200);
    assert_eq!(get(&server, &deleted, &[]).0, 404);
    assert_eq!(get(&server, &format!("{deleted}/picture.jpg"), &[]).0, 404);
    for nothing in [
        "/s/none",
        &format!("/s/{}", "0".repeat(32)),
        "/s/%ff",
        "/s/",
        "/s/none/picture.jpg",
    ] {
        assert_eq!(get(&server, nothing, &[]).0, 404, "{nothing}");
    }
}

#[test]
fn nothing_is_shared_before_something_was_said_whole() {
    let (server, script) = ScriptControl::start(&[]);
    let id = begin(&server);
    let (status, refused) = call(&server, "share", &json!({"conversation": id}));
    assert_eq!(status, 400, "{refused}");
    let request = json!({"request": {"conversation": id, "question": "what?", "max_new_tokens": 5}});
    let events = ask(&server, &request);
    script.post("begin");
    let (status, refused) = call(&server, "share", &json!({"conversation": id}));
    assert_eq!((status, &refused["code"]), (409, &json!("turn_in_progress")));
    script.post("open");
    assert_eq!(events.last().expect("it is answered")["event"], "done");
    assert_eq!(get(&server, &share(&server, &id), &[]).0, 200);
}

#[test]
fn only_the_owner_shares_saves_and_rates_and_a_reader_asks_nothing() {
    let server = open(&[]);
    let id = asked(&server, "what?");
    let path = share(&server, &id);
    let shared = path.trim_start_matches("/s/");
    let (_, state) = call(&server, "state", &json!({"conversation": id}));
    let answer = &state["conversation"]["turns"][0]["answer_id"];
    for (function, arguments) in [
        ("share", json!({"conversation": id})),
        ("unshare", json!({"conversation": id})),
        ("shares", json!({"conversation": id})),
        ("export", json!({"conversation": id, "ending": "md"})),
        (
            "rate",
            json!({"conversation": id, "answer": answer, "feedback": {"is_good": true}}),
        ),
        ("ask", json!({"request": {"conversation": shared, "question": "mine?"}})),
        ("remove", json!({"conversation": shared})),
    ] {
        let (status, refused) = call_as(STRANGER, &server, function, &arguments);
        assert_eq!((status, &refused["code"]), (404, &json!("not_found")), "{function}");
    }
    let cookie = format!("glimpse-visitor={STRANGER}");
    assert_eq!(
        get(&server, &format!("/c/{id}/conversation.md"), &[("cookie", &cookie)]).0,
        404
    );
    assert_eq!(
        get(&server, &format!("/c/{shared}"), &[]).0,
        404,
        "it is no conversation's address"
    );
    assert_eq!(get(&server, &path, &[]).0, 200);
}

#[test]
fn addresses_for_others_are_whole_wherever_the_server_is() {
    let server = open(&["--root-path", "/glimpse", "--trusted-proxies", "127.0.0.1"]);
    let id = asked(&server, "what?");
    let path = share(&server, &id);
    let proxied = [("x-forwarded-host", "demo.example"), ("x-forwarded-proto", "https")];
    let (_, _, page) = get(&server, &format!("/glimpse{path}"), &proxied);
    let address = format!("https://demo.example/glimpse{path}");
    assert_eq!(meta(&page, "og:url"), address);
    assert_eq!(meta(&page, "twitter:image"), format!("{address}/picture.jpg"));
    assert!(
        page.contains(&format!("<img src=\"/glimpse{path}/picture.jpg\"")),
        "{page}"
    );
    assert!(page.contains("href=\"/glimpse/\""), "{page}");
    let hostile = [("x-forwarded-host", "a\"><script>alert(1)</script>")];
    assert!(!get(&server, &path, &hostile).2.contains("<script"));
    let server = open(&[]);
    let path = share(&server, &asked(&server, "what?"));
    let (_, _, page) = get(&server, &path, &proxied);
    assert!(
        meta(&page, "og:image").starts_with(&server.address),
        "anybody can say who was asked"
    );
}

#[test]
fn a_text_stays_a_text_in_every_form() {
    let server = open(&[]);
    let id = asked(&server, HOSTILE);
    let (_, _, page) = get(&server, &share(&server, &id), &[]);
    let escaped =
        "&lt;script&gt;alert(1)&lt;/script&gt; `code` [here](https://evil.example) gpj &quot;&#39; &amp; done";
    assert!(page.contains(escaped) && !page.contains("<script"), "{page}");
    assert_eq!(meta(&page, "og:title"), escaped);
    let file = |ending: &str| {
        let (status, file) = call(&server, "export", &json!({"conversation": id, "ending": ending}));
        assert_eq!(status, 200, "{file}");
        let name = file["name"].as_str().expect("it has one");
        assert_eq!(name, format!("glimpse-script-alert-1-script-code-here.{ending}"));
        file["text"].as_str().expect("it has one").to_owned()
    };
    let html = file("html");
    assert!(html.contains(escaped) && !html.contains("<script") && !html.contains('\u{202e}'));
    assert!(
        html.contains("<img src=\"data:image/jpeg;base64,/9j/"),
        "the picture is in it"
    );
    assert!(!html.contains("http://") && html.matches("https://").count() == html.matches("evil.example").count());
    let markdown = file("md");
    let escaped = "\\<script\\>alert(1)\\</script\\> \\`code\\` \\[here\\](https://evil.example) gpj \"' \\& done";
    assert!(
        markdown.contains(escaped) && !markdown.contains('\u{202e}'),
        "{markdown}"
    );
    assert!(
        markdown.contains("\na scripted answer\n") && markdown.contains("max\\_new\\_tokens 5"),
        "{markdown}"
    );
    let json: Value = serde_json::from_str(&file("json")).expect("it is JSON");
    assert_eq!(json["format"], "glimpse-conversation/1");
    assert_eq!(json["turns"][0]["question"], HOSTILE, "as it was asked");
    assert_eq!(json["turns"][0]["answers"][0]["text"], "a scripted answer");
    assert_eq!(json["turns"][0]["answers"][0]["settings"]["max_new_tokens"], 5.0);
    assert_eq!(json["picture"], json!({"width": 40, "height": 30}));
    assert_eq!(
        call(&server, "export", &json!({"conversation": id, "ending": "exe"})).0,
        400
    );
}

#[test]
fn without_a_script_links_save_and_a_form_shares() {
    let server = open(&[]);
    let id = asked(&server, "what?");
    let cookie = [("cookie", &*format!("glimpse-visitor={VISITOR}"))];
    for (ending, media_type) in [
        ("md", "text/markdown"),
        ("json", "application/json"),
        ("html", "text/html"),
    ] {
        let (status, headers, text) = get(&server, &format!("/c/{id}/conversation.{ending}"), &cookie);
        let header = |name: &str| headers[name].to_str().expect("it is plain");
        assert_eq!(status, 200, "{text}");
        assert!(header("content-type").starts_with(media_type));
        assert_eq!(
            header("content-disposition"),
            format!("attachment; filename=\"glimpse-what.{ending}\"")
        );
        assert!(text.contains("a scripted answer"));
    }
    assert_eq!(get(&server, &format!("/c/{id}/conversation.exe"), &cookie).0, 404);
    let post = |what: &str| {
        let posted = ureq::post(format!("{}/c/{id}/{what}", server.address)).header(cookie[0].0, cookie[0].1);
        let request = posted.config().max_redirects(0).build();
        request.send_empty().expect("it is his")
    };
    let page = post("share").body_mut().read_to_string().expect("it is a page");
    let address = page
        .split("<a href=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("it is said");
    let path = address.strip_prefix(&server.address).expect("it is whole");
    assert_eq!(get(&server, path, &[]).0, 200);
    assert_eq!(
        post("unshare").headers()["location"],
        format!("/c/{id}"),
        "back in the conversation"
    );
    assert_eq!(get(&server, path, &[]).0, 404);
    let (_, plain) = post_form(
        &server,
        &[("conversation", "", id.as_bytes()), ("action", "", b"describe")],
    );
    assert!(plain.contains(&format!("href=\"/c/{id}/conversation.md\"")), "{plain}");
}

#[test]
fn what_is_thought_of_an_answer_is_kept_changed_and_taken_back() {
    let data = tempfile::tempdir().expect("a folder for tests");
    let folder = data.path().to_str().expect("temporary folders have plain names");
    let server = open(&["--data", folder]);
    let id = asked(&server, "what?");
    let state = || call(&server, "state", &json!({"conversation": id})).1["conversation"]["turns"][0].clone();
    let answer = state()["answer_id"].clone();
    let rate = |feedback: Value| {
        call(
            &server,
            "rate",
            &json!({"conversation": id, "answer": answer, "feedback": feedback}),
        )
    };
    assert!(state()["feedback"].is_null());
    assert_eq!(rate(json!({"is_good": true})).0, 200);
    assert_eq!(state()["feedback"], json!({"is_good": true, "note": ""}));
    assert_eq!(rate(json!({"is_good": false, "note": "  it is\n a dog "})).0, 200);
    assert_eq!(state()["feedback"], json!({"is_good": false, "note": "it is a dog"}));
    let (status, refused) = rate(json!({"is_good": false, "note": "x".repeat(501)}));
    assert_eq!(status, 400, "{refused}");
    let none = json!({"conversation": id, "answer": "0".repeat(32), "feedback": {"is_good": true}});
    assert_eq!(call(&server, "rate", &none).0, 404);
    let lines = exported(&["--data", folder, "--feedback"]);
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["value"], &lines[0]["note"]),
        (&json!("bad"), &json!("it is a dog"))
    );
    assert_eq!(
        (&lines[0]["question"], &lines[0]["answer"]),
        (&json!("what?"), &json!("a scripted answer"))
    );
    assert_eq!(rate(Value::Null).0, 200);
    assert!(state()["feedback"].is_null());
    assert_eq!(exported(&["--data", folder, "--feedback"]), Vec::<Value>::new());
}

/// The lines that `glimpse export` prints.
fn exported(arguments: &[&str]) -> Vec<Value> {
    let output = glimpse()
        .arg("export")
        .args(arguments)
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).expect("it is text");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("every line is JSON"))
        .collect()
}

#[test]
fn all_conversations_are_exported_while_the_server_runs() {
    let data = tempfile::tempdir().expect("a folder for tests");
    let folder = data.path().to_str().expect("temporary folders have plain names");
    let server = open(&["--data", folder]);
    let ids = [
        asked(&server, "what is it?"),
        asked(&server, "and this?"),
        begin(&server),
    ];
    let lines = exported(&["--data", folder]);
    let found: Vec<&Value> = lines.iter().map(|line| &line["id"]).collect();
    assert_eq!(found, [&ids[0], &ids[1], &ids[2]]);
    assert_eq!(lines[1]["turns"][0]["question"], "and this?");
    assert_eq!(
        (&lines[0]["visitor"], &lines[2]["turns"]),
        (&lines[1]["visitor"], &json!([]))
    );
    say(&server, &ids[2], "it goes on?");
    assert_eq!(exported(&["--data", folder])[2]["title"], "it goes on?");
    drop(server);
    assert_eq!(exported(&["--data", folder]).len(), 3, "and when it has ended");
}

#[test]
fn a_folder_without_conversations_is_named() {
    let data = tempfile::tempdir().expect("a folder for tests");
    let mut program = glimpse();
    let output = program
        .arg("export")
        .arg("--data")
        .arg(data.path())
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("no conversations") && said.contains("--data"), "{said}");
    assert_eq!(
        std::fs::read_dir(data.path()).expect("it is there").count(),
        0,
        "nothing is made"
    );
    let output = glimpse().arg("export").output().expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
}
