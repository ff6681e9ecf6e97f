//! The routes, and the layers around them.
//!
//! From the outside in: every request is traced; a panic becomes a 500 and harms nobody
//! else; security headers are set; a body beyond the limit is refused; an upload that is
//! no multipart form is refused before the server function sees it, which would panic.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use leptos::prelude::provide_context;
use leptos_axum::{LeptosRoutes, generate_route_list};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;

use super::state::AppState;
use super::{assets, errors, form, functions, health, pictures};
use crate::api::{ApiError, ErrorKind};
use crate::app::{App, shell};

/// What is read of an upload that is over its limit, so that the browser hears the
/// sentence that says so; beyond this the connection is cut.
const MAX_BODY_BYTES: usize = 512 << 20;

/// Nothing from elsewhere; the inline script is the one that starts the page. Any page
/// may show ours in a frame: that is how demos are embedded.
const CONTENT_SECURITY_POLICY: &str = concat!(
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; ",
    "img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'",
);

/// While developing, the page also listens for `cargo leptos watch`.
fn content_security_policy() -> HeaderValue {
    if cfg!(debug_assertions) {
        let policy = format!("{CONTENT_SECURITY_POLICY}; connect-src 'self' ws:");
        return HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    }
    HeaderValue::from_static(CONTENT_SECURITY_POLICY)
}

pub fn router(state: AppState) -> Router {
    let routes = generate_route_list(App);
    let shared = Arc::clone(&state.shared);
    let context = move || provide_context(Arc::clone(&shared));
    let leptos = state.leptos.clone();
    Router::new()
        .leptos_routes_with_context(&state, routes, context, move || shell(leptos.clone()))
        .route("/ask", post(form::post))
        .route("/pictures/{conversation}", get(pictures::serve))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/{*path}", get(assets::serve))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(from_fn(only_multipart_uploads))
        .layer(RequestBodyLimitLayer::new(MAX_BODY_BYTES))
        .layer(header_layer(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(header_layer(
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ))
        .layer(header_layer(header::CONTENT_SECURITY_POLICY, content_security_policy()))
        .layer(CatchPanicLayer::custom(panicked))
        // What is our fault is logged in `errors`; a full queue is nobody's.
        .layer(TraceLayer::new_for_http().on_failure(()))
        .with_state(state)
}

fn header_layer(name: HeaderName, value: HeaderValue) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(name, value)
}

/// server_fn panics on a multipart request without a boundary.
async fn only_multipart_uploads(request: Request<Body>, next: Next) -> Response {
    let is_upload = request.method() == Method::POST && request.uri().path().ends_with("/upload");
    let content_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if is_upload && content_type.is_none_or(|value| multer::parse_boundary(value).is_err()) {
        let sentence = format!(
            "An upload is a multipart form with a field `{}`.",
            functions::PICTURE_FIELD
        );
        return refusal(&ApiError::new(ErrorKind::BadRequest, sentence));
    }
    next.run(request).await
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    refusal(&ApiError::new(
        ErrorKind::Internal,
        "Something went wrong on our side. Try again.",
    ))
}

fn refusal(error: &ApiError) -> Response {
    let status: StatusCode = errors::status(error.kind);
    (status, axum::Json(error)).into_response()
}
