//! A line in the log for each request, with an id that its answer carries too.

use std::time::Instant;

use axum::body::Body;
use axum::extract::MatchedPath;
use axum::http::{HeaderName, HeaderValue, Request};
use axum::middleware::Next;
use axum::response::Response;

use super::client_address::{ClientAddress, Proxied};
use super::ops::metrics::count_request;
use crate::chat::RequestId;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives each request its id, and logs what came of it.
pub async fn log(mut request: Request<Body>, next: Next) -> Response {
    let id = proxys_id(&request).unwrap_or_else(RequestId::random);
    request.extensions_mut().insert(id.clone());
    // Hexadecimal, or one that came in a header.
    let header = HeaderValue::try_from(id.as_str());
    let mut response = id.scope(answer(request, next)).await;
    if let Ok(id) = header {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn answer(request: Request<Body>, next: Next) -> Response {
    let (method, path) = (request.method().clone(), path(&request));
    let client = ClientAddress::of(request.extensions());
    let began = Instant::now();
    let response = next.run(request).await;
    let (status, ms) = (response.status().as_u16(), began.elapsed().as_millis() as u64);
    count_request(response.status());
    match path.as_str() {
        // Asked for every few seconds by whoever watches us.
        "/healthz" | "/readyz" | "/metrics" => tracing::debug!(%client, status, ms, "{method} {path}"),
        _ => tracing::info!(%client, status, ms, "{method} {path}"),
    }
    response
}

/// The id that a trusted proxy gave the request: what a stranger writes would stand in the log
/// for another's request.
fn proxys_id(request: &Request<Body>) -> Option<RequestId> {
    request.extensions().get::<Proxied>()?;
    RequestId::parse(request.headers().get(REQUEST_ID)?.to_str().ok()?)
}

/// What was asked for, by its route: the address of a conversation is as secret as the
/// conversation, and what is no address of ours may be anything.
fn path(request: &Request<Body>) -> String {
    let route = request.extensions().get::<MatchedPath>();
    route.map_or_else(|| "-".to_owned(), |route| route.as_str().to_owned())
}
