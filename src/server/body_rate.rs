//! Bodies that come too slowly: they would hold their connections for as long as they like.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt};
use tokio::time::{Instant, timeout};

use super::errors;
use super::router::FUNCTIONS;
use crate::api::ApiError;
use crate::chat::Error;

/// How fast a body has to come, on the whole.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// For a start, however little comes.
    pub start: Duration,
    /// On average, behind the start; 0 counts as 1.
    pub bytes_per_second: u32,
}

impl Pace {
    fn time_for(&self, bytes: usize) -> Duration {
        self.start + Duration::from_secs_f64(bytes as f64 / f64::from(self.bytes_per_second.max(1)))
    }
}

/// A body that came too slowly.
#[derive(Debug, thiserror::Error)]
#[error("it came slower than the {0} bytes a second that are waited for")]
struct TooSlow(u32);

pub async fn keep(State(pace): State<Pace>, request: Request<Body>, next: Next) -> Response {
    let is_function = request.uri().path().starts_with(FUNCTIONS);
    let is_cut = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&is_cut);
    let paced = |body: Body| {
        paced(body.into_data_stream(), pace, move || {
            noted.store(true, Ordering::Relaxed)
        })
    };
    let response = next.run(request.map(|body| Body::from_stream(paced(body)))).await;
    if !is_cut.load(Ordering::Relaxed) {
        return response;
    }
    let bytes_per_second = pace.bytes_per_second;
    let error = ApiError::from(Error::BodyTooSlow { bytes_per_second });
    // Whoever read the body knows only that it broke off; a form's page says why in its own words.
    if is_function { errors::refusal(&error) } else { response }
}

/// The same body, which breaks off once it is behind, and then says so.
fn paced<E: Into<BoxError> + 'static>(
    body: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    pace: Pace,
    cut: impl FnOnce() + Send + 'static,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send {
    let state = Some((Box::pin(body), 0, Duration::ZERO, cut));
    futures::stream::unfold(state, move |state| async move {
        let (mut body, received, waited, cut) = state?;
        // Only while we wait for the sender: it may be we who are slow.
        let began = Instant::now();
        let left = pace.time_for(received).saturating_sub(waited);
        match timeout(left, body.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(chunk))) => {
                let received = received + chunk.len();
                Some((Ok(chunk), Some((body, received, waited + began.elapsed(), cut))))
            }
            Ok(Some(Err(error))) => Some((Err(error.into()), None)),
            Err(_) => {
                cut();
                Some((Err(TooSlow(pace.bytes_per_second).into()), None))
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
    async fn a_body_that_stands_still_is_cut_and_told_so() {
        let drop_by_drop = futures::stream::once(async { Ok::<_, BoxError>(Bytes::from_static(b"x")) });
        let body = drop_by_drop.chain(futures::stream::pending());
        let is_cut = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&is_cut);
        let mut body = Box::pin(paced(body, pace(Duration::from_millis(20)), move || {
            noted.store(true, Ordering::Relaxed)
        }));
        let mut last = body.next().await;
        while let Some(Ok(_)) = last {
            last = body.next().await;
        }
        let error = last.expect("it does not just end").expect_err("it is cut").to_string();
        assert!(error.contains("1048576 bytes a second"), "{error}");
        assert!(is_cut.load(Ordering::Relaxed));
        assert!(body.next().await.is_none());
    }

    #[tokio::test]
    async fn a_body_that_is_fast_enough_comes_whole() {
        let chunks = (0..3).map(|_| Ok::<_, BoxError>(Bytes::from_static(b"abc")));
        let body = paced(futures::stream::iter(chunks), pace(Duration::from_secs(600)), || {});
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
        let mut body = Box::pin(paced(chunks, pace(Duration::from_secs(3)), || {}));
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(1200)).await;
            assert!(body.next().await.is_some_and(|chunk| chunk.is_ok()));
        }
    }

    #[test]
    fn what_has_come_earns_time() {
        assert_eq!(pace(Duration::from_secs(10)).time_for(5 << 20), Duration::from_secs(15));
    }
}
