//! Being asked to end: Ctrl-C or SIGTERM, once or twice.

use tokio_util::sync::CancellationToken;

/// How urgently the process is asked to end.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// Once: answers are given first, for a while, and what is to be kept is kept.
    pub asked: CancellationToken,
    /// A second time: at once; what has come of answers is kept.
    pub asked_again: CancellationToken,
}

impl Ending {
    /// Hears signals from now on; none that comes later is lost.
    ///
    /// # Errors
    /// The system does not let us hear them.
    pub fn listen() -> std::io::Result<Self> {
        let ending = Self::default();
        let mut signals = Signals::new()?;
        let told = ending.clone();
        tokio::spawn(async move {
            signals.next().await;
            told.asked.cancel();
            signals.next().await;
            told.asked_again.cancel();
        });
        Ok(ending)
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! { _ = self.interrupt.recv() => {}, _ = self.terminate.recv() => {} }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Without a handler there is only the hard way to end the process, which stays.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
