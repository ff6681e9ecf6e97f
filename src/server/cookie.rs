//! Cookies: read from a request, and written.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::api::Base;

/// A year, which is as long as browsers keep one.
const SECONDS: u32 = 365 * 24 * 3600;

/// The first cookie of this name whose value can be read.
pub fn find<T>(headers: &HeaderMap, wanted: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    let all = headers.get_all(header::COOKIE).iter();
    let mut pairs = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(name, value)| (name == wanted).then(|| read(value))?)
}

/// Below a path of a host it is for this path only: what else is there has no use for it, and
/// another Glimpse there has its own. Out of reach of scripts.
pub fn written(name: &str, value: &str, base: &Base, is_safe: bool) -> HeaderValue {
    // Without https a browser takes no secure cookie, and only secure ones go into frames.
    let site = if is_safe {
        "; SameSite=None; Secure; Partitioned"
    } else {
        "; SameSite=Lax"
    };
    let path = Some(base.as_str()).filter(|base| !base.is_empty()).unwrap_or("/");
    let cookie = format!("{name}={value}; Path={path}; Max-Age={SECONDS}; HttpOnly{site}");
    // Hexadecimal digits, plain names and our own words.
    HeaderValue::try_from(cookie).unwrap_or(HeaderValue::from_static(""))
}
