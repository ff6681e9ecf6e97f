//! The one place that knows ureq's insides: connecting to chosen numbers only.
//!
//! ureq asks a resolver where a host is, right before it connects. Ours gives the numbers
//! that were checked, whatever the host is called, so that nothing else can be connected
//! to; the certificate is still checked against the host's name. The traits that are used
//! here are not part of ureq's promise of stability: an update may ask for a change here.

use std::net::SocketAddr;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// A resolver that knows one answer.
#[derive(Debug)]
pub struct Pinned(Vec<SocketAddr>);

impl Pinned {
    /// An agent that connects to these places only.
    pub fn agent(config: Config, places: Vec<SocketAddr>) -> Agent {
        Agent::with_parts(config, DefaultConnector::new(), Self(places))
    }
}

impl Resolver for Pinned {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut places = self.empty();
        for place in &self.0 {
            if places.try_push(*place).is_err() {
                break; // enough of them
            }
        }
        if places.is_empty() {
            return Err(ureq::Error::HostNotFound);
        }
        Ok(places)
    }
}
