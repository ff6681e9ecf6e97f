//! Connections: how many there may be, and how long one may take to say what it wants.
//!
//! `axum::serve` bounds neither, so that a few thousand silent ones would use up the process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::{TowerToHyperService, TowerToHyperServiceFuture};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::connections_per_address::Callers;
use super::write_timeout::WriteTimeout;
use super::{Limits, Listeners, Placement};

/// A moment for the system to have descriptors again, as `axum::serve` waits.
const BREATH: Duration = Duration::from_secs(1);

/// What is read ahead of one connection: a head, or a piece of a body.
const BUFFER_BYTES: usize = 64 << 10;

/// Serves as many connections at the same time as the limits say, others wait to be
/// accepted. Returns when `ending` is cancelled and the last answer is given.
pub async fn serve(
    listeners: Listeners,
    routers: watch::Receiver<Router>,
    placement: Placement,
    limits: Limits,
    ending: CancellationToken,
) {
    let free = Arc::new(Semaphore::new(limits.connections as usize));
    let callers = Callers::new(limits.connections_per_address, placement.proxies.clone());
    let placement = Arc::new(placement);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(BUFFER_BYTES);
    loop {
        // Nobody closes the semaphore.
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listeners.accept() => accepted,
            () = ending.cancelled() => break,
        };
        match accepted {
            Ok((stream, from)) => {
                let Some(call) = callers.call(from.ip()) else {
                    tracing::debug!("a connection too many from one address (--max-connections-per-address)");
                    continue;
                };
                send_at_once(&stream);
                let service = ConnectionService {
                    routers: routers.clone(),
                    placement: Arc::clone(&placement),
                    peer: from,
                };
                let (http, ending) = (http.clone(), ending.clone());
                let stream = WriteTimeout::new(stream, limits.write_time);
                tokio::spawn(async move {
                    converse(stream, &http, service, ending).await;
                    drop((permit, call));
                });
            }
            Err(error) => {
                tracing::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    drop(listeners);
    // All of them free: every connection has ended.
    let _ = free.acquire_many(limits.connections).await;
}

/// An answer is many small pieces: none waits for the browser to acknowledge the one before,
/// which it does 40 ms late.
fn send_at_once(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("a connection may be slow to stream: {error}");
    }
}

/// What answers on one connection: tells the router who is at its other end, and takes off the
/// path that we are below.
struct ConnectionService {
    /// The router of the moment: another one answers once the model is loaded.
    routers: watch::Receiver<Router>,
    placement: Arc<Placement>,
    peer: SocketAddr,
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = TowerToHyperServiceFuture<Router, Request<Incoming>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let Placement { proxies, root_path, .. } = &*self.placement;
        proxies.identify(&mut request, self.peer);
        root_path.place(&mut request, proxies.trusts(self.peer.ip()));
        TowerToHyperService::new(self.routers.borrow().clone()).call(request)
    }
}

async fn converse(
    stream: WriteTimeout<TcpStream>,
    http: &http1::Builder,
    service: ConnectionService,
    ending: CancellationToken,
) {
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // A visitor who hangs up is no error of ours.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = ending.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn pieces_of_an_answer_do_not_wait_for_each_other() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let _visitor = TcpStream::connect(address).await.expect("it listens");
        let (stream, _) = listener.accept().await.expect("the visitor has come");
        send_at_once(&stream);
        assert!(stream.nodelay().expect("the connection is open"));
    }
}
