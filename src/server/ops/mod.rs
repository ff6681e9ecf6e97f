//! For whoever runs the server: whether it lives and the model answers (`health`), and what it does,
//! for programs (`metrics`, `model_states`) and people (`status`), who have to be among the `watchers`;
//! and how to have it otherwise (`setup`), for who sits at the machine.

pub mod health;
pub mod metrics;
mod model_states;
mod plots;
pub mod setup;
mod status;
pub mod watchers;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
pub use model_states::{ModelState, ModelStates};
pub use setup::Installation;
pub use watchers::{Watcher, Watchers};

use super::state::AppState;

/// `/metrics`, `/status` and `/setup`.
pub fn routes(watchers: Arc<Watchers>) -> Router<AppState> {
    Router::new()
        .route("/metrics", get(metrics::serve))
        .route("/status", get(status::serve))
        .route_layer(from_fn_with_state(watchers, watchers::let_in))
        .merge(
            Router::new()
                .route("/setup", get(setup::serve))
                .route_layer(from_fn(setup::guard)),
        )
}

/// `/metrics` while the model is being loaded.
pub fn routes_while_loading(watchers: Arc<Watchers>) -> Router {
    Router::new()
        .route("/metrics", get(metrics::serve_while_loading))
        .route_layer(from_fn_with_state(watchers, watchers::let_in))
}
