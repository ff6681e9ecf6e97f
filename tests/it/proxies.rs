//! Glimpse behind a proxy, which speaks for its visitors.

use std::fs::File;

use crate::support::{Server, TinyCheckpoint, glimpse, png, stderr};

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
fn a_log_for_programs_is_an_object_a_line() {
    let trusting = ["--log-format", "json", "--trusted-proxies", "127.0.0.1"];
    let line = logged(&trusting, &[("x-request-id", "number-1")]);
    let line: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
    assert_eq!(line["message"], "GET /");
    assert_eq!((&line["status"], &line["client"]), (&200.into(), &"127.0.0.1".into()));
    assert_eq!(line["span"]["id"], "number-1", "{line}");
}

#[test]
fn the_log_names_the_visitor_and_believes_only_a_named_proxy() {
    let claims = [("x-forwarded-for", "198.51.100.1, 203.0.113.7")];
    let line = logged(&["--trusted-proxies", "10.0.0.0/8,127.0.0.1"], &claims);
    assert!(line.contains("203.0.113.7") && !line.contains("198.51.100.1"), "{line}");
    let line = logged(&[], &claims);
    assert!(line.contains("127.0.0.1") && !line.contains("203.0.113.7"), "{line}");
}

/// The page, as somebody gets it by this path.
fn page(server: &Server, path: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    let mut request = ureq::get(format!("{}{path}", server.address)).header("accept", "text/html");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.config().http_status_as_error(false).build();
    let mut response = request.call().expect("the server answers");
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .expect("it is plain")
        .to_owned();
    let text = response.body_mut().read_to_string().expect("it is text");
    (response.status().as_u16(), text, policy)
}

/// Every address of ours that a page has.
fn addresses(page: &str) -> Vec<&str> {
    let attributes = [" href=\"", " src=\"", " action=\""];
    let after = attributes.iter().flat_map(|attribute| page.split(attribute).skip(1));
    let values = after.map(|rest| rest.split('"').next().unwrap_or_default());
    values.filter(|value| !value.starts_with("http")).collect()
}

#[test]
fn below_a_path_every_address_of_the_page_is_below_it_too() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path(), "--root-path", "/glimpse"]);
    // Whether the proxy has stripped it or not.
    for path in [
        "/",
        "/glimpse",
        "/glimpse/",
        "/c/none",
        "/glimpse/c/none",
        "/glimpse/nothing",
    ] {
        let (_, page, _) = page(&server, path, &[]);
        let found = addresses(&page);
        assert!(
            found.len() >= 2 && found.iter().all(|address| address.starts_with("/glimpse/")),
            "{path}: {found:?}"
        );
        for address in found.iter().filter(|address| !address.ends_with("/ask")) {
            let there = ureq::get(format!("{}{address}", server.address)).call();
            assert!(there.is_ok(), "{path}: {address}");
        }
    }
}

#[test]
fn a_form_without_javascript_leads_below_the_path() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path(), "--trusted-proxies", "127.0.0.1"]);
    let head = |what: &str| format!("\r\n--edge\r\nContent-Disposition: form-data; name={what}\r\n\r\n").into_bytes();
    let body = [
        head("\"picture\"; filename=\"p\""),
        png([1, 2, 3]),
        head("\"action\""),
        b"describe\r\n--edge--\r\n".to_vec(),
    ];
    let posted = ureq::post(format!("{}/ask", server.address))
        .header("x-forwarded-prefix", "/demo")
        .content_type("multipart/form-data; boundary=edge")
        .config()
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .build()
        .send(body.concat())
        .expect("the server answers");
    assert_eq!(posted.status(), 303);
    let location = posted.headers()["location"].to_str().expect("it is plain");
    assert!(location.starts_with("/demo/c/"), "{location}");
    let cookie = posted.headers()["set-cookie"].to_str().expect("it is plain");
    assert!(
        cookie.contains("; Path=/demo;"),
        "others on this host read it: {cookie}"
    );
}

#[test]
fn a_page_runs_its_own_script_and_no_other_inline() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let nonce = |policy: &str| {
        let after = policy.split("'nonce-").nth(1)?;
        after.split('\'').next().map(str::to_owned)
    };
    let mut seen = std::collections::HashSet::new();
    for path in ["/", "/", "/c/none"] {
        let (_, page, policy) = page(&server, path, &[]);
        assert!(!policy.contains("'unsafe-inline'"), "{policy}");
        let nonce = nonce(&policy).expect("the page's script has a nonce");
        let scripts = page.matches("<script").count();
        assert!(scripts > 0);
        assert_eq!(page.matches(&format!("nonce=\"{nonce}\"")).count(), scripts, "{path}");
        assert!(!page.contains("<style") && !page.contains(" style=\""), "{path}");
        assert!(seen.insert(nonce), "each answer has its own");
    }
    let (status, page, policy) = page(&server, "/nothing/here", &[]);
    assert_eq!(status, 404);
    let nonce = nonce(&policy).expect("the page has a style");
    assert!(page.contains(&format!("<style nonce=\"{nonce}\">")) && !page.contains("<script"));
    for path in ["healthz", "favicon.svg"] {
        let response = ureq::get(format!("{}/{path}", server.address))
            .call()
            .expect("it is there");
        let policy = response.headers()["content-security-policy"]
            .to_str()
            .expect("it is plain");
        assert!(
            !policy.contains("nonce") && !policy.contains("'unsafe-inline'"),
            "{policy}"
        );
    }
}

#[test]
fn a_root_path_that_cannot_be_is_wrong_usage() {
    for (flag, value) in [
        ("--root-path", "/c"),
        ("--root-path", "/a b"),
        ("--public-url", "https://demo.example/pkg/"),
    ] {
        assert!(wrong(&[flag, value]).contains(flag), "{flag} {value}");
    }
    let both = wrong(&["--public-url", "https://demo.example/a", "--root-path", "/b"]);
    assert!(both.contains("--public-url") && both.contains("--root-path"), "{both}");
}

/// What is said of a server that is started so, which is wrong.
fn wrong(arguments: &[&str]) -> String {
    let output = glimpse().arg("serve").args(arguments).output();
    let output = output.expect("the program starts");
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
    stderr(&output)
}

#[test]
fn an_address_or_a_name_that_no_visitor_could_use_is_wrong_usage() {
    for (flag, value, advice) in [
        ("--public-url", "ftp://demo.example", "write it as https://"),
        ("--public-url", "https://demo.example/?a", "without ? and #"),
        ("--public-url", "https://demo.example/#b", "without ? and #"),
        ("--public-url", "https://u:p@demo.example/", "without a user"),
        ("--host-name", "http://demo.lan", "write the name alone"),
        ("--host-name", "", "write the name alone"),
        ("--allow-picture-source", "10.0.0.5", "10.0.0.5:8080"),
        ("--max-picture-memory", "1", "a small picture takes 12M"),
    ] {
        let said = wrong(&[flag, value]);
        assert!(said.contains(flag) && said.contains(advice), "{said}");
    }
}

/// The cookie that a visitor gets who begins something, by a request with these headers.
fn cookie(server: &Server, headers: &[(&str, &str)]) -> String {
    let mut request = ureq::post(format!("{}/api/page/state", server.address)).content_type("application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send(r#"{"conversation": null}"#).expect("the server answers");
    response.headers()["set-cookie"]
        .to_str()
        .expect("it is plain")
        .to_owned()
}

#[test]
fn two_servers_of_one_host_keep_cookies_of_their_own() {
    let below = Server::start(&["--engine", "scripted", "--root-path", "/glimpse"]);
    assert!(cookie(&below, &[]).contains("; Path=/glimpse;"));
    let proxied = Server::start(&["--engine", "scripted", "--trusted-proxies", "127.0.0.1"]);
    assert!(cookie(&proxied, &[("x-forwarded-prefix", "/other")]).contains("; Path=/other;"));
    assert!(cookie(&proxied, &[]).contains("; Path=/;"));
}

#[test]
fn only_a_named_proxy_or_the_host_says_that_visitors_speak_https() {
    let https = [("x-forwarded-proto", "https")];
    let proxied = Server::start(&["--engine", "scripted", "--trusted-proxies", "127.0.0.1"]);
    assert!(cookie(&proxied, &https).contains("; Secure"));
    assert!(!cookie(&proxied, &[("x-forwarded-proto", "http")]).contains("; Secure"));
    let open = Server::start(&["--engine", "scripted"]);
    assert!(!cookie(&open, &https).contains("; Secure"), "anybody can write it");
    let public = Server::start(&["--engine", "scripted", "--public-url", "https://demo.example"]);
    assert!(cookie(&public, &[("host", "demo.example")]).contains("; Secure"));
    assert!(!cookie(&public, &[]).contains("; Secure"), "asked for by another name");
}
