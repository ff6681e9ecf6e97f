//! Addresses as they are given, before any name is looked up: one test for each disguise.

use super::*;

const PUBLIC: Reach = Reach::Public { also: Vec::new() };

fn refused(text: &str) -> RemoteError {
    read(text, &PUBLIC).expect_err(text)
}

/// All of these are refused as leading to `what`.
fn lead_to(what: &'static str, texts: &[&str]) {
    for text in texts {
        assert_eq!(refused(text), RemoteError::Private { what }, "{text}");
    }
}

const LOOPBACK: &str = "a loopback address";

#[test]
fn an_address_is_read_as_browsers_do() {
    for (text, plain) in [
        (" https://example.com/cat.jpg ", "https://example.com/cat.jpg"),
        ("HTTP://Example.COM:80/a b#part", "http://example.com/a%20b"),
        ("https://1.1.1.1:8443/", "https://1.1.1.1:8443/"),
        ("https://[2606:4700::1111]/x?y=1", "https://[2606:4700::1111]/x?y=1"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
    ] {
        assert_eq!(read(text, &PUBLIC).map(String::from), Ok(plain.to_string()));
    }
}

#[test]
fn a_loopback_number_is_refused_on_every_port() {
    lead_to(
        LOOPBACK,
        &["http://127.0.0.1/", "https://127.255.0.9:7860/", "http://[::1]:80/"],
    );
}

#[test]
fn a_decimal_number_is_seen_through() {
    lead_to(LOOPBACK, &["http://2130706433/", "http://2130706433:7860/a.png"]);
    lead_to("a metadata address", &["http://2852039166/"]);
}

#[test]
fn an_octal_number_is_seen_through() {
    lead_to(
        LOOPBACK,
        &["http://0177.0.0.1/", "http://017700000001/", "http://0177.0.0.01/"],
    );
}

#[test]
fn a_hexadecimal_number_is_seen_through() {
    lead_to(
        LOOPBACK,
        &["http://0x7f000001/", "http://0x7f.1/", "http://0X7F.0x0.0x0.0x1/"],
    );
}

#[test]
fn a_number_with_parts_left_out_is_seen_through() {
    lead_to(LOOPBACK, &["http://127.1/", "http://127.0.1/"]);
    lead_to("the unspecified address", &["http://0/", "http://0.0/"]);
    lead_to("a private address", &["http://10.1/", "http://192.168.257/"]);
}

#[test]
fn a_number_written_in_other_scripts_is_seen_through() {
    lead_to(
        LOOPBACK,
        &[
            "http://１２７.0.０.１/",
            "http://127。0。0。1/",
            "http://①②⑦.0.0.1/",
            "http://%31%32%37.0.0.1/",
            "http://127.0.0.1%2e/",
        ],
    );
}

#[test]
fn a_dot_behind_the_host_changes_nothing() {
    lead_to(LOOPBACK, &["http://127.0.0.1./"]);
    lead_to(
        "a name of this machine",
        &["http://localhost./", "https://a.localhost./"],
    );
    lead_to(
        "a name of a private network",
        &["http://printer./", "http://nas.local./"],
    );
}

#[test]
fn slashes_that_lean_the_other_way_or_lack_change_nothing() {
    lead_to(
        LOOPBACK,
        &["http:127.0.0.1", "http:\\\\127.0.0.1\\x", "http:/127.0.0.1/"],
    );
}

#[test]
fn a_v4_mapped_number_is_seen_through() {
    lead_to(
        LOOPBACK,
        &["http://[::ffff:127.0.0.1]/", "http://[0:0:0:0:0:ffff:7f00:1]/"],
    );
    lead_to("a private address", &["http://[::ffff:a00:1]/"]);
}

#[test]
fn a_v4_compatible_number_is_seen_through() {
    lead_to(LOOPBACK, &["http://[::127.0.0.1]/"]);
    lead_to("a reserved address", &["http://[::8.8.8.8]/"]);
}

#[test]
fn a_translated_number_is_seen_through() {
    lead_to(LOOPBACK, &["http://[::ffff:0:7f00:1]/"]);
}

#[test]
fn a_number_behind_nat64_is_seen_through() {
    lead_to(LOOPBACK, &["http://[64:ff9b::7f00:1]/"]);
    lead_to("a metadata address", &["http://[64:ff9b::169.254.169.254]/"]);
}

#[test]
fn the_local_prefix_of_nat64_is_refused() {
    lead_to(
        "a reserved address",
        &["http://[64:ff9b:1::7f00:1]/", "http://[64:ff9b:1:ffff::808:808]/"],
    );
}

#[test]
fn a_6to4_number_is_refused() {
    lead_to(LOOPBACK, &["http://[2002:7f00:1::1]/"]);
    lead_to("a 6to4 address", &["http://[2002:808:808::1]/"]);
}

#[test]
fn a_teredo_number_is_refused() {
    lead_to("a Teredo address", &["http://[2001:0:808:808::80ff:fffe]/"]);
}

#[test]
fn a_number_of_isatap_is_seen_through() {
    lead_to(LOOPBACK, &["http://[2606:4700::5efe:7f00:1]/"]);
}

#[test]
fn site_local_link_local_and_unique_local_numbers_are_refused() {
    lead_to("a site-local address", &["http://[fec0::1]/"]);
    lead_to("a link-local address", &["http://[fe80::1]/", "http://169.254.1.1/"]);
    lead_to("a unique local address", &["http://[fc00::1]/", "http://[fd12::1]/"]);
}

#[test]
fn a_number_with_a_zone_is_no_address() {
    for text in [
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[::1%25lo]/",
    ] {
        assert!(matches!(refused(text), RemoteError::NotAnAddress { .. }), "{text}");
    }
}

#[test]
fn names_of_this_machine_are_refused() {
    lead_to(
        "a name of this machine",
        &[
            "http://localhost/",
            "http://LOCALHOST:80/",
            "http://ｌocalhost/",
            "http://lo%63alhost/",
        ],
    );
}

#[test]
fn names_of_the_network_around_are_refused() {
    lead_to(
        "a name of a private network",
        &[
            "http://metadata.google.internal/",
            "http://printer/",
            "http://nas.local/",
        ],
    );
}

#[test]
fn other_schemes_are_refused() {
    for text in [
        "file:///etc/passwd",
        "ftp://example.com/a.png",
        "data:image/png;base64,AA",
        "gopher://example.com",
        "javascript:1",
        "blob:https://example.com/1",
        "unix:/run/docker.sock",
    ] {
        assert!(matches!(refused(text), RemoteError::NotAnAddress { .. }), "{text}");
    }
}

#[test]
fn what_is_no_address_is_refused() {
    for text in [
        "",
        "cat.png",
        "example.com/cat.png",
        "http://",
        "http://exa mple.com/",
        "http://256.256.256.256/",
        "http://127.0.0.0.1/",
        "http://[::1/",
        "http://example.com:99999/",
    ] {
        assert!(matches!(refused(text), RemoteError::NotAnAddress { .. }), "{text}");
    }
}

#[test]
fn a_name_or_password_is_refused() {
    for text in [
        "http://user:pass@example.com/",
        "http://example.com@127.0.0.1/",
        "http://127.0.0.1@example.com/",
        "https://:x@example.com/",
        "https://me@example.com/",
    ] {
        assert_eq!(refused(text), RemoteError::Credentials, "{text}");
        assert_eq!(read(text, &Reach::Anywhere), Err(RemoteError::Credentials), "{text}");
    }
}

#[test]
fn a_password_is_not_shown_again() {
    for (text, again) in [
        ("https://me:secret@example.com/a@b.png", "https://example.com/a@b.png"),
        ("https://secret@example.com/", "https://example.com/"),
        (" HTTPS://me:secret@example.com/ ", "https://example.com/"),
        ("https://me:secret@exa mple.com/", "…@exa mple.com/"),
        ("https://me:sec/ret@example.com/", "…@example.com/"),
        ("ftp://me:secret@example.com/", "ftp://example.com/"),
        (
            "https://example.com/@cat/1.png?a=b#c",
            "https://example.com/@cat/1.png?a=b#c",
        ),
    ] {
        assert_eq!(shown(text), again);
    }
}

#[test]
fn ports_of_other_services_are_refused() {
    assert_eq!(refused("http://example.com:25/"), RemoteError::Port(25));
    assert_eq!(refused("https://example.com:22/"), RemoteError::Port(22));
    assert_eq!(refused("http://1.1.1.1:0/"), RemoteError::Port(0));
}

#[test]
fn a_private_place_that_was_named_may_be_reached_on_its_port_alone() {
    let named = Reach::Public {
        also: vec![([10, 0, 0, 5], 631).into()],
    };
    assert!(read("http://10.0.0.5:631/a.png", &named).is_ok());
    for text in ["http://10.0.0.5:632/a.png", "http://10.0.0.5/", "http://10.0.0.6:631/"] {
        let what = "a private address";
        assert_eq!(read(text, &named), Err(RemoteError::Private { what }), "{text}");
    }
}

#[test]
fn a_very_long_address_is_refused() {
    let long = format!("https://example.com/{}", "x".repeat(MAX_BYTES));
    assert!(matches!(refused(&long), RemoteError::TooLong { .. }));
}

#[test]
fn a_redirect_is_checked_as_an_address_is() {
    let from = read("https://example.com/a/b.png", &PUBLIC).expect("it is public");
    let follow = |location: &str| follow(&from, location, &PUBLIC);
    for (location, what) in [
        ("http://127.1/", "a loopback address"),
        ("//169.254.169.254/latest", "a metadata address"),
        ("http://localhost:7860/", "a name of this machine"),
    ] {
        assert_eq!(follow(location), Err(RemoteError::Private { what }), "{location}");
    }
    assert_eq!(follow("https://a:b@example.com/"), Err(RemoteError::Credentials));
    assert_eq!(follow("//example.com:22/"), Err(RemoteError::Port(22)));
    assert!(matches!(follow("http://["), Err(RemoteError::BadRedirect { .. })));
    let long = "x".repeat(MAX_BYTES + 1);
    assert!(matches!(follow(&long), Err(RemoteError::BadRedirect { .. })));
}

#[test]
fn a_redirect_may_change_the_host_and_between_http_and_https_but_to_no_other_scheme() {
    let from = read("https://example.com/a/b.png", &PUBLIC).expect("it is public");
    for (location, address) in [
        ("c.png", "https://example.com/a/c.png"),
        ("//example.org/c.png", "https://example.org/c.png"),
        ("http://example.com/c.png", "http://example.com/c.png"),
    ] {
        assert_eq!(
            follow(&from, location, &PUBLIC).map(String::from),
            Ok(address.to_string())
        );
    }
    for location in ["file:///etc/passwd", "ftp://example.com/", "data:image/png,x"] {
        let refused = follow(&from, location, &PUBLIC);
        assert!(matches!(refused, Err(RemoteError::BadRedirect { .. })), "{location}");
    }
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
}
