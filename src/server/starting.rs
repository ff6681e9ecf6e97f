//! What visitors get while the model is being loaded, which may take minutes: a page that opens
//! by itself, and a 503 for programs. The process lives, so that nobody has to restart it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::errors::{self, Reader};
use super::ops::{self, Watchers, health};
use super::router::{self, FUNCTIONS};
use super::unread_body::read_and_drop;
use super::{Hosts, Pace};
use crate::api::{ApiError, ErrorCode, t};

/// What is read, and thrown away, of a picture that comes too early.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Answers until the model is there.
pub fn router(hosts: Hosts, watchers: Arc<Watchers>, pace: Pace) -> Router {
    let routes = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(readyz))
        .merge(ops::routes_while_loading(watchers))
        .fallback(not_yet);
    router::behind_edge(routes, hosts, MAX_BODY_BYTES, pace)
}

async fn readyz() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "loading" }))).into_response()
}

async fn not_yet(request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    read_and_drop(body.into_data_stream()).await;
    if parts.uri.path().starts_with(FUNCTIONS) {
        let error = ApiError::new(ErrorCode::Unreachable, t("error.loading"));
        return errors::refusal(&error);
    }
    let reader = Reader::of(&parts.headers, &parts.extensions);
    errors::passing_page(
        StatusCode::SERVICE_UNAVAILABLE,
        t("plain.starting"),
        t("plain.loading"),
        &reader,
    )
}
