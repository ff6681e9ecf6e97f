//! Which network addresses are public: pure, without a network.
//!
//! Sources: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and
//! its updates), and the addresses at which clouds hand out credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why a number is no public address, in words that follow "is".
///
/// `None` for a public one.
pub fn refusal(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => refusal_v4(address),
        IpAddr::V6(address) => refusal_v6(address),
    }
}

/// Why a host's name leads into this machine's own network, before it is looked up.
///
/// `name` is in lower case, as a parsed address has it.
pub fn refusal_of_name(name: &str) -> Option<&'static str> {
    let name = name.trim_end_matches('.');
    let last = name.rsplit('.').next().unwrap_or_default();
    if name == "home.arpa" || name.ends_with(".home.arpa") {
        return Some("a name of a private network");
    }
    match last {
        "localhost" | "localdomain" => Some("a name of this machine"),
        "internal" | "local" | "lan" | "intranet" => Some("a name of a private network"),
        // Without a dot it is looked up among the machines around this one.
        _ if !name.contains('.') => Some("a name of a private network"),
        _ => None,
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [169, 254, 169, 254] | [169, 254, 170, 2] | [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => {
            Some("a metadata address")
        }
        [0, 0, 0, 0] => Some("the unspecified address"),
        [0, ..] => Some("a reserved address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("a private address"),
        [100, 64..=127, ..] => Some("a carrier's private address"),
        [127, ..] => Some("a loopback address"),
        [169, 254, ..] => Some("a link-local address"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("a documentation address"),
        [192, 0, 0, _] | [192, 88, 99, _] => Some("a reserved address"),
        [198, 18..=19, ..] => Some("a benchmarking address"),
        [224..=239, ..] => Some("a multicast address"),
        [255, 255, 255, 255] => Some("the broadcast address"),
        [240..=255, ..] => Some("a reserved address"),
        _ => None,
    }
}

fn refusal_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(refusal) = hidden_v4(address).and_then(refusal_v4) {
        return Some(refusal);
    }
    match address.segments() {
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] => Some("a metadata address"),
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("the unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        [0xfc00..=0xfdff, ..] => Some("a unique local address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xfec0..=0xfeff, ..] => Some("a site-local address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Some("a documentation address"),
        [0x2001, 2, 0, ..] => Some("a benchmarking address"),
        [0x2001, 0, ..] => Some("a Teredo address"),
        [0x2001, 0..=0x01ff, ..] => Some("a reserved address"),
        // Nobody keeps pictures behind a relay of this retired way (RFC 7526).
        [0x2002, ..] => Some("a 6to4 address"),
        // What these carry is an IPv4 address, which was asked above.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x0064, 0xff9b, 0, 0, 0, 0, ..] => None,
        // All public addresses that were ever given out.
        [0x2000..=0x3fff, ..] => None,
        _ => Some("a reserved address"),
    }
}

/// The IPv4 address that an IPv6 address leads to.
pub fn hidden_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0..=1] => None,
        // Compatible, mapped, translated, NAT64.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        // 6to4.
        [0x2002, high, low, ..] => Some(join(high, low)),
        // ISATAP, behind any prefix.
        [_, _, _, _, 0 | 0x0200, 0x5efe, high, low] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Option<&'static str> {
        refusal(address.parse().expect("it is an address"))
    }

    /// Every address is refused, with these words.
    fn refused(addresses: &[&str], words: &str) {
        for address in addresses {
            assert_eq!(of(address), Some(words), "{address}");
        }
    }

    #[test]
    fn public_addresses_are_allowed() {
        let neighbours = [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860::8888",
            "2a00:1450::1",
        ];
        for address in neighbours {
            assert_eq!(of(address), None, "{address}");
        }
    }

    #[test]
    fn loopback_is_refused() {
        refused(
            &["127.0.0.1", "127.1.2.3", "127.255.255.255", "::1"],
            "a loopback address",
        );
    }

    #[test]
    fn private_networks_are_refused() {
        refused(
            &[
                "10.0.0.1",
                "10.255.255.255",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.0.1",
            ],
            "a private address",
        );
        refused(&["fc00::1", "fd12:3456::1", "fdff::1"], "a unique local address");
        refused(&["fec0::1", "feff::1"], "a site-local address");
    }

    #[test]
    fn carriers_networks_are_refused() {
        refused(&["100.64.0.1", "100.127.255.255"], "a carrier's private address");
    }

    #[test]
    fn link_local_is_refused() {
        refused(
            &["169.254.0.1", "169.254.255.255", "fe80::1", "febf::1"],
            "a link-local address",
        );
    }

    #[test]
    fn metadata_addresses_are_refused() {
        refused(
            &[
                "169.254.169.254",
                "169.254.170.2",
                "100.100.100.200",
                "168.63.129.16",
                "fd00:ec2::254",
            ],
            "a metadata address",
        );
    }

    #[test]
    fn multicast_and_broadcast_are_refused() {
        refused(&["224.0.0.1", "239.255.255.255", "ff02::1"], "a multicast address");
        refused(&["255.255.255.255"], "the broadcast address");
    }

    #[test]
    fn the_unspecified_address_is_refused() {
        refused(&["0.0.0.0", "::"], "the unspecified address");
    }

    #[test]
    fn documentation_addresses_are_refused() {
        refused(
            &["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
            "a documentation address",
        );
    }

    #[test]
    fn benchmarking_addresses_are_refused() {
        refused(&["198.18.0.1", "198.19.255.255", "2001:2::1"], "a benchmarking address");
    }

    #[test]
    fn reserved_addresses_are_refused() {
        refused(
            &[
                "0.1.2.3",
                "192.0.0.1",
                "192.88.99.1",
                "240.0.0.1",
                "254.1.1.1",
                "100::1",
                "64:ff9b:1::1",
                "2001:20::1",
                "4000::1",
                "5f00::1",
                "::ffff:0:8.8.8.8",
            ],
            "a reserved address",
        );
    }

    #[test]
    fn an_ipv4_address_within_an_ipv6_address_is_found() {
        let disguises = [
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "2002:7f00:1::",
            "2606:4700::5efe:127.0.0.1",
            "2606:4700::200:5efe:127.0.0.1",
        ];
        refused(&disguises, "a loopback address");
        refused(&["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"], "a metadata address");
        refused(&["::ffff:10.0.0.1", "2002:c0a8:1::"], "a private address");
        for public in ["::ffff:1.1.1.1", "64:ff9b::1.1.1.1"] {
            assert_eq!(of(public), None, "{public}");
        }
    }

    #[test]
    fn teredo_6to4_and_compatible_forms_are_never_public() {
        // Server and client (every bit turned) are 8.8.8.8 here, loopback there.
        refused(
            &["2001:0:808:808::f7f7:f7f7", "2001:0:7f00:1::80ff:fffe"],
            "a Teredo address",
        );
        refused(&["2002:808:808::1"], "a 6to4 address");
        refused(&["::8.8.8.8"], "a reserved address");
    }

    #[test]
    fn names_of_this_machine_and_of_its_network_are_refused() {
        for name in [
            "localhost",
            "localhost.",
            "a.localhost",
            "b.a.localhost.",
            "localhost.localdomain",
        ] {
            assert_eq!(refusal_of_name(name), Some("a name of this machine"), "{name}");
        }
        for name in [
            "metadata.google.internal",
            "nas.local",
            "box.lan",
            "home.arpa",
            "tv.home.arpa.",
            "wiki",
            "",
        ] {
            assert_eq!(refusal_of_name(name), Some("a name of a private network"), "{name}");
        }
        for name in ["example.com", "localhost.example.com", "internal.example.org."] {
            assert_eq!(refusal_of_name(name), None, "{name}");
        }
    }
}
