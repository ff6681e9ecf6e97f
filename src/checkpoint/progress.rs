//! How far a long piece of work is: a bar on a terminal, a line now and then in a log.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::memory::gigabytes;

/// How often a log hears of it.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Less than this is done before a bar could be read.
const WORTH_A_BAR: u64 = 50_000_000;

/// A number of bytes to be downloaded or loaded.
pub struct Progress {
    what: String,
    bar: ProgressBar,
    /// When the log heard of it last; `None` where there is a bar.
    last_line: Option<Mutex<Instant>>,
}

impl Progress {
    /// `what` says what is done to the bytes, as in `loading blip2-opt-2.7b`.
    pub fn new(what: String, total: u64) -> Self {
        // Who asked for errors alone has asked for no bar either.
        let on_terminal =
            total >= WORTH_A_BAR && std::io::stderr().is_terminal() && tracing::enabled!(tracing::Level::INFO);
        let target = if on_terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let style = ProgressStyle::with_template(
            "{msg} {bar:30} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style);
        bar.set_message(what.clone());
        Self {
            what,
            bar,
            last_line: (!on_terminal).then(|| Mutex::new(Instant::now())),
        }
    }

    /// So many bytes more are done.
    pub fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
        let Some(last) = &self.last_line else { return };
        // A thread that finds it taken leaves the line to the other.
        if let Ok(mut last) = last.try_lock()
            && last.elapsed() >= LINE_EVERY
        {
            *last = Instant::now();
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
            tracing::info!("{}: {} of {}", self.what, gigabytes(done), gigabytes(total));
        }
    }

    /// So many bytes are done in all, whatever was said before.
    pub fn set(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
