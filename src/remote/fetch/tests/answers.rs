//! What a server may answer.

use super::*;

#[test]
fn a_picture_is_fetched_without_cookie_or_password() {
    let server = Fixture::with_picture();
    assert_eq!(
        fetcher(&[&server]).fetch(&server.url("/a.png#part")),
        Ok(b"pixels".to_vec())
    );
    let request = server.asked().concat().to_lowercase();
    assert!(request.starts_with("get /a.png http/1.1"), "{request}");
    for header in ["cookie", "authorization", "referer"] {
        assert!(!request.contains(header), "{request}");
    }
}

/// What comes of an answer with this header.
fn with_header(header: &str) -> Result<Vec<u8>, RemoteError> {
    fetched(response("200 OK", header, b"pixels"))
}

#[test]
fn a_picture_type_is_taken() {
    for header in ["Content-Type: image/jpeg", "content-type: IMAGE/PNG; q=1"] {
        assert_eq!(with_header(header), Ok(b"pixels".to_vec()), "{header}");
    }
}

#[test]
fn bytes_of_no_particular_type_are_left_to_the_decoder() {
    for header in [
        "Content-Type: application/octet-stream",
        "Content-Type: binary/octet-stream",
        "Content-Type:",
        "X-Type: none",
    ] {
        assert_eq!(with_header(header), Ok(b"pixels".to_vec()), "{header}");
    }
}

#[test]
fn a_web_page_is_refused() {
    for header in [
        "Content-Type: text/html; charset=utf-8",
        "Content-Type: application/xhtml+xml",
    ] {
        assert_eq!(with_header(header), Err(RemoteError::WebPage), "{header}");
    }
}

#[test]
fn a_drawing_is_refused() {
    assert_eq!(with_header("Content-Type: image/svg+xml"), Err(RemoteError::Drawing));
}

#[test]
fn every_other_type_is_refused_by_its_name() {
    for other in ["text/plain", "application/json", "video/mp4"] {
        let error = with_header(&format!("Content-Type: {other}"));
        assert_eq!(error, Err(RemoteError::NotAPicture(other.into())));
    }
    let error = with_header("Content-Type: text/\u{9b}31m");
    assert_eq!(error, Err(RemoteError::NotAPicture("text/?31m".into())));
}

#[test]
fn a_compressed_answer_is_not_unpacked() {
    for encoding in ["gzip", "br", "gzip, gzip"] {
        let header = format!("Content-Type: image/png\r\nContent-Encoding: {encoding}");
        assert_eq!(with_header(&header), Err(RemoteError::Compressed(encoding.into())));
    }
    let header = "Content-Type: image/png\r\nContent-Encoding: identity";
    assert_eq!(with_header(header), Ok(b"pixels".to_vec()));
    let server = Fixture::with_picture();
    fetcher(&[&server]).fetch(&server.url("/")).expect("it is a picture");
    assert!(server.asked()[0].to_lowercase().contains("accept-encoding: identity"));
}

#[test]
fn anything_but_a_200_is_told() {
    for status in [
        "404 Not Found",
        "500 Oops",
        "304 Not Modified",
        "204 No Content",
        "206 Partial Content",
    ] {
        match fetched(response(status, "Content-Type: image/png", b"")) {
            Err(RemoteError::Status { status: told, .. }) => assert_eq!(told[..3], status[..3]),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_body_that_ends_too_early_is_told() {
    let error = fetched("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 50\r\n\r\nshort");
    assert!(matches!(error, Err(RemoteError::BrokeOff { .. })), "{error:?}");
}

#[test]
fn of_a_body_that_is_longer_than_announced_the_rest_is_left() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 6\r\n\r\npixels and more";
    assert_eq!(fetched(answer), Ok(b"pixels".to_vec()));
}

#[test]
fn an_answer_that_is_none_is_told() {
    for answer in [
        "what?\r\n\r\n",
        "",
        "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: many\r\n\r\npixels",
        "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: -6\r\n\r\npixels",
        "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\npixels",
    ] {
        let error = fetched(answer);
        assert!(
            matches!(error, Err(RemoteError::BrokeOff { .. })),
            "{answer:?}: {error:?}"
        );
    }
}
