//! Fetching from servers of the tests' own. They are on loopback: what a fetch for strangers
//! may reach of it is named one by one, all other rules hold.

mod answers;
mod limits;
mod places;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

use super::*;

/// Answers each connection by its path, and remembers what it was asked.
struct Fixture {
    place: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fixture {
    fn start(answer: impl Fn(&str, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let place = listener.local_addr().expect("it is bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let lines = BufReader::new(stream.try_clone()?).lines().map_while(Result::ok);
                    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                    let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
                    let path = path.to_string();
                    seen.lock().expect("no test panics with it").push(head.join("\n"));
                    answer(&path, &mut stream)
                });
            }
        });
        Self { place, asked }
    }

    /// One that gives a picture at every path.
    fn with_picture() -> Self {
        Self::saying(response("200 OK", "Content-Type: image/png", b"pixels"))
    }

    /// One that says just this, to whatever it is asked.
    fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_, stream| stream.write_all(&answer))
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no test panics with it").clone()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.place)
    }
}

fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut response = format!(
        "HTTP/1.1 {status}\r\n{headers}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    response.extend_from_slice(body);
    response
}

fn redirect(location: &str) -> Vec<u8> {
    response("302 Found", &format!("Location: {location}\r\nSet-Cookie: a=b"), b"")
}

fn limits() -> FetchLimits {
    FetchLimits {
        max_bytes: 100,
        connect: Duration::from_secs(1),
        whole: Duration::from_secs(2),
    }
}

/// Fetches for strangers, and may reach these places besides.
fn fetcher(also: &[&Fixture]) -> Fetcher {
    with_names(also, |_, _| Err(io::Error::other("no names here")))
}

fn with_names(
    also: &[&Fixture],
    resolve: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
) -> Fetcher {
    let also = also.iter().map(|fixture| fixture.place).collect();
    Fetcher::with_resolver(Reach::Public { also }, limits(), resolve)
}

/// What comes from a server that says just this.
fn fetched(answer: impl Into<Vec<u8>>) -> Result<Vec<u8>, RemoteError> {
    let server = Fixture::saying(answer);
    fetcher(&[&server]).fetch(&server.url("/"))
}

const LOOPBACK: RemoteError = RemoteError::Private {
    what: "a loopback address",
};
