//! Standard output: whether what is printed there arrives.

use std::error::Error;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use super::log::tell;

/// Whether the program was started without a standard output (`>&-`). Rust opens `/dev/null` in its
/// place before `main`, where an answer would be lost without a word.
pub fn is_closed() -> bool {
    at_start::was_closed()
}

pub const CLOSED: &str = "Standard output is closed, and nothing that is printed would arrive. Start glimpse without >&-, or send it to a file or /dev/null.";

/// Prints what clap has to say, help or what was wrong, and gives the exit status: 1 where that
/// does not arrive.
pub fn say(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() && is_closed() {
        tell(CLOSED);
        return ExitCode::FAILURE;
    }
    match error.print().and_then(|()| std::io::stdout().flush()) {
        Err(lost) if lost.kind() != ErrorKind::BrokenPipe && !error.use_stderr() => {
            tell(not_written(&lost));
            ExitCode::FAILURE
        }
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
    }
}

/// The same error, or what it means where it is of a disk without room, which only what is written
/// can meet.
pub fn explained(error: Box<dyn Error + Send + Sync>) -> Box<dyn Error + Send + Sync> {
    match error.downcast_ref::<std::io::Error>() {
        Some(full) if full.kind() == ErrorKind::StorageFull => not_written(full).into(),
        _ => error,
    }
}

fn not_written(error: &std::io::Error) -> String {
    format!("Standard output cannot be written to: {error}. Send it to where there is room.")
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod at_start {
    use std::sync::atomic::{AtomicBool, Ordering};

    static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

    pub fn was_closed() -> bool {
        WAS_CLOSED.load(Ordering::Relaxed)
    }

    extern "C" fn look() {
        // SAFETY: it asks for a descriptor's flags, and changes nothing.
        let is_open = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) } != -1;
        WAS_CLOSED.store(!is_open, Ordering::Relaxed);
    }

    // SAFETY: the system's loader calls what stands there before Rust's runtime begins; `look` needs
    // nothing of that.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static LOOK: extern "C" fn() = look;
}

/// Elsewhere it is not known.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod at_start {
    pub fn was_closed() -> bool {
        false
    }
}
