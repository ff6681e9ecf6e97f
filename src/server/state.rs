//! What all requests share.

use std::sync::Arc;

use axum::extract::FromRef;
use leptos::config::LeptosOptions;

use super::{Customization, Installation, Limits, assets};
use crate::service::Service;

/// Where `cargo leptos watch` tells the page to reload, as Cargo.toml says.
const RELOAD_PORT: u32 = 7861;

/// Cheap to clone: everything in it is shared.
#[derive(Clone)]
pub struct AppState {
    pub leptos: LeptosOptions,
    pub service: Arc<Service>,
    pub limits: Limits,
    pub customization: Arc<Customization>,
    pub installation: Arc<Installation>,
}

impl FromRef<AppState> for LeptosOptions {
    fn from_ref(state: &AppState) -> Self {
        state.leptos.clone()
    }
}

impl FromRef<AppState> for Arc<Service> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.service)
    }
}

impl FromRef<AppState> for Arc<Customization> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.customization)
    }
}

impl AppState {
    /// Leptos puts the address where the server listens into its options, and nothing is opened here.
    pub fn new(
        service: Arc<Service>,
        limits: Limits,
        customization: Customization,
        installation: Installation,
    ) -> Self {
        // Set here rather than read from Cargo.toml, so that the program runs anywhere.
        let leptos = LeptosOptions::builder()
            .output_name("glimpse")
            .site_root("target/site")
            .site_pkg_dir(assets::package())
            .site_addr(installation.address)
            .reload_port(RELOAD_PORT)
            .build();
        Self {
            leptos,
            service,
            limits,
            customization: Arc::new(customization),
            installation: Arc::new(installation),
        }
    }
}
