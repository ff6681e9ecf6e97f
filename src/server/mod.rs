//! The server: axum, and the server's side of the page.
//!
//! [`serve`] is the way in. A request goes through the layers of [`router`] to one of:
//! `page` (server functions, the form without JavaScript, pictures), a file of the page
//! (`assets`), or `ops` (health).
//! `connections` bounds how many there may be, `visitor` finds out who asks, and errors become a
//! status and a sentence in `errors`. What is asked is done by [`service`](crate::service).

mod access;
mod assets;
mod body;
mod callers;
mod client;
mod connections;
mod csp;
mod errors;
mod hosts;
mod limits;
mod listening;
pub mod multipart;
mod ops;
mod pace;
pub mod page;
mod root_path;
mod router;
mod state;
mod visitor;
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

use crate::service::Service;

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
pub async fn serve(
    listeners: Listeners,
    service: Service,
    limits: Limits,
    placement: Placement,
) -> std::io::Result<()> {
    let address = listeners.local_addr()?;
    let service = Arc::new(service);
    let state = AppState::new(Arc::clone(&service), limits, address);
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
        service.end().await;
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
