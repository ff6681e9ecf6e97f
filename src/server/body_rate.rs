//! Bodies that come too slowly: they would hold their connections for as long as they like.

use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt};
use tokio::time::{Instant, timeout};

/// How fast a body has to come, on the whole.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// For a start, however little comes.
    pub start: Duration,
    pub bytes_per_second: u32,
}

impl Pace {
    fn time_for(&self, bytes: usize) -> Duration {
        self.start + Duration::from_secs_f64(bytes as f64 / f64::from(self.bytes_per_second.max(1)))
    }
}

pub async fn keep(State(pace): State<Pace>, request: Request<Body>, next: Next) -> Response {
    next.run(request.map(|body| Body::from_stream(paced(body.into_data_stream(), pace))))
        .await
}

/// The same body, which breaks off once it is behind.
fn paced<E: Into<BoxError> + 'static>(
    body: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    pace: Pace,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send {
    let state = Some((Box::pin(body), 0, Duration::ZERO));
    futures::stream::unfold(state, move |state| async move {
        let (mut body, received, waited) = state?;
        // Only while we wait for the sender: it may be we who are slow.
        let began = Instant::now();
        let left = pace.time_for(received).saturating_sub(waited);
        match timeout(left, body.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(chunk))) => {
                let received = received + chunk.len();
                Some((Ok(chunk), Some((body, received, waited + began.elapsed()))))
            }
            Ok(Some(Err(error))) => Some((Err(error.into()), None)),
            Err(_) => {
                let least = pace.bytes_per_second;
                let slow = format!("it came slower than the {least} bytes a second of --min-body-rate");
                Some((Err(slow.into()), None))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(start: Duration) -> Pace {
        Pace {
            start,
            bytes_per_second: 1 << 20,
        }
    }

    #[tokio::test]
    async fn a_body_that_stands_still_is_cut_and_names_the_limit() {
        let drop_by_drop = futures::stream::once(async { Ok::<_, BoxError>(Bytes::from_static(b"x")) });
        let body = drop_by_drop.chain(futures::stream::pending());
        let mut body = Box::pin(paced(body, pace(Duration::from_millis(20))));
        let mut last = body.next().await;
        while let Some(Ok(_)) = last {
            last = body.next().await;
        }
        let error = last.expect("it does not just end").expect_err("it is cut").to_string();
        assert!(error.contains("--min-body-rate"), "{error}");
        assert!(body.next().await.is_none());
    }

    #[tokio::test]
    async fn a_body_that_is_fast_enough_comes_whole() {
        let chunks = (0..3).map(|_| Ok::<_, BoxError>(Bytes::from_static(b"abc")));
        let body = paced(futures::stream::iter(chunks), pace(Duration::from_secs(600)));
        let whole: Vec<_> = body.map(|chunk| chunk.expect("it is in time")).collect().await;
        assert_eq!(whole.concat(), b"abcabcabc");
    }

    #[tokio::test]
    async fn a_body_that_waits_for_us_is_not_slow() {
        let chunks = futures::stream::iter(0..3).then(|_| async {
            // It takes no time, and is not there at once.
            tokio::task::yield_now().await;
            Ok::<_, BoxError>(Bytes::from_static(b"abc"))
        });
        let mut body = Box::pin(paced(chunks, pace(Duration::from_secs(1))));
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            assert!(body.next().await.is_some_and(|chunk| chunk.is_ok()));
        }
    }

    #[test]
    fn what_has_come_earns_time() {
        assert_eq!(pace(Duration::from_secs(10)).time_for(5 << 20), Duration::from_secs(15));
    }
}
