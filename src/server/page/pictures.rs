//! `GET /pictures/{key}`: the picture of a conversation, encoded anew.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::api::ApiError;
use crate::chat::{Error, Missing, PreviewKey};
use crate::server::errors;
use crate::server::ops::metrics::count_error;
use crate::service::Service;

/// The address is as secret as the picture; no shared cache may keep it, and a browser no longer
/// than a conversation that was deleted may still be seen.
const CACHED: &str = "private, max-age=3600, immutable";

/// The JPEG that was made of the picture; a plain sentence with 404 where the key names none.
/// Whoever knows the key may see it: an image tag sends no visitor's secret.
pub async fn serve(State(service): State<Arc<Service>>, key: Result<Path<String>, PathRejection>) -> Response {
    let missing = Error::NotFound { what: Missing::Picture };
    // A key that is no text is no key either.
    let found = match key.ok().and_then(|Path(key)| PreviewKey::parse(&key)) {
        Some(key) => service.preview(&key).await,
        None => Err(missing),
    };
    match found {
        Ok(preview) => (
            [
                (header::CONTENT_TYPE, "image/jpeg"),
                (header::CACHE_CONTROL, CACHED),
                (header::CONTENT_DISPOSITION, "inline"),
            ],
            preview,
        )
            .into_response(),
        Err(error) => {
            let error = ApiError::from(error);
            count_error(error.code);
            (errors::status(error.code), error.message).into_response()
        }
    }
}
