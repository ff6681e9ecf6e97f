//! Whether the process lives, and whether the model answers.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use std::sync::Arc;

use crate::server::state::Shared;

/// `GET /healthz`: the process lives.
pub async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /readyz`: the model is loaded and takes questions. The server listens to nobody before.
pub async fn readyz(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let model = shared.model_info();
    Json(json!({ "status": "ready", "model": model.name, "device": model.device, "dtype": model.dtype }))
}
