//! What bounds the work that visitors make.

use super::errors::internal;
use crate::chat::Error;

/// Does work that takes a core, on a thread for such work.
///
/// What bounds it, such as a permit, comes back with the result. A visitor who leaves does
/// not end the work: its bounds stay with it until it has ended.
///
/// # Errors
/// The work panicked, which is in the log.
pub async fn run_within<B, T>(bounds: B, work: impl FnOnce() -> T + Send + 'static) -> Result<(B, T), Error>
where
    B: Send + 'static,
    T: Send + 'static,
{
    let working = tokio::task::spawn_blocking(move || {
        let result = work();
        (bounds, result)
    });
    working.await.map_err(|error| internal(&error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::*;

    /// For machines that are busy.
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn work_of_a_visitor_who_left_keeps_its_permit_until_it_ends() {
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).try_acquire_owned().expect("one is free");
        let (end, ended) = channel::<()>();
        let mut running = Box::pin(run_within(permit, move || ended.recv_timeout(LONG)));
        assert!(futures::poll!(&mut running).is_pending());
        drop(running);
        assert_eq!(permits.available_permits(), 0, "it is still at work");
        end.send(()).expect("it listens");
        let free = tokio::time::timeout(LONG, permits.acquire()).await;
        assert!(free.is_ok(), "the work has ended");
    }

    #[tokio::test]
    async fn work_that_panics_is_our_fault_and_gives_its_permit_back() {
        let permits = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&permits).try_acquire_owned().expect("one is free");
        let failed = run_within(permit, || panic!("on purpose")).await.map(drop);
        assert_eq!(failed, Err(Error::internal()));
        assert_eq!(permits.available_permits(), 1);
    }
}
