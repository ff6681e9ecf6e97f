//! `GET /pictures/{conversation}`: the picture of a conversation, encoded anew.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::ConversationId;
use crate::server::state::Shared;

pub async fn serve(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    match shared.store.preview(&ConversationId(id)) {
        Ok(preview) => (
            [
                (header::CONTENT_TYPE, "image/jpeg"),
                // The address is as secret as the picture; no shared cache may keep it.
                (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
                (header::CONTENT_DISPOSITION, "inline"),
            ],
            preview.to_vec(),
        )
            .into_response(),
        Err(error) => (StatusCode::NOT_FOUND, error.to_string()).into_response(),
    }
}
