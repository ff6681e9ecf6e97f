//! The server: axum, and the server's side of the page.
//!
//! [`serve`] is the way in. A request goes through the layers of [`router`] to one of:
//! `page` (server functions, the form without JavaScript, pictures), a file of the page
//! (`assets`), or `ops` (health, and what the server does).
//! `connections` bounds how many there may be, `visitor` finds out who asks, and errors become a
//! status and a sentence in `errors`. What is asked is done by [`service`](crate::service).

mod accent;
mod access_log;
mod assets;
mod body;
mod body_rate;
mod client_address;
mod connections;
mod connections_per_address;
mod cookie;
mod csp;
mod customization;
mod errors;
mod host_and_origin;
mod language;
mod limits;
mod listening;
pub mod multipart;
mod ops;
pub mod page;
mod plain_page;
mod root_path;
mod router;
mod signals;
mod starting;
mod state;
mod unread_body;
mod visitor;
mod write_timeout;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use signals::Ending;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use accent::Accent;
pub use assets::has_page;
pub use body_rate::Pace;
pub use client_address::{Network, TrustedProxies};
pub use customization::Customization;

pub use crate::api::Branding;
pub use host_and_origin::{HostName, Hosts};
pub use limits::Limits;
pub use listening::Listeners;
pub use ops::{Installation, ModelState, ModelStates, Watcher, Watchers};
pub use root_path::RootPath;
pub use state::AppState;

use crate::models::auto::Machine;
use crate::service::Service;

/// How long connections may go on after the last answer, when the process was asked to end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long saving may take when the process was asked a second time: a disk takes
/// milliseconds, and one that hangs is not waited for.
const LAST_SAVE: Duration = Duration::from_secs(1);

/// Where visitors find this server.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// The names that it is asked by.
    pub hosts: Hosts,
    /// The proxies before it.
    pub proxies: TrustedProxies,
    /// The path that it is below.
    pub root_path: RootPath,
    /// Who may see what it does.
    pub watchers: Watchers,
}

/// Serves until the process is asked to end (Ctrl-C or SIGTERM): a page that says so until
/// the service is there, whose model may take minutes to load, and then what it does.
///
/// Asked to end it takes no more questions, and answers what has begun for as long as
/// [`Limits::drain_time`]; asked again it ends at once. Either way what has come of answers is
/// kept.
///
/// # Errors
/// Of loading, and of the system where it does not let us hear signals.
pub async fn serve<E: From<std::io::Error>>(
    listeners: Listeners,
    loading: impl Future<Output = Result<Service, E>>,
    limits: Limits,
    placement: Placement,
    customization: Customization,
    machine: Option<Machine>,
) -> Result<(), E> {
    let address = listeners.local_addr()?;
    let ending = Ending::listen()?;
    let closing = CancellationToken::new();
    let hosts = placement.hosts.clone();
    let watchers = Arc::new(placement.watchers.clone());
    tokio::spawn(ops::metrics::record(ending.asked.clone()));
    let starting = starting::router(hosts.clone(), Arc::clone(&watchers), limits.pace);
    let (answering, router) = watch::channel(starting);
    let serving = tokio::spawn(connections::serve(
        listeners,
        router,
        placement,
        limits,
        closing.clone(),
    ));
    let service = tokio::select! {
        loaded = loading => Arc::new(loaded?),
        () = ending.asked.cancelled() => return Ok(()),
    };
    let installation = Installation {
        address,
        is_local: hosts.is_local,
        machine,
    };
    let state = AppState::new(Arc::clone(&service), limits, customization, installation);
    drop(answering.send_replace(router::router(state, hosts, watchers)));
    tracing::info!("open http://{} in a browser", browsable(address));
    if address.ip().is_unspecified() || address.ip().is_loopback() {
        tracing::info!(
            "on this machine http://{}/setup has more models, and how to make the page your own",
            browsable(address)
        );
    }
    ending.asked.cancelled().await;
    drain(&service, limits.drain_time, &ending).await;
    tracing::info!("ending: answers stop here");
    closing.cancel();
    // Whoever is still connected then does not hold the process.
    let served = async {
        // An error is a panic, which has been told.
        let last_words = tokio::time::timeout(LAST_WORDS, serving);
        tokio::select! { _ = last_words => {}, () = ending.asked_again.cancelled() => {} }
    };
    let end = async { tokio::join!(served, service.end()) };
    let at_once = async {
        ending.asked_again.cancelled().await;
        tokio::time::sleep(LAST_SAVE).await;
    };
    tokio::select! { _ = end => {}, () = at_once => {} }
    Ok(())
}

/// Lets answers that have begun be given, for this long at most, or until the process is asked
/// a second time to end.
async fn drain(service: &Service, time: Duration, ending: &Ending) {
    if time.is_zero() {
        return;
    }
    tracing::info!(
        "asked to end: answers that have begun have {} seconds (--drain-seconds); a second time ends them at once",
        time.as_secs()
    );
    tokio::select! {
        _ = tokio::time::timeout(time, service.drain()) => {}
        () = ending.asked_again.cancelled() => {}
    }
}

/// An address that a browser on this machine can open.
fn browsable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() || address.ip().is_loopback() {
        return format!("localhost:{}", address.port());
    }
    address.to_string()
}
