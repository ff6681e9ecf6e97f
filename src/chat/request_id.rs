//! The id of a request: a visitor whom a fault met reads it, and the host finds it in the log.

use rand::Rng;
use serde::{Deserialize, Serialize};
use tracing::Instrument;

/// Of an id that was given to us, which stands in our log and on the visitor's page.
const MAX_CHARS: usize = 64;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// Names a request, in the log and to whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestId(String);

impl RequestId {
    /// One that no other request has.
    pub fn random() -> Self {
        Self(format!("{:016x}", rand::rng().random::<u64>()))
    }

    /// A text that is fit to be one: short, and plain in a log and in a sentence.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_fit = (1..=MAX_CHARS).contains(&text.len()) && text.bytes().all(is_plain);
        is_fit.then(|| Self(text.to_owned()))
    }

    /// As it is sent back in `x-request-id` and stands in the log.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Of the request that is being worked for; none where it is nobody's.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Works for this request: what fails meanwhile has its id, and so has every line of the log.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        // Of the highest level: a log of errors alone names their requests too.
        let span = tracing::error_span!("request", id = %self);
        CURRENT.scope(self, work).instrument(span).await
    }

    /// Work that begins in a task of its own goes on for the request that began it.
    pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
        let current = Self::current();
        async move {
            match current {
                Some(request) => request.scope(work).await,
                None => work.await,
            }
        }
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_in_another_task_is_still_for_the_request_that_began_it() {
        assert_eq!(RequestId::current(), None);
        let request = RequestId::random();
        let in_another_task = || tokio::spawn(RequestId::carry(async { RequestId::current() }));
        let carried = request.clone().scope(async move { in_another_task().await });
        assert_eq!(carried.await.expect("it does not panic"), Some(request));
        let nobodys = tokio::spawn(RequestId::carry(async { RequestId::current() }));
        assert_eq!(nobodys.await.expect("it does not panic"), None);
    }

    #[test]
    fn what_is_long_or_could_be_anything_is_no_id() {
        let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
        assert_eq!(RequestId::parse(uuid).as_ref().map(RequestId::as_str), Some(uuid));
        for wrong in ["", "two words", "a\nline", "<b>", "é", &"0".repeat(65)] {
            assert_eq!(RequestId::parse(wrong), None, "{wrong}");
        }
    }
}
