//! The routes, and the layers around them.
//!
//! From the outside in: every request gets an id and a line in the log; its language is found out; a panic becomes a 500 and harms nobody
//! else; headers for security and caching are set; a body that stands still is cut off, and
//! one that is refused unread is read on for a while; what is beyond the limit, comes by another
//! name or from another site's page is refused; what the server functions cannot take is refused
//! before them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::FutureExt;
use leptos_axum::{LeptosRoutes, generate_route_list};
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

use super::body::{self, BodyError};
use super::client_address::ClientAddress;
use super::errors::Reader;
use super::host_and_origin::{self, Hosts};
use super::multipart::{FormLimits, Verdict};
use super::ops::metrics::count_error;
use super::ops::{self, Watchers, health};
use super::page::{self, export, form, functions, pictures, shared};
use super::state::AppState;
use super::{Pace, access_log, assets, body_rate, csp, errors, language, multipart, unread_body, visitor};
use crate::api::{ApiError, ErrorCode, Language, t, t_with};
use crate::app::{App, shell};
use crate::chat::Error;
use crate::service::{Reservation, Service};

/// Where the server functions are.
pub const FUNCTIONS: &str = "/api/page/";

/// Those of them that answer line by line.
const STREAMS: [&str; 2] = ["ask", "follow"];

/// Seconds until a place is likely to be free: an answer takes about as long.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Bytes of a call: a question of 100,000 characters still gets the sentence that names its limit.
const MAX_CALL_BYTES: usize = 1 << 20;

/// How long a body may send nothing.
const BODY_IDLE: Duration = Duration::from_secs(30);

/// What is read of a body: more than is taken, so that the browser hears by how much its picture
/// is too large; beyond this it is refused at once.
fn max_body_bytes(max_upload_bytes: usize) -> usize {
    let upload = max_upload_bytes.saturating_mul(2).saturating_add(body::FORM_BYTES);
    upload.max(2 * MAX_CALL_BYTES)
}

pub fn router(state: AppState, hosts: Hosts, watchers: Arc<Watchers>) -> Router {
    let limits = state.limits;
    let most = max_body_bytes(state.service.limits().picture.max_bytes);
    let routes = generate_route_list(App);
    let service = Arc::clone(&state.service);
    let customization = Arc::clone(&state.customization);
    let context = move || page::provide_contexts(&service, &customization);
    let leptos = state.leptos.clone();
    let routes = Router::new()
        .leptos_routes_with_context(&state, routes, context, move || shell(leptos.clone()))
        .route("/ask", post(form::post))
        .route(page::SHARE, post(form::share).get(form::shared_already))
        .route("/manifest.webmanifest", get(page::serve_manifest))
        .route("/pictures/{key}", get(pictures::serve))
        .route("/c/{id}/share", post(shared::share))
        .route("/c/{id}/unshare", post(shared::unshare))
        .route("/c/{id}/{file}", get(export::serve))
        .route("/s/{id}", get(shared::page))
        .route("/s/{id}/picture.jpg", get(shared::picture))
        .route(&[page::OWN_EXAMPLES, "{name}"].concat(), get(page::example_thumbnail))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .merge(ops::routes(watchers))
        .route("/{*path}", get(assets::serve))
        .layer(CompressionLayer::new().compress_when(is_document))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(axum::Extension(Arc::new(hosts.clone())))
        .layer(from_fn_with_state(Arc::clone(&state.service), guard_functions))
        .layer(from_fn_with_state(Arc::new(hosts.clone()), visitor::identify))
        .with_state(state);
    behind_edge(routes, hosts, most, limits.pace)
}

/// Whether it is a page: files are compressed already, streams are to come at once, and calls are short.
fn is_document(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

/// The layers that are around whatever answers.
pub fn behind_edge(routes: Router, hosts: Hosts, max_body_bytes: usize, pace: Pace) -> Router {
    let hosts = Arc::new(hosts);
    routes
        .layer(from_fn_with_state(Arc::clone(&hosts), refuse_other_sites))
        .layer(from_fn_with_state(Arc::clone(&hosts), refuse_other_names))
        .layer(RequestBodyLimitLayer::new(max_body_bytes))
        .layer(from_fn_with_state(max_body_bytes, say_too_large))
        // Within the bounds of time behind it.
        .layer(from_fn(unread_body::drain))
        .layer(RequestBodyTimeoutLayer::new(BODY_IDLE))
        .layer(from_fn_with_state(pace, body_rate::keep))
        .layer(from_fn(say_when_to_return))
        // What a visitor sees is his own; files say otherwise for themselves.
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        ))
        .layer(header_layer(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        // Nothing to others; "no-referrer" would also hide from us whose form was sent. What has no form says so.
        .layer(SetResponseHeaderLayer::if_not_present(
            header::REFERRER_POLICY,
            HeaderValue::from_static("same-origin"),
        ))
        // Pages with something inline say for themselves what that is.
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CONTENT_SECURITY_POLICY,
            csp::strict(),
        ))
        .layer(from_fn(catch_panics))
        .layer(from_fn_with_state(hosts, language::speak))
        .layer(from_fn(access_log::log))
}

fn header_layer(name: HeaderName, value: HeaderValue) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(name, value)
}

/// Refuses what another site's page makes a visitor's browser send: it could ask, fetch and
/// fill in his name.
async fn refuse_other_sites(State(hosts): State<Arc<Hosts>>, request: Request<Body>, next: Next) -> Response {
    if request.method() == Method::POST && hosts.is_from_another_site(request.headers(), request.extensions().get()) {
        return refuse_sender(
            (StatusCode::FORBIDDEN, ErrorCode::Forbidden),
            host_and_origin::OTHER_SITE,
            Some(host_and_origin::OWN_ADDRESS),
            request,
        )
        .await;
    }
    next.run(request).await
}

/// Refuses a name that is not ours, but for those who only ask whether we live, which load balancers do by any name.
async fn refuse_other_names(State(hosts): State<Arc<Hosts>>, mut request: Request<Body>, next: Next) -> Response {
    if !host_and_origin::names_one_host(&mut request) {
        return refuse_sender(
            (StatusCode::BAD_REQUEST, ErrorCode::BadRequest),
            host_and_origin::SEVERAL_HOSTS,
            None,
            request,
        )
        .await;
    }
    if hosts.serves(request.headers()) || matches!(request.uri().path(), "/healthz" | "/readyz") {
        return next.run(request).await;
    }
    refuse_sender(
        (StatusCode::MISDIRECTED_REQUEST, ErrorCode::Forbidden),
        host_and_origin::NOT_OURS,
        Some(host_and_origin::NAMING_FLAGS),
        request,
    )
    .await
}

/// `flag` is for the host: it says what of his would let the sender in.
async fn refuse_sender(
    (status, code): (StatusCode, ErrorCode),
    key: &'static str,
    flag: Option<&str>,
    request: Request<Body>,
) -> Response {
    tracing::info!(flag, "{}", Language::English.speak(|| t(key)));
    let sentence = t(key);
    let (parts, body) = request.into_parts();
    unread_body::read_and_drop(body.into_data_stream()).await;
    if parts.uri.path().starts_with(FUNCTIONS) {
        let error = ApiError::new(code, sentence);
        let error = flag.into_iter().fold(error, ApiError::with_flag);
        count_error(code);
        return (status, axum::Json(error)).into_response();
    }
    count_error(code);
    errors::page(
        status,
        t("plain.not_from_here"),
        sentence,
        &Reader::of(&parts.headers, &parts.extensions),
    )
}

/// Stands before and behind the server functions.
///
/// server_fn panics on a multipart request without a boundary, reads a body of any size,
/// and answers everything that it does not understand with a 500.
async fn guard_functions(State(service): State<Arc<Service>>, request: Request<Body>, next: Next) -> Response {
    if request.method() != Method::POST || !request.uri().path().starts_with(FUNCTIONS) {
        return next.run(request).await;
    }
    let function = request.uri().path().trim_start_matches(FUNCTIONS);
    let streams = STREAMS.contains(&function);
    if function == "upload" {
        return match check_upload(request, &service) {
            Ok((request, verdict)) => {
                let response = set_status(next.run(request).await).await;
                // What has been told of it was made of what is left.
                verdict
                    .error()
                    .map_or(response, |error| errors::refusal(&ApiError::from(Error::from(error))))
            }
            Err(error) => errors::refusal(&error),
        };
    }
    let mut room = service.room(ClientAddress::of(request.extensions()).network());
    match read_whole(request, &mut room).await {
        Ok(request) => {
            let response = set_status(next.run(request).await).await;
            if streams && response.status() == StatusCode::OK {
                return as_stream(response);
            }
            response
        }
        Err(error) => errors::refusal(&error),
    }
}

/// Says what a stream is, and that proxies are to pass on each line as it comes.
fn as_stream(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, "application/x-ndjson");
    set(header::CACHE_CONTROL, "private, no-store, no-transform");
    set(HeaderName::from_static("x-accel-buffering"), "no");
    response
}

/// Says when to try again what cannot be done now, which programs then do by themselves.
async fn say_when_to_return(request: Request<Body>, next: Next) -> Response {
    let mut response = next.run(request).await;
    let is_for_now = matches!(
        response.status(),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    );
    if is_for_now {
        response.headers_mut().entry(header::RETRY_AFTER).or_insert(RETRY_AFTER);
    }
    response
}

/// The upload, with its form guarded.
fn check_upload(request: Request<Body>, service: &Service) -> Result<(Request<Body>, Verdict), ApiError> {
    body::check_length(request.headers(), service)?;
    multipart::guarded(request, FormLimits::new(body::FORM_BYTES)).ok_or_else(|| {
        let sentence = t_with("error.upload_is_form", &[("field", functions::PICTURE_FIELD)]);
        ApiError::new(ErrorCode::BadRequest, sentence)
    })
}

/// Says in our words that a body is too large, which the layer behind says in its own.
async fn say_too_large(State(most): State<usize>, request: Request<Body>, next: Next) -> Response {
    let is_function = request.uri().path().starts_with(FUNCTIONS);
    let reader = Reader::of(request.headers(), request.extensions());
    let response = next.run(request).await;
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_bare = content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/plain"));
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE && is_bare {
        let error = ApiError::from(Error::BodyTooLarge { limit: most });
        if is_function {
            return errors::refusal(&error);
        }
        // Whoever has no JavaScript posts a form, and reads what comes.
        count_error(error.code);
        return errors::page(
            StatusCode::PAYLOAD_TOO_LARGE,
            t("plain.too_large"),
            &error.message,
            &reader,
        );
    }
    response
}

async fn read_whole(request: Request<Body>, room: &mut Reservation) -> Result<Request<Body>, ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = body::read_limited(body.into_data_stream(), MAX_CALL_BYTES, room)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge { limit, .. } => ApiError::new(
                ErrorCode::QuestionTooLong,
                t_with("error.call_too_large", &[("limit", &limit.to_string())]),
            ),
            BodyError::BrokenOff { reason } => ApiError::new(
                ErrorCode::BadRequest,
                t_with("error.call_broke_off", &[("reason", &reason)]),
            ),
            BodyError::Memory(error) => Error::from(error).into(),
        })?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// Gives a refused call the status of its kind, where server_fn has not asked us.
async fn set_status(response: Response) -> Response {
    if response.status() != StatusCode::INTERNAL_SERVER_ERROR {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, MAX_CALL_BYTES).await else {
        return parts.status.into_response();
    };
    let Ok(error) = serde_json::from_slice::<ApiError>(&bytes) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    if error.code == ErrorCode::Internal && !error.data.contains_key("request") {
        // Of server_fn's own making: nobody has told the log yet.
        tracing::error!("a server function failed: {error}");
        return errors::refusal(&Error::internal().into());
    }
    parts.status = errors::status(error.code);
    if parts.status != StatusCode::INTERNAL_SERVER_ERROR {
        // A fault of ours was counted where it was told.
        count_error(error.code);
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// Makes a panic an answer, which says by its id where the log tells more, and keeps it from
/// the other requests of the connection.
async fn catch_panics(request: Request<Body>, next: Next) -> Response {
    let is_function = request.uri().path().starts_with(FUNCTIONS);
    let reader = Reader::of(request.headers(), request.extensions());
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let words = panic.downcast_ref::<&str>().copied();
            let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            tracing::error!("a request was not answered: {}", words.unwrap_or("it panicked"));
            errors::fault(Error::internal(), is_function, &reader)
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    async fn broken() -> StatusCode {
        panic!("on purpose")
    }

    /// Status, id in the header, and text of what a visitor gets whose request panics.
    async fn panics(path: &str, accept: &str) -> (StatusCode, String, String) {
        let routes = Router::new().fallback(broken);
        let pace = Pace {
            start: BODY_IDLE,
            bytes_per_second: 1,
        };
        let router = behind_edge(routes, Hosts::default(), MAX_CALL_BYTES, pace);
        let request = Request::builder().uri(path).header(header::ACCEPT, accept);
        let request = request.body(Body::empty()).expect("it is a request");
        let Ok(response) = TowerToHyperService::new(router).call(request).await;
        let id = response.headers()["x-request-id"]
            .to_str()
            .expect("it is plain")
            .to_owned();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), MAX_CALL_BYTES)
            .await
            .expect("it is short");
        (status, id, String::from_utf8_lossy(&bytes).into_owned())
    }

    #[tokio::test]
    async fn whoever_meets_a_panic_is_told_the_id_of_his_request() {
        let (status, id, page) = panics("/", "text/html").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(
            page.contains(&format!("(request {id})")) && page.contains("Open Glimpse"),
            "{page}"
        );
        let (status, id, answer) = panics("/api/page/state", "*/*").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        let error: ApiError = serde_json::from_str(&answer).expect("it is an error");
        assert_eq!(error.data["request"], *id);
        assert!(error.message.contains(&id), "{error}");
    }
}
