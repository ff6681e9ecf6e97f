//! A small web site on loopback, for pictures to be fetched from.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::png;

/// Serves until the test ends.
pub struct Site {
    pub place: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Site {
    /// `/a.png` is a picture, `/page` a web page, `/to?ADDRESS` leads on to an address;
    /// `/untyped` and `/stored` are a picture with [`SECRET`] behind it, of no type and of
    /// the one that stores of files give, `/stored-words` just the words.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let place = listener.local_addr().expect("it is bound");
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                // Whoever hangs up in the middle has what he wanted.
                let _ = answer(stream);
            }
        });
        Self { place, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.place)
    }

    /// How many requests have come.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Words that are no part of a picture.
pub const SECRET: &[u8] = b"words behind the picture";

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let lines = BufReader::new(stream.try_clone()?).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let picture = || png([10, 200, 30]);
    let with_words = || [picture().as_slice(), SECRET].concat();
    let octets = "Content-Type: application/octet-stream".to_string();
    let (status, header, body) = match path {
        "/a.png" => ("200 OK", "Content-Type: image/png".to_string(), picture()),
        "/words.png" => ("200 OK", "Content-Type: image/png".to_string(), SECRET.to_vec()),
        "/untyped" => ("200 OK", "X-Type: none".to_string(), with_words()),
        "/stored" => ("200 OK", octets, with_words()),
        "/stored-words" => ("200 OK", octets, SECRET.to_vec()),
        "/page" => ("200 OK", "Content-Type: text/html".to_string(), b"<p>".to_vec()),
        _ => match path.strip_prefix("/to?") {
            Some(address) => ("302 Found", format!("Location: {address}"), Vec::new()),
            None => ("404 Not Found", "Content-Type: text/plain".to_string(), Vec::new()),
        },
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}
