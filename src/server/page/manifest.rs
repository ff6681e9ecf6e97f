//! `GET /manifest.webmanifest`: what the page is called and looks like where a visitor installs it, and that pictures
//! can be shared with it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::SHARE;
use crate::api::Base;
use crate::app::GROUNDS;
use crate::server::assets;
use crate::server::customization::Customization;

/// The manifest, whose addresses are below the page's own.
pub async fn serve(State(customization): State<Arc<Customization>>, request: Request) -> Response {
    let base: Base = request.extensions().get().cloned().unwrap_or_default();
    let icon = |name: &str, side: u32, purpose: &str| {
        json!({
            "src": base.at(&assets::address(&format!("/icons/{name}-{side}.png"))),
            "sizes": format!("{side}x{side}"),
            "type": "image/png",
            "purpose": purpose,
        })
    };
    let branding = &customization.branding;
    let mut manifest = json!({
        "id": base.at("/"),
        "name": branding.title,
        "short_name": branding.title,
        "start_url": base.at("/"),
        "scope": base.at("/"),
        "display": "standalone",
        "background_color": GROUNDS[0],
        "theme_color": GROUNDS[0],
        "icons": [
            icon("icon", 192, "any"),
            icon("icon", 512, "any"),
            icon("maskable", 192, "maskable"),
            icon("maskable", 512, "maskable"),
        ],
        "share_target": {
            "action": base.at(SHARE),
            "method": "POST",
            "enctype": "multipart/form-data",
            "params": {"files": [{"name": super::functions::PICTURE_FIELD, "accept": ["image/*"]}]},
        },
    });
    if let Some(description) = &branding.description {
        manifest["description"] = json!(description);
    }
    let mut response = Json(manifest).into_response();
    let kind = header::HeaderValue::from_static("application/manifest+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
