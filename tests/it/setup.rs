//! /setup: for whoever sits at the machine, and nobody else.

use serde_json::json;

use crate::support::page::call;
use crate::support::{Server, TinyCheckpoint};

/// Status and text of what somebody gets who asks with these headers.
fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = ureq::get(format!("{}{path}", server.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .header("accept", "text/html")
        .config()
        .http_status_as_error(false)
        .build();
    let mut response = request.call().expect("the server answers");
    let text = response.body_mut().read_to_string().expect("it is text");
    (response.status().as_u16(), text)
}

#[test]
fn whoever_sits_at_the_machine_reads_what_answers_and_what_else_could() {
    let server = Server::start(&["--max-memory", "2GB"]);
    let (status, page) = get(&server, "/setup", &[]);
    assert_eq!(status, 200, "{page}");
    for words in [
        "the small demo model",
        "<dt>Device</dt><dd>CPU</dd>",
        "<pre>glimpse fetch Salesforce/blip-vqa-base</pre>",
        "<pre>glimpse serve --model Salesforce/blip-vqa-base</pre>",
        "Too large for this machine",
        "Salesforce/instructblip-vicuna-13b",
        "--title",
        "--public-url",
        "href=\"/status\"",
    ] {
        assert!(page.contains(words), "{words} is not in\n{page}");
    }
    assert!(
        !page.contains("serve --model Salesforce/instructblip-vicuna-13b"),
        "{page}"
    );
}

#[test]
fn commands_fit_where_the_server_is() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path(), "--root-path", "/demo", "--max-memory", "3GB"]);
    let (status, page) = get(&server, "/demo/setup", &[]);
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("href=\"/demo/status\""), "{page}");
    // What fits in a smaller dtype alone says so.
    assert!(
        page.contains("serve --model Salesforce/blip2-opt-2.7b --dtype q4_0"),
        "{page}"
    );
    let port = server.address.rsplit(':').next().expect("it has a port");
    assert!(page.contains(&format!("--addr 0.0.0.0:{port}")), "{page}");
}

#[test]
fn nobody_else_reads_it_or_is_led_there() {
    let model = TinyCheckpoint::new();
    let open = [
        "--model",
        model.path(),
        "--trusted-proxies",
        "127.0.0.1",
        "--host-name",
        "demo.lan",
    ];
    let server = Server::start(&open);
    let address = server.address.clone();
    let port = address.rsplit(':').next().expect("it has a port");
    let foreign = format!("demo.lan:{port}");
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "localhost"),
        ("x-forwarded-proto", "http"),
        ("forwarded", "for=127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("via", "1.1 somebody"),
        ("host", foreign.as_str()),
    ] {
        let (status, page) = get(&server, "/setup", &[(name, value)]);
        assert_eq!(status, 403, "{name}: {value}: {page}");
        assert!(
            page.contains("on its own machine") && !page.contains("glimpse serve"),
            "{page}"
        );
        let (status, page) = get(&server, "/", &[(name, value)]);
        assert_eq!(status, 200, "{name}: {value}");
        assert!(!page.contains("/setup"), "{name}: {value}: {page}");
    }
    assert!(get(&server, "/", &[]).1.contains("href=\"/setup\""));
    let state = call(&server, "state", &json!({"conversation": null})).1;
    assert_eq!(state["may_set_up"], true);
}

#[test]
fn a_server_for_all_names_shows_it_to_this_machines_alone() {
    let model = TinyCheckpoint::new();
    let server = Server::start_on("0.0.0.0", &["--model", model.path()]);
    assert_eq!(get(&server, "/setup", &[]).0, 200);
    for host in ["evil.example", "demo.example:7860"] {
        assert_eq!(get(&server, "/", &[("host", host)]).0, 200, "{host}");
        assert_eq!(get(&server, "/setup", &[("host", host)]).0, 403, "{host}");
    }
}
