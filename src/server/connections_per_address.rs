//! How many connections come from one address, so that nobody alone takes them all.
//!
//! A connection has no visitor before its first request, so that what is counted is its other end:
//! proxies, which speak for all of theirs, are not.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::client_address::{ClientAddress, TrustedProxies};

#[derive(Clone)]
pub struct Callers {
    most: u32,
    proxies: TrustedProxies,
    counts: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// One connection of an address, until it is dropped.
pub struct Call {
    callers: Callers,
    /// None where it is not counted.
    address: Option<IpAddr>,
}

impl Callers {
    pub fn new(most: u32, proxies: TrustedProxies) -> Self {
        Self {
            most,
            proxies,
            counts: Arc::default(),
        }
    }

    /// None where the address has as many as it may.
    ///
    /// This machine is not counted, nor is a trusted proxy: there all visitors come from.
    pub fn call(&self, address: IpAddr) -> Option<Call> {
        let counted = !address.to_canonical().is_loopback() && !self.proxies.trusts(address);
        let address = ClientAddress(address).network();
        if counted {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(address).or_default();
            if *count >= self.most {
                return None;
            }
            *count += 1;
        }
        Some(Call {
            callers: self.clone(),
            address: counted.then_some(address),
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut counts = self.callers.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_others_have_theirs() {
        let callers = Callers::new(2, TrustedProxies::default());
        let call = |address: &str| callers.call(address.parse().expect(address));
        let (first, second) = (call("192.0.2.1"), call("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(call("192.0.2.1").is_none(), "it has two");
        assert!(call("192.0.2.2").is_some(), "another one has none");
        drop(first);
        assert!(call("192.0.2.1").is_some(), "one has ended");
    }

    #[test]
    fn an_ipv6_network_is_one_visitor_and_a_proxy_is_all() {
        let proxies = [crate::server::Network::from_str("10.0.0.1").expect("it is one")];
        let callers = Callers::new(1, proxies.into_iter().collect());
        let call = |address: &str| callers.call(address.parse().expect(address));
        let first = call("2001:db8::1");
        assert!(first.is_some() && call("2001:db8::2").is_none());
        assert!(call("2001:db8:0:1::1").is_some());
        let proxy = ["127.0.0.1", "127.0.0.1", "::1", "::1", "10.0.0.1", "::ffff:10.0.0.1"].map(call);
        assert!(proxy.iter().all(Option::is_some));
    }
}
