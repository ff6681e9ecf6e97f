//! Bodies that come too slowly: they would hold their connections for as long as they like.

use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt};
use tokio::time::{Instant, timeout_at};

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
    let began = Instant::now();
    let body = Some(Box::pin(body));
    futures::stream::unfold((body, 0), move |(body, received)| async move {
        let mut body = body?;
        match timeout_at(began + pace.time_for(received), body.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(chunk))) => {
                let received = received + chunk.len();
                Some((Ok(chunk), (Some(body), received)))
            }
            Ok(Some(Err(error))) => Some((Err(error.into()), (None, received))),
            Err(_) => {
                let least = pace.bytes_per_second;
                let slow = format!("it came slower than the {least} bytes a second of --min-body-rate");
                Some((Err(slow.into()), (None, received)))
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

    #[test]
    fn what_has_come_earns_time() {
        assert_eq!(pace(Duration::from_secs(10)).time_for(5 << 20), Duration::from_secs(15));
    }
}
