//! Glimpse behind a proxy, which speaks for its visitors.

use std::fs::File;

use crate::support::{Server, TinyCheckpoint, glimpse};

/// What the log says of a request for the page with these headers.
fn logged(arguments: &[&str], headers: &[(&str, &str)]) -> String {
    let model = TinyCheckpoint::new();
    let log = model.folder.path().join("log");
    let mut program = glimpse();
    program
        .env("GLIMPSE_LOG", "info")
        .stderr(File::create(&log).expect("the folder is ours"));
    let server = Server::start_as(program, "127.0.0.1", &[&["--model", model.path()], arguments].concat());
    let mut request = ureq::get(format!("{}/", server.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    assert_eq!(request.call().expect("the page is there").status(), 200);
    let text = std::fs::read_to_string(log).expect("it is logged before the answer goes out");
    let line = text.lines().find(|line| line.contains("GET /"));
    line.expect("each request has a line").to_owned()
}

#[test]
fn the_log_names_the_visitor_and_believes_only_a_named_proxy() {
    let claims = [("x-forwarded-for", "198.51.100.1, 203.0.113.7")];
    let line = logged(&["--trusted-proxies", "10.0.0.0/8,127.0.0.1"], &claims);
    assert!(line.contains("203.0.113.7") && !line.contains("198.51.100.1"), "{line}");
    let line = logged(&[], &claims);
    assert!(line.contains("127.0.0.1") && !line.contains("203.0.113.7"), "{line}");
}
