//! Fetching from servers of the tests' own. They are on loopback: what a fetch for strangers
//! may reach of it is named one by one, all other rules hold.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

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
        Self::start(|_, stream| stream.write_all(&response("200 OK", "Content-Type: image/png", b"pixels")))
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

const LOOPBACK: RemoteError = RemoteError::Private {
    what: "a loopback address",
};

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

#[test]
fn three_redirects_are_followed_and_no_fourth() {
    let server = Fixture::start(|path, stream| match path {
        "/0" => stream.write_all(&response("200 OK", "Content-Type: image/png", b"pixels")),
        _ => {
            let left: u32 = path[1..].parse().map_err(io::Error::other)?;
            stream.write_all(&redirect(&(left - 1).to_string()))
        }
    });
    let fetcher = fetcher(&[&server]);
    assert_eq!(fetcher.fetch(&server.url("/3")), Ok(b"pixels".to_vec()));
    assert!(
        server
            .asked()
            .iter()
            .all(|request| !request.to_lowercase().contains("cookie"))
    );
    let before = server.asked().len();
    assert_eq!(fetcher.fetch(&server.url("/4")), Err(RemoteError::TooManyRedirects(3)));
    assert_eq!(server.asked().len() - before, 4);
}

#[test]
fn a_redirect_to_something_private_is_not_followed() {
    let hidden = Fixture::with_picture();
    let port = hidden.place.port();
    for location in [
        hidden.url("/"),
        format!("//127.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        "http://[::1]/".to_string(),
    ] {
        let server = Fixture::start(move |_, stream| stream.write_all(&redirect(&location)));
        assert_eq!(fetcher(&[&server]).fetch(&server.url("/")), Err(LOOPBACK));
    }
    let server = Fixture::start(move |_, stream| stream.write_all(&redirect(&format!("http://localhost:{port}/"))));
    assert!(matches!(
        fetcher(&[&server]).fetch(&server.url("/")),
        Err(RemoteError::Private { .. })
    ));
    let server = Fixture::start(|_, stream| stream.write_all(&redirect("file:///etc/hostname")));
    assert!(matches!(
        fetcher(&[&server]).fetch(&server.url("/")),
        Err(RemoteError::NotAnAddress { .. })
    ));
    assert_eq!(hidden.asked(), [""; 0], "nobody came");
}

#[test]
fn a_name_that_leads_to_something_private_is_refused() {
    let hidden = Fixture::with_picture();
    let place = hidden.place;
    let fetcher = with_names(&[], move |_, _| Ok(vec![place]));
    let address = format!("http://pictures.example:{}/", place.port());
    assert_eq!(fetcher.fetch(&address), Err(LOOPBACK));
    assert_eq!(hidden.asked(), [""; 0], "nobody came");
}

#[test]
fn a_name_with_one_private_number_among_several_is_refused() {
    let server = Fixture::with_picture();
    let place = server.place;
    let fetcher = with_names(&[&server], move |_, port| Ok(vec![place, ([10, 0, 0, 1], port).into()]));
    let address = format!("http://pictures.example:{}/", place.port());
    let private = RemoteError::Private {
        what: "a private address",
    };
    assert_eq!(fetcher.fetch(&address), Err(private));
    assert_eq!(server.asked(), [""; 0], "nobody came");
}

#[test]
fn a_name_that_changes_its_answer_is_asked_once_a_request() {
    let (server, hidden) = (
        Fixture::start(|path, stream| match path {
            "/again" => stream.write_all(&redirect("/a.png")),
            _ => stream.write_all(&response("200 OK", "Content-Type: image/png", b"pixels")),
        }),
        Fixture::with_picture(),
    );
    let (first, then) = (server.place, hidden.place);
    let changing = || {
        let asked = AtomicUsize::new(0);
        with_names(&[&server], move |_, _| {
            let before = asked.fetch_add(1, Ordering::Relaxed);
            Ok(vec![if before == 0 { first } else { then }])
        })
    };
    // The number that was checked is the one that is connected to: the port in the address
    // is another one.
    assert_eq!(
        changing().fetch("http://pictures.example:8080/a.png"),
        Ok(b"pixels".to_vec())
    );
    assert!(server.asked()[0].to_lowercase().contains("host: pictures.example:8080"));
    assert_eq!(changing().fetch("http://pictures.example:8080/again"), Err(LOOPBACK));
    assert_eq!(hidden.asked(), [""; 0], "nobody came");
}

#[test]
fn a_name_that_is_not_there_says_so() {
    let host = "pictures.example".to_string();
    let missing = RemoteError::HostNotFound { host };
    assert_eq!(fetcher(&[]).fetch("http://pictures.example/"), Err(missing.clone()));
    assert_eq!(
        with_names(&[], |_, _| Ok(Vec::new())).fetch("http://pictures.example/"),
        Err(missing)
    );
}

#[test]
fn only_pictures_are_taken() {
    let typed = |content_type: &'static str| {
        let header = format!("Content-Type: {content_type}");
        let server = Fixture::start(move |_, stream| stream.write_all(&response("200 OK", &header, b"pixels")));
        fetcher(&[&server]).fetch(&server.url("/"))
    };
    for content_type in ["image/jpeg", "IMAGE/PNG; q=1", "application/octet-stream", ""] {
        assert_eq!(typed(content_type), Ok(b"pixels".to_vec()), "{content_type}");
    }
    assert_eq!(typed("text/html; charset=utf-8"), Err(RemoteError::WebPage));
    assert_eq!(typed("image/svg+xml"), Err(RemoteError::Drawing));
    for content_type in ["text/plain", "application/json", "video/mp4"] {
        assert_eq!(typed(content_type), Err(RemoteError::NotAPicture(content_type.into())));
    }
}

#[test]
fn anything_but_a_200_is_told() {
    for (status, told) in [
        ("404 Not Found", "404 Not Found"),
        ("500 Oops", "500 "),
        ("304 Not Modified", "304 "),
    ] {
        let server =
            Fixture::start(move |_, stream| stream.write_all(&response(status, "Content-Type: image/png", b"")));
        match fetcher(&[&server]).fetch(&server.url("/")) {
            Err(RemoteError::Status { status, .. }) => assert!(status.starts_with(told), "{status}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_limit_of_bytes_is_the_last_size_that_is_accepted() {
    let sized = |head: &'static str, bytes: usize| {
        let server = Fixture::start(move |_, stream| {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n{head}\r\n\r\n")?;
            stream.write_all(&vec![7; bytes])
        });
        fetcher(&[&server]).fetch(&server.url("/")).map(|bytes| bytes.len())
    };
    let too_many = Err(RemoteError::TooManyBytes { max_bytes: 100 });
    assert_eq!(sized("Content-Length: 100", 100), Ok(100));
    assert_eq!(sized("Content-Length: 101", 101), too_many);
    assert_eq!(sized("Connection: close", 100), Ok(100));
    assert_eq!(sized("Connection: close", 101), too_many);
    assert_eq!(sized("Content-Length: 99999999999", 10), too_many);
}

#[test]
fn a_body_that_ends_too_early_and_an_answer_that_is_none_are_told() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 50\r\n\r\nshort",
        "what?\r\n\r\n",
        "",
    ] {
        let server = Fixture::start(move |_, stream| stream.write_all(answer.as_bytes()));
        let error = fetcher(&[&server]).fetch(&server.url("/"));
        assert!(
            matches!(error, Err(RemoteError::BrokeOff { .. })),
            "{answer:?}: {error:?}"
        );
    }
}

#[test]
fn the_limit_of_seconds_holds_for_silence_and_for_drips() {
    let silent = |_: &str, _: &mut TcpStream| {
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    };
    let dripping = |_: &str, stream: &mut TcpStream| {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 90\r\n\r\n"
        )?;
        loop {
            stream.write_all(b"x")?;
            std::thread::sleep(Duration::from_millis(250));
        }
    };
    for server in [Fixture::start(silent), Fixture::start(dripping)] {
        let begin = Instant::now();
        let host = "127.0.0.1".to_string();
        assert_eq!(
            fetcher(&[&server]).fetch(&server.url("/")),
            Err(RemoteError::Time { host, seconds: 2 })
        );
        assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    }
}

#[test]
fn a_name_that_takes_too_long_to_look_up_is_left() {
    let fetcher = with_names(&[], |_, _| {
        std::thread::sleep(Duration::from_secs(20));
        Ok(Vec::new())
    });
    let host = "pictures.example".to_string();
    assert_eq!(
        fetcher.fetch("http://pictures.example/"),
        Err(RemoteError::ConnectTime { host, seconds: 1 })
    );
}

#[test]
fn nobody_listening_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let place = listener.local_addr().expect("it is bound");
    drop(listener);
    let error = Fetcher::new(Reach::Anywhere, limits()).fetch(&format!("http://{place}/"));
    assert!(matches!(error, Err(RemoteError::NoConnection { .. })), "{error:?}");
}

#[test]
fn a_server_that_cannot_prove_who_it_is_is_refused() {
    let server = Fixture::with_picture();
    let error = fetcher(&[&server]).fetch(&format!("https://{}/", server.place));
    assert!(
        matches!(
            error,
            Err(RemoteError::NoConnection { .. } | RemoteError::BrokeOff { .. })
        ),
        "{error:?}"
    );
}

#[test]
fn at_his_own_machine_everybody_may_fetch_from_it() {
    let server = Fixture::with_picture();
    let fetcher = Fetcher::new(Reach::Anywhere, limits());
    let address = format!("http://localhost:{}/a.png", server.place.port());
    assert_eq!(fetcher.fetch(&address), Ok(b"pixels".to_vec()));
}
