//! Bodies that were answered before they had been read to their end.
//!
//! A connection that is closed with something unread on it is reset, so that whoever still speaks
//! does not hear the answer: behind nginx a visitor reads "502 Bad Gateway" in place of our
//! sentence. So what is left is read beside the answer and thrown away, for a while.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{HeaderMap, Request, header};
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt};
use tokio::runtime::Handle;

/// How long is read on; nginx too goes on for some seconds.
const LINGERING: Duration = Duration::from_secs(10);

/// Has what nobody reads of a request's body read and thrown away.
pub async fn drain(request: Request<Body>, next: Next) -> Response {
    if !has_body(request.headers()) {
        return next.run(request).await;
    }
    let drained = |body: Body| Body::from_stream(Drained(Some(body.into_data_stream())));
    next.run(request.map(drained)).await
}

/// Reads what was sent, within the limits around us, and throws it away: a proxy that could not
/// finish speaking shows its own error in place of our sentence.
pub async fn read_and_drop(mut body: BodyDataStream) {
    while body.next().await.is_some_and(|chunk| chunk.is_ok()) {}
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

/// A body that is read to its end by somebody; none when it has been.
struct Drained(Option<BodyDataStream>);

impl Stream for Drained {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let chunk = ready!(body.poll_next_unpin(context));
        if !matches!(chunk, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(chunk)
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        if let Some(body) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout(LINGERING, read_and_drop(body)));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::SinkExt;
    use futures::channel::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_nobody_reads_is_read_all_the_same() {
        let (mut sender, chunks) = mpsc::channel::<Result<Bytes, axum::Error>>(0);
        drop(Drained(Some(Body::from_stream(chunks).into_data_stream())));
        for _ in 0..100 {
            let sent = sender.send(Ok(Bytes::from_static(b"more"))).await;
            assert!(sent.is_ok(), "somebody reads");
        }
    }
}
