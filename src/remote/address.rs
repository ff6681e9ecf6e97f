//! Reading an address: what it names, in its one plain form.
//!
//! The `url` crate reads it as browsers do, so that `0x7f.1`, `2130706433` and `１２７.0.0.1`
//! are all the number 127.0.0.1 before anything is decided.

use std::net::SocketAddr;

use url::{Host, Url};

use super::{Reach, RemoteError, policy};

/// Longest address, in bytes.
const MAX_BYTES: usize = 4096;

/// Reads an address that somebody gave.
///
/// # Errors
/// It is no http(s) address, carries a password, or names something private at first sight.
pub fn read(text: &str, reach: &Reach) -> Result<Url, RemoteError> {
    let text = text.trim();
    if text.len() > MAX_BYTES {
        return Err(RemoteError::TooLong {
            bytes: text.len(),
            max_bytes: MAX_BYTES,
        });
    }
    let url = Url::parse(text).map_err(|error| RemoteError::NotAnAddress {
        reason: error.to_string(),
    })?;
    check(url, reach)
}

/// Where a redirect of `from` leads.
pub fn follow(from: &Url, location: &str, reach: &Reach) -> Result<Url, RemoteError> {
    let bad = |reason: String| RemoteError::BadRedirect { reason };
    if location.len() > MAX_BYTES {
        return Err(bad(format!("it has more than {MAX_BYTES} characters")));
    }
    let url = from.join(location).map_err(|error| bad(error.to_string()))?;
    check(url, reach)
}

fn check(mut url: Url, reach: &Reach) -> Result<Url, RemoteError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(RemoteError::NotAnAddress {
            reason: format!("it begins with `{}:`", url.scheme()),
        });
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RemoteError::Credentials);
    }
    url.set_fragment(None);
    if let Reach::Public { .. } = reach {
        check_public(&url, reach)?;
    }
    Ok(url)
}

/// What can be known before a name is looked up.
fn check_public(url: &Url, reach: &Reach) -> Result<(), RemoteError> {
    let port = port(url);
    let refusal = match (place(url), url.host()) {
        (Some(place), _) => reach.refusal(place),
        (None, Some(Host::Domain(name))) => policy::refusal_of_name(name),
        (None, _) => policy::refusal_of_name(""),
    };
    if let Some(what) = refusal {
        return Err(RemoteError::Private { what });
    }
    // Mail, shells and the like understand enough of http to be harmed by it.
    if port < 1024 && port != 80 && port != 443 {
        return Err(RemoteError::Port(port));
    }
    Ok(())
}

/// Where an address with a number for its host leads.
pub fn place(url: &Url) -> Option<SocketAddr> {
    match url.host()? {
        Host::Ipv4(ip) => Some((ip, port(url)).into()),
        Host::Ipv6(ip) => Some((ip, port(url)).into()),
        Host::Domain(_) => None,
    }
}

/// The port that an http(s) address names, or that goes without saying.
pub fn port(url: &Url) -> u16 {
    // Both schemes that come this far have one.
    url.port_or_known_default().unwrap_or(443)
}

/// The host as people read it; never empty for http(s).
pub fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: Reach = Reach::Public { also: Vec::new() };

    fn refused(text: &str) -> RemoteError {
        read(text, &PUBLIC).expect_err(text)
    }

    #[test]
    fn an_address_is_read_as_browsers_do() {
        for (text, plain) in [
            (" https://example.com/cat.jpg ", "https://example.com/cat.jpg"),
            ("HTTP://Example.COM:80/a b#part", "http://example.com/a%20b"),
            ("https://1.1.1.1:8443/", "https://1.1.1.1:8443/"),
            ("https://[2606:4700::1111]/x?y=1", "https://[2606:4700::1111]/x?y=1"),
        ] {
            assert_eq!(read(text, &PUBLIC).map(String::from), Ok(plain.to_string()));
        }
    }

    #[test]
    fn disguises_of_a_loopback_number_are_seen_through() {
        let disguises = [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://127.0.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://017700000001/",
            "http://127.0.0.1./",
            "http://127.0.0.1%2e/",
            "http://１２７.０.０.１/",
            "http://127。0。0。1/",
            "http://%31%32%37.0.0.1/",
            "http:127.0.0.1",
            "http:\\\\127.0.0.1\\x",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://127.0.0.1:7860/",
        ];
        for text in disguises {
            assert_eq!(
                refused(text),
                RemoteError::Private {
                    what: "a loopback address"
                },
                "{text}"
            );
        }
    }

    #[test]
    fn names_of_this_machine_are_refused() {
        for text in [
            "http://localhost/",
            "http://LOCALHOST:80/",
            "https://a.localhost./",
            "http://ｌocalhost/",
        ] {
            assert_eq!(
                refused(text),
                RemoteError::Private {
                    what: "a name of this machine"
                },
                "{text}"
            );
        }
        let network = RemoteError::Private {
            what: "a name of a private network",
        };
        for text in ["http://metadata.google.internal/", "http://printer/"] {
            assert_eq!(refused(text), network, "{text}");
        }
    }

    #[test]
    fn other_schemes_are_refused() {
        for text in [
            "file:///etc/passwd",
            "ftp://example.com/a.png",
            "data:image/png;base64,AA",
            "gopher://example.com",
            "javascript:1",
        ] {
            assert!(matches!(refused(text), RemoteError::NotAnAddress { .. }), "{text}");
        }
        for text in [
            "",
            "cat.png",
            "example.com/cat.png",
            "http://",
            "http://exa mple.com/",
            "http://256.256.256.256/",
            "http://[::1/",
        ] {
            assert!(matches!(refused(text), RemoteError::NotAnAddress { .. }), "{text}");
        }
    }

    #[test]
    fn credentials_are_refused() {
        for text in [
            "http://user:pass@example.com/",
            "http://example.com@127.0.0.1/",
            "https://:x@example.com/",
            "https://me@example.com/",
        ] {
            assert_eq!(refused(text), RemoteError::Credentials, "{text}");
        }
    }

    #[test]
    fn ports_of_other_services_are_refused() {
        assert_eq!(refused("http://example.com:25/"), RemoteError::Port(25));
        assert_eq!(refused("https://example.com:22/"), RemoteError::Port(22));
        assert_eq!(refused("http://1.1.1.1:0/"), RemoteError::Port(0));
    }

    #[test]
    fn a_very_long_address_is_refused() {
        let long = format!("https://example.com/{}", "x".repeat(MAX_BYTES));
        assert!(matches!(refused(&long), RemoteError::TooLong { .. }));
    }

    #[test]
    fn a_redirect_is_checked_as_an_address_is() {
        let from = read("https://example.com/a/b.png", &PUBLIC).expect("it is public");
        assert_eq!(
            follow(&from, "c.png", &PUBLIC).map(String::from),
            Ok("https://example.com/a/c.png".into())
        );
        for (location, what) in [
            ("http://127.1/", "a loopback address"),
            ("//169.254.169.254/latest", "a metadata address"),
            ("http://localhost:7860/", "a name of this machine"),
        ] {
            assert_eq!(
                follow(&from, location, &PUBLIC),
                Err(RemoteError::Private { what }),
                "{location}"
            );
        }
        assert!(matches!(
            follow(&from, "file:///etc/passwd", &PUBLIC),
            Err(RemoteError::NotAnAddress { .. })
        ));
        assert!(matches!(
            follow(&from, "http://[", &PUBLIC),
            Err(RemoteError::BadRedirect { .. })
        ));
    }

    #[test]
    fn at_his_own_machine_everybody_may_reach_it() {
        for text in [
            "http://127.0.0.1:7860/a.png",
            "http://localhost/a.png",
            "http://nas.local/a.png",
            "http://printer:631/",
        ] {
            assert!(read(text, &Reach::Anywhere).is_ok(), "{text}");
        }
        assert_eq!(
            read("http://a:b@localhost/", &Reach::Anywhere),
            Err(RemoteError::Credentials)
        );
    }
}
