//! How far a long piece of work is: a bar on a terminal, a line now and then in a log.

use std::io::{self, IsTerminal, Write};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::checkpoint::progress::{Progress, Task};
use crate::checkpoint::readable_bytes;

/// How often a log hears of it.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Less than this is done before a bar could be read.
const WORTH_A_BAR: u64 = 50_000_000;

/// All bars of the process, which know of each other and of the log.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Standard error for the log: its lines go above the bars, not through them.
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Where nobody reads the log any more, work goes on without: told of an error, the log would tell of that.
        BARS.suspend(|| {
            let _ = io::stderr().write_all(bytes);
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}

/// Shows a bar on the terminal, until it is taken away with [`hide`].
pub fn show(bar: ProgressBar, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    BARS.add(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
}

/// Shows how many of so many pictures are done, on a terminal.
pub fn show_count(pictures: usize, done: &'static str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = format!("{{wide_bar}} {{pos}} of {{len}} {done}, {{eta}} left");
    show(ProgressBar::new(pictures as u64), &template)
}

/// A number of pictures in words.
pub fn pictures(count: usize) -> String {
    match count {
        1 => "1 picture".to_owned(),
        count => format!("{count} pictures"),
    }
}

/// Leaves nothing of a bar.
pub fn hide(bar: &ProgressBar) {
    bar.finish_and_clear();
    BARS.remove(bar);
}

/// What a bar says in a terminal of so many columns, never more than a line: `{wide_msg}` is
/// cut off where there is no room for it.
fn template(columns: u16) -> &'static str {
    match columns {
        0..60 => "{wide_msg} {percent}%, {eta} left",
        60..100 => "{wide_msg} {bar:12} {decimal_bytes} of {decimal_total_bytes}, {eta} left",
        _ => "{wide_msg} {bar:30} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left",
    }
}

/// Downloads and loading, told on standard error.
pub struct Terminal;

impl Progress for Terminal {
    fn begin(&self, what: &str, total: u64) -> Box<dyn Task> {
        Box::new(Bytes::new(what.to_owned(), total))
    }
}

/// A number of bytes to be downloaded or loaded.
struct Bytes {
    what: String,
    bar: ProgressBar,
    /// When the log heard of it last; `None` where there is a bar.
    last_line: Option<Mutex<Instant>>,
}

impl Bytes {
    fn new(what: String, total: u64) -> Self {
        // Who asked for errors alone has asked for no bar either.
        let on_terminal = total >= WORTH_A_BAR && io::stderr().is_terminal() && tracing::enabled!(tracing::Level::INFO);
        let bar = if on_terminal {
            let (_, columns) = Term::stderr().size();
            show(ProgressBar::new(total), template(columns))
        } else {
            ProgressBar::with_draw_target(Some(total), indicatif::ProgressDrawTarget::hidden())
        };
        bar.set_message(what.clone());
        Self {
            what,
            bar,
            last_line: (!on_terminal).then(|| Mutex::new(Instant::now())),
        }
    }
}

impl Task for Bytes {
    fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
        let Some(last) = &self.last_line else { return };
        // A thread that finds it taken leaves the line to the other.
        if let Ok(mut last) = last.try_lock()
            && last.elapsed() >= LINE_EVERY
        {
            *last = Instant::now();
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
            tracing::info!("{}: {} of {}", self.what, readable_bytes(done), readable_bytes(total));
        }
    }

    fn set(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        hide(&self.bar);
    }
}
