//! What a host sees of the server from outside: /metrics and /status, and who else does not.

use serde_json::{Value, json};

use crate::support::page::{ask, begin, call, question, upload};
use crate::support::script::ScriptControl;
use crate::support::{Server, TinyCheckpoint, glimpse, stderr};

/// Status, content type and text of what somebody gets who asks with these headers.
fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    let mut request = ureq::get(format!("{}/{path}", server.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.config().http_status_as_error(false).build();
    let mut response = request.call().expect("the server answers");
    let kind = response.headers().get("content-type");
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let text = response.body_mut().read_to_string().expect("it is text");
    (response.status().as_u16(), kind, text)
}

/// What /metrics says of one series, with its labels.
fn metric(server: &Server, series: &str) -> f64 {
    let (status, _, text) = get(server, "metrics", &[]);
    assert_eq!(status, 200, "{text}");
    let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    let value = lines.find_map(|(name, value)| (name == series).then(|| value.parse().ok())?);
    value.unwrap_or_else(|| panic!("{series} is not in\n{text}"))
}

fn questions(server: &Server, outcome: &str) -> f64 {
    metric(server, &format!("glimpse_questions_total{{{outcome}}}"))
}

#[test]
fn counters_move_as_a_visitor_asks_and_is_refused() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    assert_eq!(questions(&server, "outcome=\"answered\""), 0.0, "from the beginning");
    assert_eq!(metric(&server, "glimpse_ready"), 1.0);
    let id = begin(&server);
    assert!(ask(&server, &question(&id, 5)).count() > 1);
    assert!(ask(&server, &question(&id, 3)).count() > 1);
    assert_eq!(questions(&server, "outcome=\"answered\""), 2.0);
    assert_eq!(metric(&server, "glimpse_tokens_generated_total"), 8.0);
    assert_eq!(metric(&server, "glimpse_time_to_first_token_seconds_count"), 2.0);
    assert_eq!(metric(&server, "glimpse_queue_wait_seconds_count"), 2.0);
    assert_eq!(metric(&server, "glimpse_time_per_token_seconds_count"), 2.0);
    assert_eq!(metric(&server, "glimpse_uploads_total{outcome=\"kept\"}"), 1.0);

    assert_eq!(call(&server, "ask", &question(&id, 0)).0, 400);
    assert_eq!(questions(&server, "outcome=\"refused\",code=\"setting_refused\""), 1.0);
    assert_eq!(metric(&server, "glimpse_errors_total{code=\"setting_refused\"}"), 1.0);
    assert_eq!(metric(&server, "glimpse_http_requests_total{status=\"4xx\"}"), 1.0);
    assert_eq!(upload(&server, b"no picture").0, 422);
    assert_eq!(metric(&server, "glimpse_uploads_total{outcome=\"refused\"}"), 1.0);
    assert_eq!(
        metric(&server, "glimpse_errors_total{code=\"picture_unreadable\"}"),
        1.0
    );
    assert_eq!(metric(&server, "glimpse_picture_memory_held_bytes"), 0.0);
    assert!(metric(&server, "glimpse_picture_memory_limit_bytes") > 0.0);
    assert!(metric(&server, "glimpse_process_memory_bytes") > 1e6);
}

#[test]
fn whoever_asks_about_an_example_first_finds_its_picture_encoded() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let list = include_str!("../../public/examples/examples.json");
    let examples: Vec<Value> = serde_json::from_str(list).expect("it is JSON");
    // As the model sees a picture: two vectors of 32 numbers.
    let all = examples.len() * 2 * 32 * 4;
    let folder = model.folder.path().file_name().and_then(|name| name.to_str());
    let of = |series: &str| {
        format!(
            "{series}{{model=\"{}\",cache=\"picture\"}}",
            folder.expect("it has a plain name")
        )
    };
    let kept = format!("{} {all}", of("glimpse_cache_bytes"));
    let said = |words: &str| {
        get(&server, "metrics", &[])
            .2
            .lines()
            .any(|line| line.starts_with(words))
    };
    for _ in 0..1200 {
        if said(&kept) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    ask_about_an_example(&server);
    assert!(said(&format!("{} 1", of("glimpse_cache_hits_total"))));
    assert!(!said(&of("glimpse_cache_misses_total")));
}

/// Opens the first example, and has a question about it answered.
fn ask_about_an_example(server: &Server) {
    let (status, conversation) = call(server, "example", &json!({"index": 0}));
    assert_eq!(status, 200, "{conversation}");
    let id = conversation["id"].as_str().expect("it has one");
    assert!(ask(server, &question(id, 3)).count() > 1);
}

/// What /metrics says of a cache of the only model; 0 where nothing was said of it yet.
fn of_cache(server: &Server, name: &str, cache: &str) -> f64 {
    let text = get(server, "metrics", &[]).2;
    let series = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(&format!("cache=\"{cache}\""));
    let line = text.lines().find(series);
    line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok())
        .unwrap_or_default()
}

#[test]
fn and_the_language_model_has_read_it() {
    let server = Server::start(&[]);
    // The first is the first to be read.
    for _ in 0..1200 {
        if of_cache(&server, "glimpse_cache_bytes", "prefix") > 0.0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    ask_about_an_example(&server);
    assert_eq!(of_cache(&server, "glimpse_cache_hits_total", "prefix"), 1.0);
    assert_eq!(of_cache(&server, "glimpse_cache_misses_total", "prefix"), 0.0);
}

#[test]
fn what_waits_runs_and_is_stopped_is_counted() {
    let (server, script) = ScriptControl::start(&[]);
    let (running, waiting) = (begin(&server), begin(&server));
    let mut first = ask(&server, &question(&running, 9));
    script.post("begin?answers=1");
    script.post("release?tokens=1");
    script.wait("running=1&sent=1");
    let second = ask(&server, &question(&waiting, 9));
    script.wait("waiting=1");
    assert_eq!(metric(&server, "glimpse_questions_waiting"), 1.0);
    assert_eq!(metric(&server, "glimpse_answers_running"), 1.0);
    for id in [&running, &waiting] {
        assert_eq!(call(&server, "cancel", &json!({"conversation": id})).0, 200);
    }
    assert_eq!(first.by_ref().last().expect("it ends")["finish_reason"], "cancelled");
    assert_eq!(second.last().expect("it ends")["finish_reason"], "cancelled");
    assert_eq!(questions(&server, "outcome=\"stopped\""), 2.0);
    assert_eq!(metric(&server, "glimpse_tokens_generated_total"), 1.0);
    script.wait("running=0&waiting=0");
    assert_eq!(metric(&server, "glimpse_answers_running"), 0.0);

    let broken = begin(&server);
    let third = ask(&server, &question(&broken, 9));
    script.post("begin?answers=1");
    script.post("fail?error=panicked");
    assert_eq!(third.last().expect("it ends")["event"], "error");
    assert_eq!(questions(&server, "outcome=\"failed\",code=\"model_failed\""), 1.0);
}

#[test]
fn what_is_told_is_told_as_prometheus_reads_it() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let id = begin(&server);
    assert!(ask(&server, &question(&id, 3)).count() > 1);
    assert_eq!(call(&server, "ask", &question(&id, 0)).0, 400);
    let (_, kind, text) = get(&server, "metrics", &[]);
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let mut described = std::collections::BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["#", "HELP", name, _, ..] => assert!(name.starts_with("glimpse_"), "{line}"),
            ["#", "TYPE", name, kind] => {
                described.insert(name, kind);
            }
            _ => {
                let name = line.split(['{', ' ']).next().unwrap_or_default();
                let bare = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end));
                let is_histogram = |bare| described.get(bare) == Some(&"histogram");
                assert!(
                    described.contains_key(name) || bare.is_some_and(is_histogram),
                    "{line} has no type"
                );
                let help = format!("# HELP {} ", bare.filter(|bare| is_histogram(bare)).unwrap_or(name));
                assert!(text.contains(&help), "{line} has no help");
                // Nothing of what was asked, nor of who did.
                assert!(!line.contains(&id) && !line.contains("127.0.0.1"), "{line}");
            }
        }
    }
}

#[test]
fn only_whom_the_host_has_named_sees_it() {
    let model = TinyCheckpoint::new();
    let stranger = [("x-forwarded-for", "203.0.113.7")];
    let colleague = [("x-forwarded-for", "10.1.2.3")];
    let page = |server: &Server, headers: &[_]| {
        let answers = ["metrics", "status"].map(|path| get(server, path, headers));
        for (status, _, text) in &answers {
            assert!(*status == 200 || !text.contains("glimpse_"), "{text}");
        }
        answers.map(|(status, ..)| status)
    };

    let server = Server::start(&["--model", model.path()]);
    assert_eq!(page(&server, &[]), [200, 200]);
    assert_eq!(page(&server, &stranger), [403, 403], "behind a proxy nobody has named");

    let trusting = ["--model", model.path(), "--trusted-proxies", "127.0.0.1"];
    let server = Server::start(&trusting);
    assert_eq!(page(&server, &[]), [200, 200]);
    assert_eq!(page(&server, &stranger), [403, 403]);
    assert_eq!(page(&server, &colleague), [403, 403]);

    let server = Server::start(&[&trusting[..], &["--metrics-from", "10.0.0.0/8"]].concat());
    assert_eq!(page(&server, &[]), [403, 403]);
    assert_eq!(page(&server, &stranger), [403, 403]);
    assert_eq!(page(&server, &colleague), [200, 200]);
    let (_, kind, text) = get(&server, "status", &[("accept", "text/html")]);
    assert!(kind.starts_with("text/html") && text.contains("Open Glimpse"), "{text}");

    let server = Server::start(&["--model", model.path(), "--metrics-from", "none"]);
    assert_eq!(page(&server, &[]), [403, 403]);
}

#[test]
fn who_may_see_it_is_a_network_or_none() {
    let output = glimpse()
        .args(["serve", "--metrics-from", "everybody"])
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(
        message.contains("--metrics-from") && message.contains("10.0.0.0/8") && message.contains("none"),
        "{message}"
    );
}

#[test]
fn the_status_page_says_what_happens_without_a_script() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path(), "--root-path", "/demo"]);
    let (status, _, empty) = get(&server, "status", &[]);
    assert_eq!(status, 200);
    assert!(!empty.contains("<rect") && !empty.contains("<details"), "{empty}");
    let id = begin(&server);
    assert!(ask(&server, &question(&id, 5)).count() > 1);
    assert_eq!(call(&server, "ask", &question(&id, 0)).0, 400);

    let mut response = ureq::get(format!("{}/status", server.address))
        .call()
        .expect("it is there");
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .expect("it is plain")
        .to_owned();
    let page = response.body_mut().read_to_string().expect("it is text");
    for words in [
        "<dt>Health</dt><dd>ready</dd>",
        "<dt>Device</dt><dd>CPU</dd>",
        "<dt>Answered</dt><dd>1</dd>",
        "<dt>Refused</dt><dd>1</dd>",
        "<dt>Questions waiting</dt><dd>0</dd>",
        "<dt>Slow steps</dt><dd>0 took longer than 5 s</dd>",
        "<b>Questions a minute</b> 2 in all, at most 2",
        "<b>Tokens a second</b> 5 in all",
        "href=\"/demo/status\"",
    ] {
        assert!(page.contains(words), "{words:?} is not in\n{page}");
    }
    assert_eq!(page.matches("<svg role=\"img\" aria-label=\"").count(), 3);
    assert_eq!(page.matches("<rect class=\"bar\"").count(), 3, "{page}");
    // Nothing that the policy would forbid.
    assert!(
        !page.contains("<script") && !page.contains(" style=\"") && !page.contains(" on"),
        "{page}"
    );
    assert!(!policy.contains("'unsafe-inline'"), "{policy}");
    let nonce = page
        .split("<style nonce=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let nonce = nonce.expect("the page has a style");
    assert!(
        policy.contains(&format!("style-src 'self' 'nonce-{nonce}'")),
        "{policy}"
    );
}
