//! `--addr`: where to listen, as people write it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The port where none is named.
const PORT: u16 = 7860;

/// Where a server listens. Without a host it is this machine alone, which is the safe reading
/// of `:7860`; a name that says localhost stands for both of its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// Never empty.
    addresses: Vec<SocketAddr>,
}

impl Listen {
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether nobody but this machine can connect.
    pub fn is_loopback(&self) -> bool {
        self.addresses.iter().all(|address| address.ip().is_loopback())
    }

    fn localhost(port: u16) -> Self {
        let ips: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        Self {
            addresses: ips.map(|ip| SocketAddr::new(ip, port)).into(),
        }
    }

    fn one(address: SocketAddr) -> Self {
        Self {
            addresses: vec![address],
        }
    }
}

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Ok(address) = text.parse() {
            return Ok(Self::one(address));
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Ok(Self::one((ip, PORT).into()));
        }
        // A port alone is what stands behind no host.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => ("", Some(text)),
            None => (text, None),
        };
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port {
            Some(port) if is_digits(port) => port.parse().map_err(|_| WRONG)?,
            Some(_) => return Err(WRONG),
            None => PORT,
        };
        if host.is_empty() || host.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
            return Ok(Self::localhost(port));
        }
        Err(WRONG)
    }
}

const WRONG: &str = "write a number of this machine and a port, as 127.0.0.1:7860, [::1]:7860 or 0.0.0.0:7860; localhost:7860; or a port alone";

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<String> {
        let listen: Listen = text.parse().expect(text);
        listen.addresses().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_is_understood_as_people_write_it() {
        for text in [
            "localhost:7860",
            ":7860",
            "7860",
            "LocalHost:7860",
            "localhost",
            " localhost.:7860",
        ] {
            assert_eq!(places(text), ["127.0.0.1:7860", "[::1]:7860"], "{text}");
        }
        for (text, place) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:7860", "[::1]:7860"),
            ("0.0.0.0:7860", "0.0.0.0:7860"),
            ("[::]:1", "[::]:1"),
            ("10.0.0.5", "10.0.0.5:7860"),
            ("::1", "[::1]:7860"),
            ("[::1]", "[::1]:7860"),
        ] {
            assert_eq!(places(text), [place], "{text}");
        }
        for wrong in [
            "",
            "here",
            "here:7860",
            "localhost:",
            "localhost:http",
            "70000",
            ":-1",
            "+80",
            "1.2.3:80",
            "http://localhost:7860",
        ] {
            assert!(wrong.parse::<Listen>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_this_machine_reaches_what_listens_on_loopback() {
        let is_loopback = |text: &str| text.parse::<Listen>().expect(text).is_loopback();
        assert!(is_loopback(":7860") && is_loopback("localhost:1") && is_loopback("[::1]:7860"));
        assert!(!is_loopback("0.0.0.0:7860") && !is_loopback("[::]:7860"));
    }
}
