//! Whether the process lives, and whether the model answers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::engine::Health;
use crate::service::Service;

/// `GET /healthz`: the process lives.
pub async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /readyz`: the model is loaded and takes questions.
pub async fn readyz(State(service): State<Arc<Service>>) -> Response {
    let model = service.model();
    if service.is_draining() {
        let ending = json!({ "status": "ending", "model": model.name });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(ending)).into_response();
    }
    match service.health() {
        Health::Ready => Json(json!({
            "status": "ready", "model": model.name, "device": model.device, "dtype": model.dtype
        }))
        .into_response(),
        // Why is in the log: it may say what strangers need not know.
        Health::Failed(_) => {
            let failed = json!({ "status": "failed", "model": model.name });
            (StatusCode::SERVICE_UNAVAILABLE, Json(failed)).into_response()
        }
    }
}
