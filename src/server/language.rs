//! Which language is spoken to whoever asks: that of the page whose call it is, the one that the address asks for,
//! the one that was chosen before, or the one that the browser wishes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Request, header};
use axum::middleware::Next;
use axum::response::Response;

use super::{Hosts, cookie};
use crate::api::{Base, LANGUAGE_FIELD, LANGUAGE_HEADER, Language};

/// What was chosen before.
const COOKIE: &str = "glimpse-language";

/// What a page depends on besides its address.
const VARY: HeaderValue = HeaderValue::from_static("Accept-Language, Cookie");

/// Finds out the language, has it spoken, and keeps one that is chosen.
pub async fn speak(State(hosts): State<Arc<Hosts>>, mut request: Request<Body>, next: Next) -> Response {
    let asked = request.uri().query().and_then(asked);
    let kept = cookie::find(request.headers(), COOKIE, Language::parse);
    let of_call = text(request.headers(), LANGUAGE_HEADER).and_then(Language::parse);
    let wished = || text(request.headers(), header::ACCEPT_LANGUAGE.as_str()).and_then(Language::accepted);
    let language = of_call.or(asked).or(kept).or_else(wished).unwrap_or_default();
    let chosen = asked.filter(|asked| kept != Some(*asked)).map(|chosen| {
        let base: Base = request.extensions().get().cloned().unwrap_or_default();
        let is_safe = hosts.is_https(request.headers(), request.extensions().get());
        cookie::written(COOKIE, chosen.code(), &base, is_safe)
    });
    request.extensions_mut().insert(language);
    let mut response = language.scope(next.run(request)).await;
    let headers = response.headers_mut();
    let is_page = |value: &HeaderValue| value.as_bytes().starts_with(b"text/html");
    if headers.get(header::CONTENT_TYPE).is_some_and(is_page) {
        let tag = HeaderValue::from_static(language.tag());
        headers.entry(header::CONTENT_LANGUAGE).or_insert(tag);
        headers.append(header::VARY, VARY);
        if let Some(cookie) = chosen {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The language that an address asks for.
fn asked(query: &str) -> Option<Language> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(name, value)| (name == LANGUAGE_FIELD).then(|| Language::parse(value))?)
}
