//! Ports of loopback for servers under test.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, TcpListener};

/// Below those that systems give to connections, any of which could take a port between its
/// choice and its use.
const FIRST: u16 = 10_000;
const COUNT: u32 = 20_000;

/// A port that no other test takes for as long as this is held, and that nobody listens on.
pub struct Port {
    pub number: u16,
    _lock: Option<File>,
}

impl Port {
    pub fn reserve() -> Self {
        // Tests are processes of their own: each begins elsewhere.
        let first = std::process::id().wrapping_mul(61);
        let numbers = (0..COUNT).map(|step| FIRST + (first.wrapping_add(step) % COUNT) as u16);
        let mut free = numbers.filter_map(Self::take);
        free.next().expect("loopback has free ports")
    }

    fn take(number: u16) -> Option<Self> {
        let locks = std::env::temp_dir().join("glimpse-test-ports");
        // Another user's folder: then only who listens is looked at.
        let lock = std::fs::create_dir_all(&locks).and_then(|()| File::create(locks.join(number.to_string())));
        if lock.as_ref().is_ok_and(|lock| lock.try_lock().is_err()) {
            return None;
        }
        // A machine without IPv6 has nobody who listens there.
        let is_taken = |listener: std::io::Result<TcpListener>| {
            listener.is_err_and(|error| error.kind() != ErrorKind::AddrNotAvailable)
        };
        TcpListener::bind(("127.0.0.1", number)).ok()?;
        if is_taken(TcpListener::bind((Ipv6Addr::LOCALHOST, number))) {
            return None;
        }
        Some(Self {
            number,
            _lock: lock.ok(),
        })
    }
}

#[test]
fn a_port_is_nobody_elses_while_it_is_held() {
    let held: Vec<Port> = (0..20).map(|_| Port::reserve()).collect();
    let numbers: std::collections::BTreeSet<u16> = held.iter().map(|port| port.number).collect();
    assert_eq!(numbers.len(), held.len());
}
