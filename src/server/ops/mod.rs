//! For whoever runs the server: whether it lives and the model answers (`health`), and what it does,
//! for programs (`metrics`, `model_states`) and people (`status`), who have to be among the `watchers`.

pub mod health;
pub mod metrics;
mod model_states;
mod plots;
mod status;
pub mod watchers;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
pub use model_states::{ModelState, ModelStates};
pub use watchers::{Watcher, Watchers};

use super::state::AppState;

/// `/metrics` and `/status`.
pub fn routes(watchers: Arc<Watchers>) -> Router<AppState> {
    Router::new()
        .route("/metrics", get(metrics::serve))
        .route("/status", get(status::serve))
        .route_layer(from_fn_with_state(watchers, watchers::let_in))
}

/// `/metrics` while the model is being loaded.
pub fn routes_while_loading(watchers: Arc<Watchers>) -> Router {
    Router::new()
        .route("/metrics", get(metrics::serve_while_loading))
        .route_layer(from_fn_with_state(watchers, watchers::let_in))
}
