//! What stands between the network and the page: connections, proxies, other sites.

use serde_json::json;

use crate::support::page::{ask, begin, question};
use crate::support::{Server, TinyCheckpoint};

#[test]
fn a_proxy_is_told_to_pass_each_line_on_as_it_comes() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let id = begin(&server);
    let response = ureq::post(format!("{}/api/page/ask", server.address))
        .content_type("application/json")
        .send(question(&id, 2).to_string())
        .expect("the question is accepted");
    let headers = response.headers();
    assert_eq!(headers["content-type"], "application/x-ndjson");
    assert_eq!(headers["x-accel-buffering"], "no");
    assert_eq!(headers["cache-control"], "private, no-store, no-transform");
}

#[test]
fn a_full_queue_says_when_to_come_back() {
    let model = TinyCheckpoint::new();
    let limits = ["--max-new-tokens", "4000", "--max-waiting", "1"];
    let server = Server::start(&[&["--model", model.path()], &limits[..]].concat());
    let visitors: Vec<String> = (0..3).map(|_| begin(&server)).collect();
    let mut first = ask(&server, &question(&visitors[0], 4000));
    assert!(first.by_ref().any(|event| event["event"] == "token"));
    let mut second = ask(&server, &question(&visitors[1], 2));
    assert_eq!(second.next(), Some(json!({"event": "queued", "position": 1})));
    let refused = ureq::post(format!("{}/api/page/ask", server.address))
        .config()
        .http_status_as_error(false)
        .build()
        .content_type("application/json")
        .send(question(&visitors[2], 2).to_string())
        .expect("the server answers");
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "5");
}
