//! Who asks.

use sha2::{Digest, Sha256};

use super::ids::{is_hexadecimal, write_hexadecimal};

/// What a visitor's browser made up and keeps: 128 bits that prove who he is. It is neither
/// stored nor logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// From 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        is_hexadecimal(text, 32).then(|| Self(text.to_owned()))
    }

    /// One for a visitor whose browser cannot make its own.
    pub fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    /// Where it is handed back to whom it belongs, such as in a cookie.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whose secret it is: what is stored and compared in its place.
    pub fn visitor(&self) -> VisitorId {
        VisitorId(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Names a visitor: the SHA-256 of the secret, which cannot be had from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VisitorId(pub [u8; 32]);

impl VisitorId {
    /// Owns what nobody can prove to own: what an older Glimpse kept, before there were visitors.
    pub const NOBODY: Self = Self([0; 32]);

    /// From what a database keeps; 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl std::fmt::Display for VisitorId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_hexadecimal(&self.0, f)
    }
}

/// Whoever makes a request.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Owns what is begun by the request.
    pub id: VisitorId,
    /// Who he can prove to be besides: the page's secret and the cookie of the form without
    /// JavaScript may differ.
    pub also: Option<VisitorId>,
    /// Whether he has the secret, or is given it with the answer. Whoever only looks at a page
    /// without one is nobody, and can own nothing by that.
    pub is_known: bool,
    /// The network that he comes from, for what is bounded by address: an IPv4 address, or
    /// the first 64 bits of an IPv6 one.
    pub network: std::net::IpAddr,
}

impl Visitor {
    /// The network, where it is one that bounds can be set to: a proxy on this machine speaks for
    /// all visitors.
    pub fn shared_network(&self) -> Option<std::net::IpAddr> {
        Some(self.network).filter(|network| !network.is_loopback())
    }

    /// A new one from this network.
    #[cfg(test)]
    pub fn from_network(network: std::net::Ipv4Addr) -> Self {
        Self {
            id: Secret::random().visitor(),
            also: None,
            is_known: true,
            network: network.into(),
        }
    }

    /// Whether something is his.
    pub fn owns(&self, owner: &VisitorId) -> bool {
        *owner != VisitorId::NOBODY && (self.id == *owner || self.also.as_ref() == Some(owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_and_is_not_its_hash() {
        let secret = Secret::random();
        assert!(!format!("{secret:?}").contains(secret.expose()));
        assert!(!secret.visitor().to_string().contains(secret.expose()));
        assert_eq!(Secret::parse(secret.expose()), Some(secret));
        assert_eq!(Secret::parse("short"), None);
    }

    #[test]
    fn a_visitor_owns_what_he_can_prove_and_nobodys_is_nobodys() {
        let [page, cookie, other] = [(); 3].map(|()| Secret::random().visitor());
        let visitor = Visitor {
            is_known: true,
            id: page,
            also: Some(cookie),
            network: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        assert!(visitor.owns(&page) && visitor.owns(&cookie));
        assert!(!visitor.owns(&other) && !visitor.owns(&VisitorId::NOBODY));
    }
}
