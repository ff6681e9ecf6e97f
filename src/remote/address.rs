//! Reading an address: what it names, in its one plain form.
//!
//! The `url` crate reads it as browsers do, so that `0x7f.1`, `2130706433` and `１２７.0.0.1`
//! are all the number 127.0.0.1 before anything is decided.

use std::net::SocketAddr;

use url::{Host, Url};

use super::{Reach, RemoteError, policy};

/// Longest address, in bytes.
const MAX_BYTES: usize = 4096;

/// Reads an address that somebody gave.
///
/// # Errors
/// It is no http(s) address, carries a password, or names something private at first sight.
pub fn read(text: &str, reach: &Reach) -> Result<Url, RemoteError> {
    let text = text.trim();
    if text.len() > MAX_BYTES {
        return Err(RemoteError::TooLong {
            bytes: text.len(),
            max_bytes: MAX_BYTES,
        });
    }
    let url = Url::parse(text).map_err(|error| RemoteError::NotAnAddress {
        reason: error.to_string(),
    })?;
    check(url, reach)
}

/// Where a redirect of `from` leads.
pub fn follow(from: &Url, location: &str, reach: &Reach) -> Result<Url, RemoteError> {
    let bad = |reason: String| RemoteError::BadRedirect { reason };
    if location.len() > MAX_BYTES {
        return Err(bad(format!("it has more than {MAX_BYTES} characters")));
    }
    let url = from.join(location).map_err(|error| bad(error.to_string()))?;
    check(url, reach).map_err(|error| match error {
        RemoteError::NotAnAddress { reason } => bad(reason),
        other => other,
    })
}

fn check(mut url: Url, reach: &Reach) -> Result<Url, RemoteError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(RemoteError::NotAnAddress {
            reason: format!("it begins with `{}:`", url.scheme()),
        });
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RemoteError::Credentials);
    }
    url.set_fragment(None);
    if let Reach::Public { .. } = reach {
        check_public(&url, reach)?;
    }
    Ok(url)
}

/// What can be known before a name is looked up.
fn check_public(url: &Url, reach: &Reach) -> Result<(), RemoteError> {
    let (place, port) = (place(url), port(url));
    if place.is_some_and(|place| reach.names(place)) {
        return Ok(());
    }
    let refusal = match (place, url.host()) {
        (Some(place), _) => reach.refusal(place),
        (None, Some(Host::Domain(name))) => policy::refusal_of_name(name),
        (None, _) => policy::refusal_of_name(""),
    };
    if let Some(what) = refusal {
        return Err(RemoteError::Private { what });
    }
    // Mail, shells and the like understand enough of http to be harmed by it.
    if port < 1024 && port != 80 && port != 443 {
        return Err(RemoteError::Port(port));
    }
    Ok(())
}

/// An address as it may be shown again: without the name and password in it.
///
/// What is no address may be a mistyped one: all before its last `@` is left out then.
pub fn shown(text: &str) -> String {
    match Url::parse(text.trim()) {
        Ok(url) if url.username().is_empty() && url.password().is_none() => text.to_string(),
        Ok(mut url) => match (url.set_username(""), url.set_password(None)) {
            (Ok(()), Ok(())) => url.into(),
            _ => after_last_at(text),
        },
        Err(_) => after_last_at(text),
    }
}

fn after_last_at(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => text.to_string(),
    }
}

/// Where an address with a number for its host leads.
pub fn place(url: &Url) -> Option<SocketAddr> {
    match url.host()? {
        Host::Ipv4(ip) => Some((ip, port(url)).into()),
        Host::Ipv6(ip) => Some((ip, port(url)).into()),
        Host::Domain(_) => None,
    }
}

/// The port that an http(s) address names, or that goes without saying.
pub fn port(url: &Url) -> u16 {
    // Both schemes that come this far have one.
    url.port_or_known_default().unwrap_or(443)
}

/// The host as people read it; never empty for http(s).
pub fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests;
