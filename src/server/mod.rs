//! axum: router, state, limits, errors to HTTP, static files.
pub mod functions;
