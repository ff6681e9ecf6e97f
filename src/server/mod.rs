//! The server: axum, and the server's side of the page.
//!
//! [`serve`] is the way in. A request goes through the layers of [`router`] to one of:
//! `page` (server functions, the form without JavaScript, pictures), a file of the page
//! (`assets`), or `ops` (health).
//! `connections` bounds how many there may be. `answers` lets an answer go on when a connection is lost. Errors become a status and a
//! sentence in `errors`, nowhere else.

mod access;
mod answers;
mod asking;
mod assets;
mod budget;
mod callers;
mod client;
mod connections;
mod convert;
mod csp;
mod errors;
mod hosts;
mod limits;
mod listening;
pub mod memory;
pub mod multipart;
mod ops;
mod options;
mod pace;
pub mod page;
mod root_path;
mod router;
pub mod settings;
mod state;
mod upload;
mod write_timeout;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use assets::has_page;
pub use client::{Network, TrustedProxies};
pub use hosts::Hosts;
pub use limits::Limits;
pub use listening::Listeners;
pub use pace::Pace;
pub use root_path::RootPath;
pub use state::AppState;

use crate::engine::Engine;
use crate::remote::Fetcher;
use crate::store::LegacyStore as Store;

/// How long connections may go on when the process was asked to end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Where visitors find this server.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// The names that it is asked by.
    pub hosts: Hosts,
    /// The proxies before it.
    pub proxies: TrustedProxies,
    /// The path that it is below.
    pub root_path: RootPath,
}

/// Serves until the process is asked to end (Ctrl-C or SIGTERM).
///
/// Without a `fetcher` visitors put no pictures in from addresses.
pub async fn serve(
    listeners: Listeners,
    engine: Arc<dyn Engine>,
    store: Store,
    limits: Limits,
    fetcher: Option<Fetcher>,
    placement: Placement,
) -> std::io::Result<()> {
    let address = listeners.local_addr()?;
    let state = AppState::new(engine, store, limits, fetcher, address);
    let shared = Arc::clone(&state.shared);
    let ending = CancellationToken::new();
    tracing::info!("open http://{} in a browser", browsable(address));
    let router = router::router(state, placement.hosts.clone());
    let serving = connections::serve(listeners, router, placement, limits, ending.clone());
    // Whoever is still connected then does not hold the process.
    let last_words = async {
        ending.cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    let served = async {
        tokio::select! { () = serving => {}, () = last_words => {} }
    };
    let kept = async {
        asked_to_end().await;
        tracing::info!("ending: answers stop here");
        ending.cancel();
        keep_everything(&shared).await;
    };
    // A second signal ends it whatever is not saved.
    let asked_again = async {
        ending.cancelled().await;
        asked_to_end().await;
    };
    let end = async { tokio::join!(served, kept) };
    tokio::select! { _ = end => {}, () = asked_again => {} }
    Ok(())
}

/// Ends all answers, and waits until what has come of them is saved.
async fn keep_everything(shared: &state::Shared) {
    shared.answers.end().await;
    let store = Arc::clone(&shared.store);
    // An error is a panic, which has been told.
    let _ = tokio::task::spawn_blocking(move || store.flush()).await;
}

/// An address that a browser on this machine can open.
fn browsable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() || address.ip().is_loopback() {
        return format!("localhost:{}", address.port());
    }
    address.to_string()
}

async fn asked_to_end() {
    let interrupt = async {
        // Without a handler there is only the hard way to end the process, which stays.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! { () = interrupt => {}, () = terminate => {} }
}
