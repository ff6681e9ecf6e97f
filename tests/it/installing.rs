//! What a browser keeps: the page as it is installed, pictures that are shared with it, and files that are loaded once.

use serde_json::Value;

use crate::support::page::VISITOR;
use crate::support::{Server, TinyCheckpoint, png};

fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> ureq::http::Response<ureq::Body> {
    let mut request = ureq::get(format!("{}{path}", server.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.config().http_status_as_error(false).max_redirects(0).build();
    request.call().expect("the server answers")
}

fn text(server: &Server, path: &str, headers: &[(&str, &str)]) -> String {
    get(server, path, headers)
        .body_mut()
        .read_to_string()
        .expect("it is text")
}

fn header(response: &ureq::http::Response<ureq::Body>, name: &str) -> String {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// Shares a file as a browser does, but for these headers; gives status and where it leads.
fn share(server: &Server, path: &str, file: Option<&[u8]>, headers: &[(&str, &str)]) -> (u16, String, String) {
    let mut body = Vec::new();
    if let Some(file) = file {
        body.extend(b"--edge\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n");
        body.extend(file);
        body.extend(b"\r\n");
    }
    body.extend(b"--edge--\r\n");
    let mut request = ureq::post(format!("{}{path}", server.address))
        .header("cookie", format!("glimpse-visitor={VISITOR}"))
        .header("accept", "text/html")
        .content_type("multipart/form-data; boundary=edge");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.config().http_status_as_error(false).max_redirects(0).build();
    let mut response = request.send(&body).expect("the server answers");
    let location = header(&response, "location");
    let text = response.body_mut().read_to_string().expect("it is text");
    (response.status().as_u16(), location, text)
}

/// As a browser says that nobody's page has asked for something.
const BY_THE_BROWSER: [(&str, &str); 2] = [("sec-fetch-site", "none"), ("origin", "null")];

#[test]
fn the_manifest_has_the_hosts_name_and_icons_that_are_there() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&[
        "--model",
        model.path(),
        "--title",
        "Birds \"of\" Kent",
        "--root-path",
        "/demo",
    ]);
    let response = get(&server, "/demo/manifest.webmanifest", &[]);
    assert_eq!(header(&response, "content-type"), "application/manifest+json");
    let manifest: Value = serde_json::from_str(&text(&server, "/demo/manifest.webmanifest", &[])).expect("it is JSON");
    assert_eq!(manifest["name"], "Birds \"of\" Kent");
    for key in ["id", "start_url", "scope"] {
        assert_eq!(manifest[key], "/demo/", "{key}");
    }
    assert_eq!(manifest["display"], "standalone");
    assert_eq!(manifest["share_target"]["action"], "/demo/share");
    let icons = manifest["icons"].as_array().expect("it is a list");
    for (purpose, side) in [("any", 192), ("any", 512), ("maskable", 192), ("maskable", 512)] {
        let sizes = format!("{side}x{side}");
        let icon = icons
            .iter()
            .find(|icon| icon["purpose"] == purpose && icon["sizes"] == *sizes);
        let address = icon.and_then(|icon| icon["src"].as_str()).expect("there is one");
        let mut response = get(&server, address, &[]);
        assert_eq!(
            (response.status().as_u16(), header(&response, "content-type")),
            (200, "image/png".into())
        );
        let bytes = response.body_mut().read_to_vec().expect("it is there");
        let real = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .expect("it is a PNG")
            .info()
            .size();
        assert_eq!(real, (side, side), "{address}");
    }
    let page = text(&server, "/demo/", &[]);
    for words in [
        "rel=\"manifest\" href=\"/demo/manifest.webmanifest\"",
        "rel=\"apple-touch-icon\" href=\"/demo/icons/",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert_eq!(page.matches("name=\"theme-color\"").count(), 2);
}

#[test]
fn a_picture_that_is_shared_begins_a_conversation() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let own = [("sec-fetch-site", "same-origin"), ("origin", server.address.as_str())];
    for headers in [&BY_THE_BROWSER[..], &own] {
        let (status, location, text) = share(&server, "/share", Some(&png([1, 2, 3])), headers);
        assert_eq!(status, 303, "{text}");
        assert!(location.starts_with("/c/"), "{location}");
        let cookie = format!("glimpse-visitor={VISITOR}");
        let page = get(&server, &location, &[("cookie", &cookie)]);
        assert_eq!(page.status(), 200, "it is the visitor's own");
        assert_eq!(get(&server, &location, &[]).status(), 404, "and nobody else's");
    }
    let server = Server::start(&["--model", model.path(), "--root-path", "/demo"]);
    let (status, location, _) = share(&server, "/demo/share", Some(&png([1, 2, 3])), &BY_THE_BROWSER);
    assert_eq!(status, 303);
    assert!(location.starts_with("/demo/c/"), "{location}");
}

#[test]
fn no_other_sites_page_can_share_for_a_visitor() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    for headers in [
        &[("sec-fetch-site", "cross-site"), ("origin", "null")][..],
        &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
        &[("sec-fetch-site", "same-site"), ("origin", "http://localhost:1")],
        &[("sec-fetch-site", "cross-site")],
        // An old browser, or plain http: what has no origin of its own may be a frame of anybody's.
        &[("origin", "null")],
        &[("origin", "https://evil.example")],
    ] {
        let (status, location, text) = share(&server, "/share", Some(&png([1, 2, 3])), headers);
        assert_eq!((status, location.as_str()), (403, ""), "{headers:?}: {text}");
    }
}

#[test]
fn what_is_shared_and_is_no_picture_is_told_on_the_page() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let (status, _, page) = share(&server, "/share", Some(b"text"), &BY_THE_BROWSER);
    assert_eq!(status, 422, "{page}");
    assert!(
        page.contains("role=\"alert\"") && page.contains("not a picture"),
        "{page}"
    );
    let (status, _, page) = share(&server, "/share", None, &BY_THE_BROWSER);
    assert_eq!(status, 400, "{page}");
    assert!(page.contains("no picture in what was shared"), "{page}");
    let again = get(&server, "/share", &[]);
    assert_eq!((again.status().as_u16(), header(&again, "location")), (303, "/".into()));
}

/// The addresses of the page's files that a page names.
fn files(page: &str) -> Vec<String> {
    let quoted = page.split('"').filter(|part| part.starts_with('/'));
    let is_file = |part: &&str| {
        ["/pkg/", "/favicon", "/icons/", "/examples/"]
            .iter()
            .any(|folder| part.starts_with(folder))
    };
    quoted
        .filter(is_file)
        .map(|part| part.trim_end_matches('\\').replace("&amp;", "&"))
        .collect()
}

#[test]
fn the_pages_files_are_kept_for_good_and_the_page_is_not() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let page = get(&server, "/", &[]);
    assert_eq!(header(&page, "cache-control"), "private, no-cache");
    let files = files(&text(&server, "/", &[]));
    for name in [
        ".css",
        ".js",
        ".wasm",
        "/favicon.svg?",
        "/examples/1.",
        "apple-touch-icon.png?",
    ] {
        assert!(
            files.iter().any(|file| file.contains(name)),
            "{name} is not among {files:?}"
        );
    }
    for file in &files {
        let response = get(&server, file, &[]);
        assert_eq!(response.status(), 200, "{file}");
        assert_eq!(
            header(&response, "cache-control"),
            "public, max-age=31536000, immutable",
            "{file}"
        );
    }
    for other in ["/favicon.svg", "/favicon.svg?v=0123456789abcdef", "/pkg/glimpse.css"] {
        assert_eq!(
            header(&get(&server, other, &[]), "cache-control"),
            "no-cache",
            "{other}"
        );
    }
    assert_eq!(
        get(&server, "/pkg/0123456789abcdef/glimpse.css", &[]).status(),
        404,
        "of another build"
    );
}

#[test]
fn the_page_comes_in_the_light_that_was_chosen() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let chosen = |theme: &str| text(&server, "/", &[("cookie", &format!("a=b; glimpse-theme={theme}"))]);
    let head = |page: String| page.split("<head>").next().unwrap_or_default().to_owned();
    assert!(head(chosen("dark")).contains("data-theme=\"dark\""));
    assert!(head(chosen("light")).contains("data-theme=\"light\""));
    for other in ["", "\"><script>", "blue"] {
        assert!(!head(chosen(other)).contains("data-theme"), "{other}");
    }
    assert!(chosen("dark").contains("content=\"#141517\" media=\"all\""));
    // A form that failed answers in it too.
    let answered = share(
        &server,
        "/share",
        None,
        &[("sec-fetch-site", "none"), ("cookie", "glimpse-theme=dark")],
    )
    .2;
    assert!(head(answered).contains("data-theme=\"dark\""));
}
