//! Who asks: a visitor's address, where proxies may stand between.
//!
//! Anybody can write `X-Forwarded-For`, so that it is believed only where the connection comes
//! from a proxy that the host has named (`--trusted-proxies`), and only as far as such proxies
//! have written it: from the right, up to the first address that is none of theirs.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::http::{Extensions, HeaderMap, Request};
use ipnet::IpNet;

/// A visitor's address, as far as it can be known: an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// The address by which one visitor is told from another: an IPv6 visitor has a whole /64.
    pub fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(ip) if !ip.is_loopback() => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
            other => other,
        }
    }

    /// Of a request that came through [`TrustedProxies::identify`]; all others are one.
    pub fn of(extensions: &Extensions) -> Self {
        let unknown = Self(Ipv6Addr::UNSPECIFIED.into());
        extensions.get().copied().unwrap_or(unknown)
    }
}

impl std::fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a trusted proxy says of the request that it was sent; an extension of a request that came
/// from one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proxied {
    /// `http`, `https`: one a proxy, where there are several.
    pub schemes: Vec<String>,
    /// The hosts of `Forwarded`; those of `X-Forwarded-Host` are read with the others.
    pub hosts: Vec<String>,
}

/// The proxies whose word is taken for who asks.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// An address, or a network of them, as people write it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self(ip.to_canonical().into()));
        }
        let network = text
            .parse::<IpNet>()
            .map_err(|_| "write it as 10.0.0.0/8 or 127.0.0.1")?;
        Ok(Self(network.trunc()))
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical().into())
    }
}

impl Network {
    /// Whether the address is one of them; IPv4 written as IPv6 (`::ffff:10.0.0.1`) is IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromIterator<Network> for TrustedProxies {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Self {
        Self(networks.into_iter().map(|network| network.0).collect())
    }
}

impl TrustedProxies {
    /// Whether this is the address of such a proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Adds to a request who sent it, `peer` being the other end of its connection.
    pub fn identify<B>(&self, request: &mut Request<B>, peer: SocketAddr) {
        let address = ClientAddress(self.visitor(peer.ip().to_canonical(), request.headers()));
        if self.trusts(peer.ip()) {
            let proxied = Proxied::read(request.headers());
            request.extensions_mut().insert(proxied);
        }
        request.extensions_mut().insert(address);
    }

    /// The nearest address to us that is no trusted proxy's. What cannot be read ends the way
    /// there: then it is the proxy that wrote it.
    fn visitor(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let usual: Vec<_> = listed(headers, "x-forwarded-for").map(address).collect();
        let standard: Vec<_> = hops(headers).map(|hop| address(&hop.of("for")?)).collect();
        match (self.last_untrusted(peer, &usual), self.last_untrusted(peer, &standard)) {
            (visitor, None) | (None, visitor) => visitor.unwrap_or(peer),
            (Some(one), Some(other)) if one == other => one,
            // A proxy writes one of them, and hands on what the visitor has written as the other.
            (Some(_), Some(_)) => peer,
        }
    }

    /// None where there is no hop at all.
    fn last_untrusted(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> Option<IpAddr> {
        hops.first()?;
        let mut nearest = peer;
        for hop in hops.iter().rev() {
            let Some(hop) = hop else { break };
            nearest = *hop;
            if !self.trusts(nearest) {
                break;
            }
        }
        Some(nearest)
    }
}

impl Proxied {
    fn read(headers: &HeaderMap) -> Self {
        let usual = listed(headers, "x-forwarded-proto").map(str::to_ascii_lowercase);
        let standard = hops(headers).filter_map(|hop| hop.of("proto"));
        Self {
            schemes: usual.chain(standard).collect(),
            hosts: hops(headers).filter_map(|hop| hop.of("host")).collect(),
        }
    }
}

/// The members of a header that is a list, from all of its lines.
fn listed<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter();
    // A line that is no text is one member that cannot be read.
    lines
        .flat_map(|line| line.to_str().unwrap_or("?").split(','))
        .map(str::trim)
}

/// One proxy's part of `Forwarded` (RFC 7239).
struct Hop<'a>(&'a str);

fn hops(headers: &HeaderMap) -> impl Iterator<Item = Hop<'_>> {
    let lines = headers.get_all("forwarded").into_iter();
    lines
        .flat_map(|line| unquoted_parts(line.to_str().unwrap_or("?"), ','))
        .map(Hop)
}

impl Hop<'_> {
    /// The value of a parameter, without its quotes.
    fn of(&self, name: &str) -> Option<String> {
        unquoted_parts(self.0, ';').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let bare = value.trim().trim_matches('"').replace('\\', "");
            key.trim().eq_ignore_ascii_case(name).then_some(bare)
        })
    }
}

/// Splits, but not within quotes.
fn unquoted_parts(text: &str, at: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character| {
        let is_end = character == at && !quoted;
        quoted ^= character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        is_end
    })
}

/// An address as proxies write it, some of them with the visitor's port.
fn address(text: impl AsRef<str>) -> Option<IpAddr> {
    let text = text.as_ref().trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    let ip = bare.unwrap_or(text).parse().or_else(|_| with_port()).ok()?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn trusted(networks: &[&str]) -> TrustedProxies {
        networks
            .iter()
            .map(|text| text.parse::<Network>().expect(text))
            .collect()
    }

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    /// Who asks, where the connection comes from `peer` and 10.0.0.0/8 and ::1 are proxies.
    fn visitor(peer: &str, of: &[(&'static str, &'static str)]) -> String {
        let peer: IpAddr = peer.parse().expect(peer);
        trusted(&["10.0.0.0/8", "::1"]).visitor(peer, &headers(of)).to_string()
    }

    #[test]
    fn only_a_named_proxy_is_believed() {
        let claims = [("x-forwarded-for", "203.0.113.7")];
        assert_eq!(visitor("10.1.2.3", &claims), "203.0.113.7");
        assert_eq!(visitor("192.0.2.1", &claims), "192.0.2.1");
        assert_eq!(
            visitor("127.0.0.1", &claims),
            "127.0.0.1",
            "loopback has to be named too"
        );
        assert_eq!(visitor("10.1.2.3", &[]), "10.1.2.3");
        let nobody = TrustedProxies::default();
        assert!(!nobody.trusts("127.0.0.1".parse().expect("it is one")));
    }

    #[test]
    fn what_a_visitor_writes_himself_is_left_of_what_proxies_write() {
        let chain = [("x-forwarded-for", "1.1.1.1, 203.0.113.7, 10.9.9.9")];
        assert_eq!(visitor("10.1.2.3", &chain), "203.0.113.7");
        let lines = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.7")];
        assert_eq!(visitor("10.1.2.3", &lines), "203.0.113.7");
        let inside = [("x-forwarded-for", "10.0.0.1, 10.0.0.2")];
        assert_eq!(visitor("10.1.2.3", &inside), "10.0.0.1");
        let garbage = [("x-forwarded-for", "203.0.113.7, unknown, 10.9.9.9")];
        assert_eq!(visitor("10.1.2.3", &garbage), "10.9.9.9");
        assert_eq!(visitor("10.1.2.3", &[("x-forwarded-for", "")]), "10.1.2.3");
    }

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        for (written, read) in [
            ("203.0.113.7:4711", "203.0.113.7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
        ] {
            assert_eq!(visitor("::1", &[("x-forwarded-for", written)]), read, "{written}");
        }
        let standard =
            r#"for=1.1.1.1;by="a,b", For="[2001:db8::7]:4711";proto=https;host="demo.example", for=10.3.3.3"#;
        assert_eq!(visitor("10.1.2.3", &[("forwarded", standard)]), "2001:db8::7");
        let proxied = Proxied::read(&headers(&[("forwarded", standard), ("x-forwarded-proto", "HTTP")]));
        assert_eq!(
            (proxied.schemes, proxied.hosts),
            (vec!["http".into(), "https".into()], vec!["demo.example".into()])
        );
        assert_eq!(visitor("10.1.2.3", &[("forwarded", "for=_hidden")]), "10.1.2.3");
    }

    #[test]
    fn two_headers_that_disagree_name_nobody() {
        let both = [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7")];
        assert_eq!(visitor("10.1.2.3", &both), "203.0.113.7");
        let differing = [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=1.1.1.1")];
        assert_eq!(visitor("10.1.2.3", &differing), "10.1.2.3");
    }

    #[test]
    fn an_ipv6_network_is_one_visitor() {
        let network = |text: &str| ClientAddress(text.parse().expect(text)).network().to_string();
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("::1"), "::1");
    }

    #[test]
    fn networks_are_read_as_people_write_them() {
        let all = trusted(&["10.1.2.3/8", "2001:db8::/32", "127.0.0.1"]);
        for ip in ["10.255.0.1", "::ffff:10.0.0.1", "2001:db8::1", "127.0.0.1"] {
            assert!(all.trusts(ip.parse().expect(ip)), "{ip}");
        }
        for ip in ["11.0.0.1", "127.0.0.2", "::1"] {
            assert!(!all.trusts(ip.parse().expect(ip)), "{ip}");
        }
        for wrong in ["", "10.0.0.0/33", "proxy.lan", "10.0.0.0/"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
