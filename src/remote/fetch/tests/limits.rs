//! Limits on bytes and seconds, whatever a server does with them.

use super::*;

#[test]
fn the_limit_of_bytes_is_the_last_size_that_is_accepted() {
    let sized = |head: &'static str, bytes: usize| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n{head}\r\n\r\n");
        fetched([head.as_bytes(), &vec![7; bytes]].concat()).map(|bytes| bytes.len())
    };
    let too_many = Err(RemoteError::TooManyBytes { max_bytes: 100 });
    assert_eq!(sized("Content-Length: 100", 100), Ok(100));
    assert_eq!(sized("Content-Length: 101", 101), too_many);
    assert_eq!(sized("Connection: close", 100), Ok(100));
    assert_eq!(sized("Connection: close", 101), too_many);
    assert_eq!(sized("Content-Length: 99999999999", 10), too_many);
}

/// Says `begin`, then `again` for as long as somebody listens, with a pause after each;
/// gives what came of it, and how many bytes were taken.
fn endless(begin: &'static str, again: &'static str, pause: Duration) -> (Result<Vec<u8>, RemoteError>, usize) {
    let (sender, taken) = mpsc::channel();
    let server = Fixture::start(move |_, stream| {
        stream.write_all(begin.as_bytes())?;
        let mut bytes = 0;
        while stream.write_all(again.as_bytes()).is_ok() {
            bytes += again.len();
            std::thread::sleep(pause);
        }
        sender.send(bytes).map_err(io::Error::other)
    });
    let result = fetcher(&[&server]).fetch(&server.url("/"));
    (result, taken.recv().expect("the connection is closed"))
}

/// What a socket's buffers may hold besides what was read.
const BUFFERS: usize = 20_000_000;

#[test]
fn a_body_in_chunks_without_end_is_left_at_the_limit() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (result, taken) = endless(head, "8\r\npixels!!\r\n", Duration::ZERO);
    assert_eq!(result, Err(RemoteError::TooManyBytes { max_bytes: 100 }));
    assert!(taken < BUFFERS, "{taken}");
}

#[test]
fn the_length_of_a_chunk_without_end_is_left() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n8;";
    let (result, taken) = endless(head, "more and more and more", Duration::ZERO);
    assert!(result.is_err());
    assert!(taken < BUFFERS, "{taken}");
}

#[test]
fn headers_without_end_are_left() {
    let (result, taken) = endless("HTTP/1.1 200 OK\r\n", "X-More: and more\r\n", Duration::ZERO);
    assert!(matches!(result, Err(RemoteError::BrokeOff { .. })), "{result:?}");
    assert!(taken < BUFFERS, "{taken}");
}

#[test]
fn a_header_without_end_is_left() {
    let (result, taken) = endless("HTTP/1.1 200 OK\r\nX-More: ", "and more", Duration::ZERO);
    assert!(matches!(result, Err(RemoteError::BrokeOff { .. })), "{result:?}");
    assert!(taken < BUFFERS, "{taken}");
}

#[test]
fn promises_without_end_are_left() {
    let pause = Duration::from_millis(1);
    let (result, _) = endless("", "HTTP/1.1 100 Continue\r\n\r\n", pause);
    assert!(result.is_err());
}

fn not_in_time() -> RemoteError {
    let host = "127.0.0.1".into();
    RemoteError::Time { host, seconds: 2 }
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let server = Fixture::start(|_, stream| stream.read_to_end(&mut Vec::new()).map(drop));
    assert_eq!(fetcher(&[&server]).fetch(&server.url("/")), Err(not_in_time()));
}

#[test]
fn headers_that_drip_are_left() {
    let (result, _) = endless("HTTP/1.1 200 OK\r\nX-Slow: ", "x", Duration::from_millis(250));
    assert_eq!(result, Err(not_in_time()));
}

#[test]
fn a_body_that_drips_is_left() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 90\r\n\r\n";
    let (result, _) = endless(head, "x", Duration::from_millis(250));
    assert_eq!(result, Err(not_in_time()));
}

#[test]
fn a_server_that_never_says_who_it_is_is_left() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let place = silent.local_addr().expect("it is bound");
    let fetcher = Fetcher::new(Reach::Anywhere, limits());
    let host = "127.0.0.1".to_string();
    assert_eq!(
        fetcher.fetch(&format!("https://{place}/")),
        Err(RemoteError::ConnectTime { host, seconds: 1 })
    );
}
