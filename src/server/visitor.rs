//! Who asks: the visitor's secret, from a header or a cookie.
//!
//! The page makes a secret and keeps it in its storage, which works in frames too, where
//! third-party cookies do not; it sends it in a header. A cookie goes with it, partitioned
//! where the connection is safe, for what a browser asks by itself: the page at a
//! conversation's address, and the form without JavaScript.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use axum::middleware::Next;
use axum::response::Response;

use super::client_address::ClientAddress;
use super::{Hosts, cookie};
use crate::api::Base;
use crate::chat::{Secret, Visitor};

/// Carries the page's secret.
const HEADER: HeaderName = HeaderName::from_static(crate::api::VISITOR_HEADER);

const COOKIE: &str = "glimpse-visitor";

/// Finds out who asks, tells the rooms behind, and lets the cookie follow the header.
pub async fn identify(State(hosts): State<Arc<Hosts>>, mut request: Request<Body>, next: Next) -> Response {
    let is_safe = hosts.is_https(request.headers(), request.extensions().get());
    let base: Base = request.extensions().get().cloned().unwrap_or_default();
    let from_header = header_secret(request.headers());
    let from_cookie = cookie_secret(request.headers());
    let secret = from_header.clone().or_else(|| from_cookie.clone());
    let is_known = secret.is_some();
    let secret = secret.unwrap_or_else(Secret::random);
    let network = ClientAddress::of(request.extensions()).network();
    let is_cookies = from_cookie.as_ref() == Some(&secret);
    // A page that is only looked at is nobody's yet.
    let is_known = is_known || request.method() == axum::http::Method::POST;
    request.extensions_mut().insert(Visitor {
        is_known,
        id: secret.visitor(),
        also: from_cookie.map(|secret| secret.visitor()),
        network,
    });
    let mut response = next.run(request).await;
    if is_known && !is_cookies {
        response
            .headers_mut()
            .append(header::SET_COOKIE, secret_cookie(&secret, &base, is_safe));
    }
    response
}

fn header_secret(headers: &HeaderMap) -> Option<Secret> {
    Secret::parse(headers.get(HEADER)?.to_str().ok()?)
}

fn cookie_secret(headers: &HeaderMap) -> Option<Secret> {
    cookie::find(headers, COOKIE, Secret::parse)
}

fn secret_cookie(secret: &Secret, base: &Base, is_safe: bool) -> HeaderValue {
    cookie::written(COOKIE, secret.expose(), base, is_safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::try_from(*value).expect("it is plain"),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_secret_comes_by_header_or_among_other_cookies() {
        let secret = Secret::random();
        let header = headers(&[("x-glimpse-visitor", secret.expose())]);
        assert_eq!(header_secret(&header).as_ref(), Some(&secret));
        let cookies = format!("a=b; {COOKIE}={}; c=d", secret.expose());
        assert_eq!(cookie_secret(&headers(&[("cookie", &cookies)])), Some(secret));
        for wrong in [
            "",
            "glimpse-visitor=",
            "glimpse-visitor=x",
            "other=0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(cookie_secret(&headers(&[("cookie", wrong)])), None, "{wrong}");
        }
    }

    #[test]
    fn a_cookie_is_out_of_scripts_reach_and_goes_into_frames_where_it_can() {
        let text = |is_safe| {
            let cookie = secret_cookie(&Secret::random(), &Base::default(), is_safe);
            cookie.to_str().expect("it is plain").to_owned()
        };
        assert!(text(false).ends_with("HttpOnly; SameSite=Lax"));
        assert!(text(true).ends_with("HttpOnly; SameSite=None; Secure; Partitioned"));
    }

    #[test]
    fn a_cookie_is_for_our_own_path() {
        let path = |base: &str| {
            let base = Base::read(base).expect(base);
            let cookie = secret_cookie(&Secret::random(), &base, false);
            let cookie = cookie.to_str().expect("it is plain").to_owned();
            cookie
                .split("; ")
                .find_map(|part| part.strip_prefix("Path=").map(str::to_owned))
        };
        assert_eq!(path("/").as_deref(), Some("/"));
        assert_eq!(path("/glimpse").as_deref(), Some("/glimpse"));
    }
}
