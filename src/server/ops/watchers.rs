//! Who may see what the server does (`/metrics`, `/status`): whoever asks from a network that the
//! host has named, by default this machine.
//!
//! A proxy asks from its own address for everybody. So where a request says that it came through
//! one, only the word of a trusted proxy counts (`--trusted-proxies`), and that only where it names
//! somebody else than a proxy: what cannot be read, or contradicts itself, is nobody's address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::api::Language;
use crate::server::client_address::{ClientAddress, Network, Proxied, TrustedProxies};
use crate::server::errors::{self, Reader};

const SENTENCE: &str = "What this server does is shown to those alone whom its host has named.";

/// What says that a request came through a proxy.
const FORWARDED: [&str; 6] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// One of those who may see it, as a host writes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Watcher {
    /// Whoever asks from there.
    Network(Network),
    /// `/metrics` and `/status` are refused to all.
    Nobody,
}

impl FromStr for Watcher {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().eq_ignore_ascii_case("none") {
            return Ok(Self::Nobody);
        }
        let network = text.parse();
        network
            .map(Self::Network)
            .map_err(|_| "write it as 10.0.0.0/8 or 127.0.0.1, or none for nobody")
    }
}

/// Those who may see it.
#[derive(Clone, Debug)]
pub struct Watchers {
    networks: Vec<Network>,
    proxies: TrustedProxies,
}

impl Default for Watchers {
    /// This machine.
    fn default() -> Self {
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        Self {
            networks: loopback.map(|address: IpAddr| address.into()).to_vec(),
            proxies: TrustedProxies::default(),
        }
    }
}

impl Watchers {
    /// Whoever was named, or this machine where nobody was; `none` excludes all.
    pub fn new(named: &[Watcher], proxies: TrustedProxies) -> Self {
        if named.is_empty() {
            let default = Self::default();
            return Self { proxies, ..default };
        }
        let network = |watcher: &Watcher| match watcher {
            Watcher::Network(network) => Some(*network),
            Watcher::Nobody => None,
        };
        let networks: Option<Vec<_>> = named.iter().map(network).collect();
        Self {
            networks: networks.unwrap_or_default(),
            proxies,
        }
    }

    /// Whether a request is one of theirs.
    fn include<B>(&self, request: &Request<B>) -> bool {
        let ClientAddress(address) = ClientAddress::of(request.extensions());
        let is_known = match (is_forwarded(request.headers()), request.extensions().get::<Proxied>()) {
            (false, _) => true,
            (true, None) => false,
            (true, Some(_)) => !self.proxies.trusts(address),
        };
        is_known && self.networks.iter().any(|network| network.contains(address))
    }
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDED.iter().any(|name| headers.contains_key(*name))
}

/// Answers those who may see it; others are told that it is not for them.
pub async fn let_in(State(watchers): State<Arc<Watchers>>, request: Request<Body>, next: Next) -> Response {
    if watchers.include(&request) {
        return next.run(request).await;
    }
    tracing::info!(flag = "--metrics-from", "{SENTENCE}");
    let reader = Reader::of(request.headers(), request.extensions());
    // As what it stands in front of.
    Language::English.speak(|| errors::page(StatusCode::FORBIDDEN, "Not for everybody", SENTENCE, &reader))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    /// Whether a request from `peer` with these headers is let in, where 10.0.0.0/8 and this
    /// machine are named and `proxies` are trusted.
    fn sees(proxies: &[&str], peer: &str, headers: &[(&str, &str)]) -> bool {
        let proxies: TrustedProxies = networks(proxies).into_iter().collect();
        let named = networks(&["10.0.0.0/8", "127.0.0.1", "::1"]).into_iter();
        let watchers = Watchers::new(&named.map(Watcher::Network).collect::<Vec<_>>(), proxies.clone());
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).expect("it is a request");
        proxies.identify(&mut request, SocketAddr::new(peer.parse().expect(peer), 4711));
        watchers.include(&request)
    }

    #[test]
    fn whoever_asks_from_a_named_network_sees_it() {
        for peer in ["127.0.0.1", "::1", "::ffff:10.1.2.3"] {
            assert!(sees(&[], peer, &[]), "{peer}");
            assert!(
                sees(&["127.0.0.1", "::1", "10.0.0.0/8"], peer, &[]),
                "{peer}, a proxy itself"
            );
        }
        assert!(!sees(&[], "192.0.2.1", &[]));
        assert!(!sees(&[], "192.0.2.1", &[("x-forwarded-for", "127.0.0.1")]));
    }

    #[test]
    fn nobody_sees_it_through_a_proxy_that_was_not_named() {
        for (name, value) in [
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-for", "127.0.0.1"),
            ("forwarded", "for=127.0.0.1"),
            ("x-real-ip", "127.0.0.1"),
            ("via", "1.1 somebody"),
            ("x-forwarded-proto", "https"),
        ] {
            assert!(!sees(&[], "127.0.0.1", &[(name, value)]), "{name}: {value}");
        }
    }

    #[test]
    fn through_a_trusted_proxy_it_is_whoever_the_proxy_names() {
        let through = |headers: &[_]| sees(&["127.0.0.1", "10.9.0.0/16"], "127.0.0.1", headers);
        assert!(through(&[("x-forwarded-for", "10.1.2.3")]));
        assert!(!through(&[("x-forwarded-for", "203.0.113.7")]));
        assert!(
            !through(&[("x-forwarded-for", "10.1.2.3, 203.0.113.7")]),
            "the first is the visitor's claim"
        );
        // None of these names anybody but the proxy.
        for headers in [
            &[("x-forwarded-for", "unknown")][..],
            &[("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=10.1.2.3")],
            &[("x-forwarded-for", "")],
            &[("x-forwarded-proto", "https")],
        ] {
            assert!(!through(headers), "{headers:?}");
        }
    }

    #[test]
    fn none_is_nobody_whoever_else_is_named() {
        let read = |texts: &[&str]| {
            let named: Vec<Watcher> = texts.iter().map(|text| text.parse().expect(text)).collect();
            Watchers::new(&named, TrustedProxies::default()).networks.len()
        };
        assert_eq!((read(&[]), read(&["10.0.0.0/8"])), (2, 1));
        assert_eq!((read(&["none"]), read(&["10.0.0.0/8", " None"])), (0, 0));
        assert!("nowhere".parse::<Watcher>().is_err());
    }
}
