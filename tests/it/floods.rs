//! What strangers can make the server hold, and for how long.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::page::{begin, upload};
use crate::support::{Server, TinyCheckpoint, glimpse, png};

/// For machines that are busy.
const LONG: Duration = Duration::from_secs(60);

const MB: u64 = 1_000_000;

/// A server with a small model and these further arguments.
fn serve(arguments: &[&str]) -> (TinyCheckpoint, Server) {
    let model = TinyCheckpoint::new();
    let server = Server::start(&[&["--model", model.path()], arguments].concat());
    (model, server)
}

fn connect(server: &Server) -> TcpStream {
    let address = server.address.trim_start_matches("http://");
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LONG)).expect("it is a time");
    stream
}

const PICTURE_HEAD: &str = "--edge\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"p\"\r\n\r\n";

/// Begins to post a form of which this comes first.
fn begin_form(server: &Server, path: &str, length: usize, beginning: &[u8]) -> TcpStream {
    let mut stream = connect(server);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\
         Connection: close\r\nContent-Type: multipart/form-data; boundary=edge\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("it reads");
    // It may have seen enough already, and say so.
    let _ = stream.write_all(beginning);
    stream
}

/// All that a connection gets until it is closed, or nothing comes for long.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // What came before a connection was reset counts.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a connection gets up to a word.
fn answer(stream: &mut TcpStream, word: &str) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !text.contains(word) {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => text += &String::from_utf8_lossy(&buffer[..count]),
            _ => break,
        }
    }
    text
}

/// A PNG of a few hundred kilobytes that takes 300 MB when it is decoded.
fn large_png() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 10_000, 9_999);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().expect("it is written to memory");
    let mut rows = writer.stream_writer().expect("it is written to memory");
    for _ in 0..9_999 {
        rows.write_all(&[0; 30_000]).expect("the size is right");
    }
    rows.finish().expect("the size is right");
    drop(writer);
    bytes
}

#[cfg(target_os = "linux")]
#[test]
fn pictures_of_visitors_who_hang_up_take_no_more_than_the_budget() {
    let (_model, server) = serve(&["--max-picture-memory", "500MB"]);
    let before = server.peak_memory();
    let body = [PICTURE_HEAD.as_bytes(), &large_png(), b"\r\n--edge--\r\n"].concat();
    let send = || begin_form(&server, "/api/page/upload", body.len(), &body);
    let mut waiting = Vec::new();
    for number in 0..24 {
        let sender = send();
        // Most hang up, each in the middle of something.
        if number % 4 == 0 {
            waiting.push(sender);
        }
    }
    let served = waiting
        .into_iter()
        .map(rest)
        .filter(|answer| answer.starts_with("HTTP/1.1 200"));
    assert!(served.count() > 0, "one after the other is decoded");
    begin(&server);
    let taken = server.peak_memory() - before;
    assert!(taken < 700 * MB, "{} MB were taken", taken / MB);
}

#[test]
fn a_picture_that_never_fits_is_told_so() {
    let (_model, server) = serve(&["--max-picture-memory", "100MB"]);
    let (status, error) = upload(&server, &large_png());
    assert_eq!(
        (status, error["code"].as_str()),
        (413, Some("picture_too_large")),
        "{error}"
    );
    let sentence = error["message"].as_str().unwrap_or_default();
    assert!(
        sentence.contains("at most 100 MB") && error["data"]["flag"] == "--max-picture-memory",
        "{error}"
    );
    begin(&server);
}

#[test]
fn a_body_that_never_fits_is_refused_by_its_length() {
    let (_model, server) = serve(&["--max-picture-memory", "20MB"]);
    for path in ["/api/page/upload", "/ask"] {
        let refused = rest(begin_form(&server, path, 12_000_000, b""));
        assert!(
            refused.starts_with("HTTP/1.1 413") && refused.contains("can be taken here"),
            "{path}: {refused}"
        );
    }
    begin(&server);
}

#[test]
fn an_unfinished_part_head_is_refused_after_a_few_kilobytes() {
    let (_model, server) = serve(&["--max-upload-bytes", "500000000"]);
    let endless = [b"--edge\r\nX: ".as_slice(), &[b'x'; 64 << 10]].concat();
    let preamble = [b'x'; 64 << 10];
    for path in ["/api/page/upload", "/ask"] {
        for beginning in [&endless[..], &preamble[..]] {
            let refused = rest(begin_form(&server, path, 450_000_000, beginning));
            assert!(refused.starts_with("HTTP/1.1 400"), "{path}: {refused}");
            assert!(refused.contains("more than 16384 bytes"), "{path}: {refused}");
        }
    }
}

#[test]
fn uploads_that_stand_still_make_room_for_a_visitor() {
    let (_model, server) = serve(&["--max-picture-memory", "40MB"]);
    let beginning = [PICTURE_HEAD.as_bytes(), &vec![0; 3_000_000]].concat();
    let slow = (0..8).map(|_| {
        let stream = begin_form(&server, "/api/page/upload", 8_000_000, PICTURE_HEAD.as_bytes());
        let mut writer = stream.try_clone().expect("there are descriptors");
        // What there is no room for is not read, so that writing may block.
        let beginning = beginning.clone();
        std::thread::spawn(move || writer.write_all(&beginning[PICTURE_HEAD.len()..]));
        stream
    });
    let slow: Vec<TcpStream> = slow.collect();
    for _ in 0..3 {
        begin(&server);
    }
    let refused = slow.into_iter().find_map(|mut stream| {
        // Others go on standing still.
        stream.set_read_timeout(Some(LONG / 10)).expect("it is a time");
        Some(answer(&mut stream, "\r\n\r\n")).filter(|answer| !answer.is_empty())
    });
    let refused = refused.expect("24 MB are not held where bodies have 20");
    assert!(
        refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after:"),
        "{refused}"
    );
}

#[test]
fn a_form_that_comes_too_slowly_is_cut_off_and_told_why() {
    let (_model, server) = serve(&["--min-body-rate", "1000000000"]);
    let paths = ["/ask", "/api/page/upload"];
    for mut stream in paths.map(|path| begin_form(&server, path, 1_000_000, PICTURE_HEAD.as_bytes())) {
        let refused = answer(&mut stream, "bytes a second");
        assert!(
            refused.starts_with("HTTP/1.1 400") && refused.contains("1000000000 bytes a second"),
            "{refused}"
        );
    }
}

#[test]
fn whoever_does_not_read_holds_no_connection() {
    let (_model, server) = serve(&["--max-connections", "1", "--max-write-seconds", "1"]);
    let mut deaf = connect(&server);
    deaf.set_nonblocking(true).expect("it can be");
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // Until the server has so many answers to give that it reads no more of these.
    let mut blocked = 0;
    while blocked < 20 {
        match deaf.write(request) {
            Ok(written) if written > 0 => blocked = 0,
            _ => {
                blocked += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    let visit = ureq::get(format!("{}/healthz", server.address));
    let visit = visit.config().timeout_global(Some(LONG)).build().call();
    assert!(visit.is_ok(), "the only connection is still taken: {visit:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn as_many_threads_compute_as_are_asked_for_or_given() {
    let (_model, server) = serve(&["--threads", "3"]);
    assert_eq!(server.threads_named("compute-"), 3);
    drop(server);
    // A container of Hugging Face Spaces sees all of its host's cores.
    let model = TinyCheckpoint::new();
    let mut program = glimpse();
    program.env("CPU_CORES", "1");
    let server = Server::start_as(program, "127.0.0.1", &["--model", model.path()]);
    assert_eq!(server.threads_named("compute-"), 1);
}

#[test]
fn a_small_picture_is_taken_in_while_memory_is_for_small_ones_only() {
    let (_model, server) = serve(&["--max-picture-memory", "12MB"]);
    let (status, conversation) = upload(&server, &png([1, 2, 3]));
    assert_eq!(status, 200, "{conversation}");
}
