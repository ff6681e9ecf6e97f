//! Where a fetch may go: redirects, names, and servers that are not there.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// For a name without a public address.
fn not_public() -> RemoteError {
    let host = "pictures.example".into();
    RemoteError::NoPublicHost { host }
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
        assert_eq!(fetched(redirect(&location)), Err(LOOPBACK));
    }
    let what = "a name of this machine";
    assert_eq!(
        fetched(redirect(&format!("http://localhost:{port}/"))),
        Err(RemoteError::Private { what })
    );
    assert_eq!(hidden.asked(), [""; 0], "nobody came");
}

#[test]
fn a_redirect_to_another_scheme_or_to_nowhere_is_not_followed() {
    for location in ["file:///etc/hostname", "ftp://example.com/a.png", "http://["] {
        let error = fetched(redirect(location));
        assert!(matches!(error, Err(RemoteError::BadRedirect { .. })), "{location}");
    }
    let error = fetched(response("302 Found", "X-Location: none", b""));
    assert!(matches!(error, Err(RemoteError::Status { .. })), "{error:?}");
}

#[test]
fn a_redirect_with_a_password_is_not_followed() {
    let location = "http://me:secret@example.com/a.png";
    assert_eq!(fetched(redirect(location)), Err(RemoteError::Credentials));
}

#[test]
fn a_name_that_leads_to_something_private_is_refused() {
    let hidden = Fixture::with_picture();
    let place = hidden.place;
    let fetcher = with_names(&[], move |_, _| Ok(vec![place]));
    let address = format!("http://pictures.example:{}/", place.port());
    assert_eq!(fetcher.fetch(&address), Err(not_public()));
    assert_eq!(hidden.asked(), [""; 0], "nobody came");
}

#[test]
fn a_name_with_one_private_number_among_several_is_refused() {
    let server = Fixture::with_picture();
    let place = server.place;
    let fetcher = with_names(&[&server], move |_, port| Ok(vec![place, ([10, 0, 0, 1], port).into()]));
    let address = format!("http://pictures.example:{}/", place.port());
    assert_eq!(fetcher.fetch(&address), Err(not_public()));
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
    assert_eq!(
        changing().fetch("http://pictures.example:8080/again"),
        Err(not_public())
    );
    assert_eq!(hidden.asked(), [""; 0], "nobody came");
}

#[test]
fn a_stranger_does_not_learn_which_private_names_there_are() {
    let private = with_names(&[], |_, port| Ok(vec![([10, 0, 0, 1], port).into()]));
    let nameless = with_names(&[], |_, _| Ok(Vec::new()));
    for fetcher in [fetcher(&[]), private, nameless] {
        assert_eq!(fetcher.fetch("http://pictures.example/"), Err(not_public()));
    }
}

#[test]
fn a_name_that_is_not_there_is_told() {
    let missing = |_: &str, _| Err(io::Error::other("no names here"));
    let fetcher = Fetcher::with_resolver(Reach::Anywhere, limits(), missing);
    let host = "pictures.example".to_string();
    assert_eq!(
        fetcher.fetch("http://pictures.example/"),
        Err(RemoteError::HostNotFound { host })
    );
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
fn this_machines_public_address_is_out_of_reach() {
    let own: IpAddr = "11.1.2.3".parse().expect("it is one");
    let names = |host: &str, port| match host {
        "demo.example" => Ok(vec![(IpAddr::from([11, 9, 9, 9]), port).into()]),
        _ => Ok(vec![(IpAddr::from([11, 1, 2, 3]), port).into()]),
    };
    let mut fetcher = with_names(&[], names).known_as(Some("demo.example".into()));
    fetcher.own = Arc::new(move || vec![own]);
    let what = "an address of this machine";
    for address in [
        "http://11.1.2.3/a.png",
        "https://11.1.2.3:8080/",
        "http://[::ffff:11.1.2.3]/",
        "http://[64:ff9b::11.1.2.3]/",
        "http://11.9.9.9/",
    ] {
        assert_eq!(fetcher.fetch(address), Err(RemoteError::Private { what }), "{address}");
    }
    for host in ["pictures.example", "demo.example"] {
        let address = format!("http://{host}/a.png");
        assert_eq!(
            fetcher.fetch(&address),
            Err(RemoteError::NoPublicHost { host: host.into() })
        );
    }
    // What the host has named is in reach all the same.
    let server = Fixture::with_picture();
    let place = server.place;
    let mut named = with_names(&[&server], move |_, _| Ok(vec![place]));
    named.own = Arc::new(move || vec![place.ip()]);
    assert_eq!(named.fetch(&server.url("/a.png")), Ok(b"pixels".to_vec()));
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
