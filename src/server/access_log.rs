//! A line in the log for each request, with a number that its answer carries too.

use std::time::Instant;

use axum::body::Body;
use axum::extract::MatchedPath;
use axum::http::{HeaderName, HeaderValue, Request};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use super::client_address::ClientAddress;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Of a proxy's number, which stands in our log.
const MAX_ID_CHARS: usize = 64;

pub async fn log(request: Request<Body>, next: Next) -> Response {
    let id = proxys_id(&request).unwrap_or_else(|| format!("{:016x}", rand::random::<u64>()));
    let span = tracing::info_span!("request", %id);
    let (method, path) = (request.method().clone(), path(&request));
    let client = ClientAddress::of(request.extensions());
    let began = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, ms) = (response.status().as_u16(), began.elapsed().as_millis() as u64);
    span.in_scope(|| match path.as_str() {
        // Asked for every few seconds by whoever watches us.
        "/healthz" | "/readyz" => tracing::debug!(%client, status, ms, "{method} {path}"),
        _ => tracing::info!(%client, status, ms, "{method} {path}"),
    });
    // Hexadecimal, or one that came in a header.
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The number that a proxy gave the request, where it is fit for a log.
fn proxys_id(request: &Request<Body>) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    ((1..=MAX_ID_CHARS).contains(&id.len()) && id.bytes().all(is_plain)).then(|| id.to_owned())
}

/// What was asked for, by its route: the address of a conversation is as secret as the
/// conversation, and what is no address of ours may be anything.
fn path(request: &Request<Body>) -> String {
    let route = request.extensions().get::<MatchedPath>();
    route.map_or_else(|| "-".to_owned(), |route| route.as_str().to_owned())
}
