//! Names: by which of them this server may be asked, and whose pages may ask it.
//!
//! A page elsewhere can have its own name point to this machine (DNS rebinding), and then is
//! one site with us to the browser. So a server for this machine alone answers to this
//! machine's names only. And a page of another site may not fill in a visitor's form.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderValue, Request, header};
use url::{Host, Url};

use super::client_address::Proxied;

/// The keys of what is said to whoever is refused.
pub const NOT_OURS: &str = "plain.not_ours";

pub const SEVERAL_HOSTS: &str = "plain.several_hosts";

/// By which flags a host gives a server a name.
pub const NAMING_FLAGS: &str = "--host-name, --public-url";

pub const OTHER_SITE: &str = "plain.other_site";

/// What a host does where his own page is refused.
pub const OWN_ADDRESS: &str =
    "a proxy before Glimpse passes on Host or X-Forwarded-Host, or --public-url names the address";

/// What the server is called.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Where visitors find it, if its host was told.
    pub public: Option<Url>,
    /// Further names that it answers to.
    pub names: Vec<HostName>,
    /// Whether it listens to this machine alone.
    pub is_local: bool,
}

/// Whether a request names one host at most. Where its address names one, that counts, and takes the
/// place of the header's (RFC 9112, 3.2 and 3.2.2).
pub fn names_one_host<B>(request: &mut Request<B>) -> bool {
    if request.headers().get_all(header::HOST).iter().count() > 1 {
        return false;
    }
    let Some(authority) = request.uri().authority() else {
        return true;
    };
    // Behind a user's name, which plays no part.
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    let Ok(host) = HeaderValue::from_str(host) else {
        return false;
    };
    request.headers_mut().insert(header::HOST, host);
    true
}

/// A name that a server is asked by, as browsers write it: without a scheme, a port or a path.
#[derive(Clone, Debug, PartialEq)]
pub struct HostName(String);

impl FromStr for HostName {
    type Err = &'static str;

    /// A port is left out, since it plays no part: any other than our own is a proxy's.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = name(text.trim()).trim_end_matches('.');
        let host = match bare.parse::<Ipv6Addr>() {
            Ok(ip) => Host::Ipv6(ip),
            // Nobody is asked by a number alone, which may be a port, or by every name below one.
            Err(_) if bare.bytes().all(|byte| byte.is_ascii_digit()) || bare.contains('*') => return Err(NO_NAME),
            Err(_) => Host::parse(bare).map_err(|_| NO_NAME)?,
        };
        Ok(Self(host.to_string()))
    }
}

const NO_NAME: &str = "write the name alone, as demo.lan: no http:// before it, nothing behind it";

impl Hosts {
    /// Whether a request for this host is for us. Programs may name none.
    pub fn serves(&self, headers: &HeaderMap) -> bool {
        if !self.is_local {
            return true;
        }
        let Some(host) = headers.get(header::HOST) else {
            return true;
        };
        host.to_str()
            .is_ok_and(|host| is_this_machine(name(host)) || self.is_named(name(host)))
    }

    fn is_named(&self, host: &str) -> bool {
        let public = self.public.as_ref().and_then(Url::host_str);
        let mut names = self.names.iter().map(|name| name.0.as_str()).chain(public);
        let host = host.trim_end_matches('.');
        names.any(|name| name.trim_end_matches('.').eq_ignore_ascii_case(host))
    }

    /// Whether the browser speaks https to whoever is before us: a trusted proxy says so, or it
    /// asks for the host of a `--public-url` that is https.
    pub fn is_https(&self, headers: &HeaderMap, proxied: Option<&Proxied>) -> bool {
        if let Some(scheme) = proxied.and_then(|proxied| proxied.schemes.first()) {
            return scheme.eq_ignore_ascii_case("https");
        }
        let public = self.public.as_ref().filter(|url| url.scheme() == "https");
        public
            .and_then(Url::host_str)
            .is_some_and(|public| asked_for(headers).any(|host| name(host).eq_ignore_ascii_case(public)))
    }

    /// Scheme and host by which the sender found us, for whole addresses: as a trusted proxy says, or else as he
    /// asked. None where that is no host; then the `--public-url` counts, if there is one.
    pub fn origin(&self, headers: &HeaderMap, proxied: Option<&Proxied>) -> Option<String> {
        let scheme = if self.is_https(headers, proxied) {
            "https"
        } else {
            "http"
        };
        let told = || {
            let hosts = proxied?.hosts.first().cloned();
            hosts.or_else(|| first(headers, "x-forwarded-host").map(str::to_owned))
        };
        let asked = || first(headers, header::HOST.as_str()).map(str::to_owned);
        let origin = |host: String| {
            // An address lets more pass than is a name, and this one is written into pages.
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
            if !host.bytes().all(is_plain) {
                return None;
            }
            let url = Url::parse(&format!("{scheme}://{host}")).ok()?;
            let is_bare =
                url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
            is_bare.then(|| url.origin().ascii_serialization())
        };
        let found = told().or_else(asked).and_then(origin);
        found.or_else(|| Some(self.public.as_ref()?.origin().ascii_serialization()))
    }

    /// Whether another site's page sent this. Browsers say where a request comes from on https
    /// and on localhost; otherwise, and where they say no more than "not from this site", the
    /// page's origin has to be the host that was asked, by our name or by one that a proxy was
    /// asked for. No page can make a browser send `X-Forwarded-Host` to another site, so that it
    /// matters not who says so; the scheme matters where a trusted proxy has told it. Programs say
    /// nothing of sites, and a page in a frame speaks for itself.
    pub fn is_from_another_site(&self, headers: &HeaderMap, proxied: Option<&Proxied>) -> bool {
        let site = headers.get("sec-fetch-site");
        if site.is_some_and(|site| site == "same-origin" || site == "none") {
            return false;
        }
        let Some(origin) = headers.get(header::ORIGIN) else {
            return site.is_some();
        };
        let Ok(origin) = origin.to_str() else {
            return true;
        };
        let is_public = |url: &Url| url.origin().ascii_serialization().eq_ignore_ascii_case(origin);
        if self.public.as_ref().is_some_and(is_public) {
            return false;
        }
        let Some((scheme, origin)) = origin.split_once("://") else {
            return true;
        };
        let schemes = proxied.map(|proxied| proxied.schemes.as_slice()).unwrap_or_default();
        if !schemes.is_empty() && !schemes.iter().any(|asked| asked == scheme) {
            return true;
        }
        let hosts = proxied.map(|proxied| proxied.hosts.as_slice()).unwrap_or_default();
        // A browser that knows sites has told the port apart; then a proxy may not lose it.
        let may_lose_port = site.is_none();
        !asked_for(headers)
            .chain(hosts.iter().map(String::as_str))
            .any(|host| host.eq_ignore_ascii_case(origin) || (may_lose_port && host.eq_ignore_ascii_case(name(origin))))
    }
}

/// The first of a header that is a list.
fn first<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let first = headers.get(name)?.to_str().ok()?.split(',').next()?.trim();
    Some(first).filter(|first| !first.is_empty())
}

/// Whether a request names this machine as it calls itself, whatever other names the server has.
pub fn asks_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| is_this_machine(name(host)))
}

/// The hosts that we and the proxies before us were asked for.
fn asked_for(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    [header::HOST.as_str(), "x-forwarded-host"]
        .into_iter()
        .flat_map(|name| headers.get_all(name))
        .filter_map(|hosts| hosts.to_str().ok())
        .flat_map(|hosts| hosts.split(','))
        .map(str::trim)
}

/// A host without its port.
fn name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && is_whole(name) => name,
        _ => host,
    }
}

/// Whether this is a host rather than the beginning of an IPv6 address.
fn is_whole(name: &str) -> bool {
    !name.contains(':') || name.ends_with(']')
}

fn is_this_machine(name: &str) -> bool {
    let bare = name.trim_end_matches('.').to_ascii_lowercase();
    let ip6 = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare == "localhost"
        || bare.ends_with(".localhost")
        || bare.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
        || ip6.is_some_and(|ip| ip.parse().is_ok_and(|ip: Ipv6Addr| ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        of.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn whole_addresses_begin_where_the_sender_found_us() {
        let public = Hosts {
            public: Url::parse("https://demo.example/glimpse").ok(),
            ..Hosts::default()
        };
        let origin = |hosts: &Hosts, sent: &[(&'static str, &'static str)], proxied: Option<Proxied>| {
            hosts.origin(&headers(sent), proxied.as_ref()).unwrap_or_default()
        };
        let bare = Hosts::default();
        let proxied = |scheme: &str, host: Option<&str>| {
            Some(Proxied {
                schemes: vec![scheme.into()],
                hosts: host.map(str::to_owned).into_iter().collect(),
            })
        };
        let forwarded = [("host", "10.0.0.1:7860"), ("x-forwarded-host", "a.example, b.example")];
        assert_eq!(
            origin(&bare, &[("host", "localhost:7860")], None),
            "http://localhost:7860"
        );
        assert_eq!(origin(&bare, &[("host", "[::1]:80")], None), "http://[::1]");
        assert_eq!(
            origin(&bare, &forwarded, None),
            "http://10.0.0.1:7860",
            "anybody can say so"
        );
        assert_eq!(origin(&bare, &forwarded, proxied("https", None)), "https://a.example");
        assert_eq!(
            origin(&bare, &forwarded, proxied("https", Some("c.example"))),
            "https://c.example"
        );
        assert_eq!(
            origin(&public, &[("host", "demo.example")], None),
            "https://demo.example"
        );
        assert_eq!(origin(&public, &[], None), "https://demo.example");
        for wrong in ["a/b", "a?b", "a\"b", "a@b", "", "a b", "<"] {
            assert_eq!(origin(&bare, &[("host", wrong)], None), "", "{wrong}");
        }
    }

    #[test]
    fn a_local_server_answers_to_this_machines_names_and_those_it_was_given() {
        let mut hosts = Hosts {
            public: Url::parse("https://demo.example/").ok(),
            names: vec!["glimpse.lan:9124".parse().expect("it is a name and a port")],
            is_local: true,
        };
        let ours = [
            "localhost",
            "LOCALHOST:7860",
            "localhost.",
            "a.localhost:1",
            "127.0.0.1:7860",
            "127.9.9.9",
            "[::1]:7860",
            "[::1]",
            "demo.example",
            "Glimpse.lan:7860",
            "glimpse.lan.",
        ];
        for host in ours {
            assert!(hosts.serves(&headers(&[("host", host)])), "{host}");
        }
        let others = [
            "evil.example:7860",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]",
            "",
        ];
        for host in others {
            assert!(!hosts.serves(&headers(&[("host", host)])), "{host}");
        }
        assert!(hosts.serves(&headers(&[])), "a program that names no host");
        hosts.is_local = false;
        assert!(
            hosts.serves(&headers(&[("host", "evil.example")])),
            "a public server has names of its own"
        );
    }

    #[test]
    fn a_host_name_is_a_name_alone() {
        for (text, name) in [
            ("demo.lan", "demo.lan"),
            (" Demo.lan. ", "demo.lan"),
            ("demo.lan:9124", "demo.lan"),
            ("my_host", "my_host"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("10.0.0.5:80", "10.0.0.5"),
            ("::1", "[::1]"),
            ("[fe80::1]:80", "[fe80::1]"),
        ] {
            assert_eq!(text.parse(), Ok(HostName(name.into())), "{text}");
        }
        for wrong in [
            "",
            ":9124",
            "9124",
            "http://demo.lan",
            "demo.lan/a",
            "a b",
            "*.demo.lan",
            "a:b",
        ] {
            assert_eq!(wrong.parse::<HostName>(), Err(NO_NAME), "{wrong}");
        }
    }

    #[test]
    fn the_scheme_is_the_one_that_the_browser_spoke_to_the_first_proxy() {
        let is_https = |schemes: &[&str]| {
            let proxied = Proxied {
                schemes: schemes.iter().map(|&scheme| scheme.into()).collect(),
                ..Proxied::default()
            };
            Hosts::default().is_https(&headers(&[]), Some(&proxied))
        };
        assert!(is_https(&["https"]) && is_https(&["HTTPS", "http"]));
        assert!(!is_https(&["http"]) && !is_https(&["http", "https"]) && !is_https(&[]));
    }

    #[test]
    fn only_our_own_page_may_send_for_a_visitor() {
        let hosts = Hosts {
            public: Url::parse("https://demo.example").ok(),
            ..Hosts::default()
        };
        let cases: [(&[(&str, &str)], bool); 13] = [
            (&[], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-site")], true),
            (
                &[("sec-fetch-site", "same-site"), ("origin", "http://localhost:3000")],
                true,
            ),
            (
                &[("sec-fetch-site", "same-site"), ("origin", "http://localhost:7860")],
                false,
            ),
            (&[("origin", "http://LOCALHOST:7860")], false),
            (&[("origin", "http://localhost:3000")], true),
            (&[("origin", "null")], true),
            (&[("origin", "https://demo.example")], false),
            (&[("origin", "http://demo.example")], true),
            (&[("origin", "http://lan"), ("x-forwarded-host", "Lan, inner")], false),
        ];
        for (more, is_other) in cases {
            let mut all = headers(&[("host", "localhost:7860")]);
            for (name, value) in more {
                all.insert(
                    HeaderName::try_from(*name).expect("it is a name"),
                    HeaderValue::try_from(*value).expect("it is plain"),
                );
            }
            assert_eq!(hosts.is_from_another_site(&all, None), is_other, "{more:?}");
        }
        let behind = headers(&[("host", "demo.lan"), ("origin", "http://demo.lan:8080")]);
        assert!(
            !hosts.is_from_another_site(&behind, None),
            "a proxy has dropped the port"
        );
        let proxied = Proxied {
            schemes: vec!["https".into()],
            hosts: vec!["demo.lan".into()],
        };
        let from = |origin| headers(&[("host", "inner:7860"), ("origin", origin)]);
        let is_other = |origin| hosts.is_from_another_site(&from(origin), Some(&proxied));
        assert!(!is_other("https://demo.lan"), "the proxy was asked for it");
        assert!(is_other("http://demo.lan"), "somebody on the way has written this page");
        assert!(is_other("https://elsewhere.example"));
    }
}
