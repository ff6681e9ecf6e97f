//! What stands between the network and the page: connections, proxies, other sites.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::support::page::{VISITOR, VISITOR_HEADER, ask, begin, question, send};
use crate::support::{Server, TinyCheckpoint};

#[test]
fn a_proxy_is_told_to_pass_each_line_on_as_it_comes() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let id = begin(&server);
    let response = ureq::post(format!("{}/api/page/ask", server.address))
        .header(VISITOR_HEADER, VISITOR)
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
    let limits = [
        "--max-new-tokens",
        "4000",
        "--max-waiting",
        "1",
        "--max-batch-rows",
        "1",
    ];
    let server = Server::start(&[&["--model", model.path()], &limits[..]].concat());
    let visitors: Vec<String> = (0..3).map(|_| begin(&server)).collect();
    let mut first = ask(&server, &question(&visitors[0], 4000));
    assert!(first.by_ref().any(|event| event["event"] == "token"));
    let mut second = ask(&server, &question(&visitors[1], 2));
    assert_eq!(second.next().map(|event| event["position"].clone()), Some(json!(1)));
    let refused = ureq::post(format!("{}/api/page/ask", server.address))
        .config()
        .http_status_as_error(false)
        .build()
        .header(VISITOR_HEADER, VISITOR)
        .content_type("application/json")
        .send(question(&visitors[2], 2).to_string())
        .expect("the server answers");
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "5");
}

/// Status and text of a page that is asked for by this name.
fn by_name(server: &Server, host: &str, path: &str) -> (u16, String) {
    let mut response = ureq::get(format!("{}/{path}", server.address))
        .header("host", host)
        .header("accept", "text/html")
        .config()
        .http_status_as_error(false)
        .build()
        .call()
        .expect("the server answers");
    let text = response.body_mut().read_to_string().expect("it is text");
    (response.status().as_u16(), text)
}

#[test]
fn a_local_server_answers_to_its_own_names() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path(), "--host-name", "glimpse.lan:9124"]);
    for host in ["localhost", "glimpse.lan:80", "[::1]:7860"] {
        assert_eq!(by_name(&server, host, "").0, 200, "{host}");
    }
    let (status, sentence) = by_name(&server, "evil.example", "");
    assert_eq!(status, 421);
    assert!(
        sentence.contains("by this name") && !sentence.contains("--"),
        "{sentence}"
    );
    assert_eq!(by_name(&server, "evil.example", "healthz").0, 200);
}

/// The status of the answer to just this head of a request, but for its end.
fn status_of(server: &Server, head: &str) -> String {
    let mut stream = TcpStream::connect(server.address.trim_start_matches("http://")).expect("it listens");
    write!(stream, "{head}\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut heard = String::new();
    stream.read_to_string(&mut heard).expect("it answers");
    heard.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn one_host_is_asked_and_it_is_the_one_of_the_address() {
    let server = Server::start(&["--engine", "scripted"]);
    for (head, status) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost", "400"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example", "400"),
        ("GET http://evil.example/ HTTP/1.1\r\nHost: localhost", "421"),
        ("GET http://localhost:80/ HTTP/1.1\r\nHost: evil.example", "200"),
        ("GET http://user@localhost/ HTTP/1.1\r\nHost: localhost", "200"),
        ("GET http://localhost@evil.example/ HTTP/1.1\r\nHost: localhost", "421"),
        ("GET / HTTP/1.1\r\nHost: localhost", "200"),
    ] {
        assert_eq!(status_of(&server, head), status, "{head}");
    }
}

#[test]
fn an_address_without_a_page_has_a_way_home() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    for path in ["pictures/%ff", "pkg/%ff", "c/%ff"] {
        let (status, said) = by_name(&server, "localhost", path);
        assert!(status == 404 && !said.contains("UTF-8"), "{path}: {status} {said}");
    }
    let other = by_name(&server, "localhost", "pictures/no-such-key");
    assert_eq!(by_name(&server, "localhost", "pictures/%ff"), other);
    let unknown = format!("pictures/{}", "0".repeat(32));
    assert_eq!(by_name(&server, "localhost", &unknown), other, "it speaks of a picture");
    let (status, page) = by_name(&server, "localhost", "no/such/page");
    assert_eq!(status, 404);
    assert!(
        page.contains("<h1>Not found</h1>") && page.contains(r#"href="/""#),
        "{page}"
    );
}

#[test]
fn another_sites_upload_is_heard_out_and_refused() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let request = ureq::post(format!("{}/api/page/upload", server.address))
        .header("origin", "http://elsewhere.example")
        .content_type("multipart/form-data; boundary=edge");
    let (status, error) = send(request, &vec![0; 4 << 20]);
    assert_eq!((status, &error["code"]), (403, &json!("forbidden")), "{error}");
}

/// Says all of a request before listening, as a proxy does; gives what is heard then.
fn say_it_all(server: &Server, path: &str, bytes: usize) -> std::io::Result<String> {
    let host = server.address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host)?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {bytes}\r\n\
         Content-Type: multipart/form-data; boundary=edge\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    for _ in 0..bytes >> 16 {
        stream.write_all(&[0; 1 << 16])?;
    }
    let mut heard = String::new();
    stream.read_to_string(&mut heard)?;
    Ok(heard)
}

/// Behind a proxy a visitor would read "502 Bad Gateway".
#[test]
fn whoever_says_far_too_much_is_heard_out_and_hears_why() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path(), "--max-upload-bytes", "1000000"]);
    for path in ["/api/page/upload", "/ask"] {
        let heard = say_it_all(&server, path, 32 << 20).expect(path);
        assert!(heard.starts_with("HTTP/1.1 413 "), "{path}: {heard}");
        assert!(heard.contains("Send a smaller picture."), "{path}: {heard}");
    }
}
