//! The gates over HTTP, for tests of a whole server.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::{Failure, Gates, GatesState};

/// How long a test waits for a state.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the gates cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("{0} is not on this machine alone. Control a script on 127.0.0.1 or [::1].")]
    NotLoopback(SocketAddr),
    #[error("{address} cannot be listened on: {error}. Choose another one.")]
    Address { address: SocketAddr, error: std::io::Error },
}

/// Serves the gates on an address of loopback, as long as the process lives; gives the address.
///
/// # Errors
/// Another address than one of loopback, or one that is taken.
pub fn serve_control(address: SocketAddr, gates: Gates) -> Result<SocketAddr, ControlError> {
    if !address.ip().is_loopback() {
        return Err(ControlError::NotLoopback(address));
    }
    let failed = |error| ControlError::Address { address, error };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let serve = move || runtime.block_on(serve(listener, router(gates)));
    let named = std::thread::Builder::new().name("script-control".into());
    named.spawn(serve).map_err(failed)?;
    Ok(bound)
}

async fn serve(listener: TcpListener, router: Router) {
    let served = async { axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await };
    if let Err(error) = served.await {
        tracing::error!("the script's control has ended: {error}");
    }
}

fn router(gates: Gates) -> Router {
    Router::new()
        .route("/begin", post(begin))
        .route("/release", post(release))
        .route("/fail", post(fail))
        .route("/break", post(break_device))
        .route("/open", post(open))
        .route("/close", post(close))
        .route("/answers", post(answers))
        .route("/state", get(state))
        .route("/wait", get(wait))
        .with_state(gates)
}

#[derive(Deserialize)]
struct Begin {
    #[serde(default = "one")]
    answers: usize,
}

fn one() -> usize {
    1
}

async fn begin(State(gates): State<Gates>, Query(begin): Query<Begin>) -> Json<GatesState> {
    gates.begin(begin.answers);
    Json(gates.state())
}

#[derive(Deserialize)]
struct Release {
    /// A number, or `all`.
    tokens: Option<String>,
}

async fn release(
    State(gates): State<Gates>,
    Query(release): Query<Release>,
) -> Result<Json<GatesState>, (StatusCode, &'static str)> {
    match release.tokens.as_deref() {
        Some("all") => gates.release_answer(),
        None => gates.release(1),
        Some(number) => match number.parse() {
            Ok(tokens) => gates.release(tokens),
            Err(_) => return Err((StatusCode::BAD_REQUEST, "tokens is a number, or all")),
        },
    }
    Ok(Json(gates.state()))
}

#[derive(Deserialize)]
struct Fail {
    #[serde(default)]
    error: Failure,
}

async fn fail(State(gates): State<Gates>, Query(fail): Query<Fail>) -> Json<GatesState> {
    gates.fail(fail.error);
    Json(gates.state())
}

async fn break_device(State(gates): State<Gates>) -> Json<GatesState> {
    gates.break_device();
    Json(gates.state())
}

async fn open(State(gates): State<Gates>) -> Json<GatesState> {
    gates.open();
    Json(gates.state())
}

async fn close(State(gates): State<Gates>) -> Json<GatesState> {
    gates.close();
    Json(gates.state())
}

async fn answers(State(gates): State<Gates>, Json(answers): Json<HashMap<String, Vec<String>>>) -> Json<GatesState> {
    gates.add_answers(answers);
    Json(gates.state())
}

async fn state(State(gates): State<Gates>) -> Json<GatesState> {
    Json(gates.state())
}

/// The numbers that a state shall have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    waiting: Option<usize>,
    running: Option<usize>,
    sent: Option<usize>,
    begun: Option<usize>,
    answered: Option<usize>,
    failed: Option<usize>,
    cancelled: Option<usize>,
}

impl Wanted {
    fn is_met(&self, state: &GatesState) -> bool {
        let numbers = [
            (self.waiting, state.waiting),
            (self.running, state.running),
            (self.sent, state.sent),
            (self.begun, state.begun),
            (self.answered, state.answered),
            (self.failed, state.failed),
            (self.cancelled, state.cancelled),
        ];
        numbers
            .iter()
            .all(|(wanted, found)| wanted.is_none_or(|wanted| wanted == *found))
    }
}

async fn wait(State(gates): State<Gates>, Query(wanted): Query<Wanted>) -> (StatusCode, Json<GatesState>) {
    let waited = tokio::task::spawn_blocking(move || gates.wait_until(PATIENCE, |state| wanted.is_met(state)));
    match waited.await {
        Ok(Ok(state)) => (StatusCode::OK, Json(state)),
        Ok(Err(state)) => (StatusCode::REQUEST_TIMEOUT, Json(state)),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Json(GatesState::default())),
    }
}
