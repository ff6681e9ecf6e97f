//! The log, on standard error.

use std::env::VarError;
use std::fmt::Display;
use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::ask::harmless;
use super::progress;

/// What a line of the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line, for programs.
    Json,
}

/// Starts the log of a command. Whoever waits in a terminal for one command knows what time it
/// is: lines of a server and of a log file have it.
pub fn start(format: LogFormat, is_server: bool) {
    let (filter, wrong) = filter();
    // What goes over the wire stays there: passwords and tokens are in it.
    let no_wires = filter_fn(|about| *about.level() != Level::TRACE || !about.target().starts_with("ureq"));
    let on_terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| progress::Stderr)
        .with_ansi(on_terminal && wants_colours())
        .with_target(false);
    match format {
        LogFormat::Json => {
            let json = log
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false);
            json.finish().with(no_wires).init();
            // Nothing but objects is to be read from there.
            std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
        }
        LogFormat::Text if on_terminal && !is_server => log.without_time().finish().with(no_wires).init(),
        LogFormat::Text => log.finish().with(no_wires).init(),
    }
    if let Some(reason) = wrong {
        tracing::warn!(
            "GLIMPSE_LOG is not read ({reason}): write error, warn, info, debug or trace, or as in \"{DEFAULT}\", which holds now"
        );
    }
}

/// What is logged where nothing is said.
const DEFAULT: &str = "warn,glimpse=info";

/// What is to be logged, and what is wrong with what the environment says of it.
fn filter() -> (EnvFilter, Option<String>) {
    let asked = match std::env::var("GLIMPSE_LOG") {
        // As a compose file may leave it: empty is unset.
        Ok(asked) if asked.trim().is_empty() => Ok(EnvFilter::new(DEFAULT)),
        Ok(asked) => match not_a_level(&asked) {
            Some(word) => Err(format!("{word:?} is no level")),
            None => EnvFilter::try_new(asked).map_err(|error| error.to_string()),
        },
        Err(VarError::NotPresent) => Ok(EnvFilter::new(DEFAULT)),
        Err(error) => Err(error.to_string()),
    };
    match asked {
        Ok(filter) => (filter, None),
        Err(reason) => (EnvFilter::new(DEFAULT), Some(reason)),
    }
}

/// A word that stands alone where a level is meant. To the filter it would be the name of a crate
/// that is logged, and nothing else.
fn not_a_level(asked: &str) -> Option<&str> {
    let words = asked.split(',').map(str::trim);
    let is_known = |word: &&str| {
        let is_level = word.parse::<LevelFilter>().is_ok();
        is_level || word.is_empty() || word.contains(['=', '[', ']', '{', '}']) || word.starts_with("glimpse")
    };
    words.into_iter().find(|word| !is_known(word))
}

/// Says why a command has ended.
pub fn last_word(format: LogFormat, error: &dyn std::error::Error) {
    match format {
        LogFormat::Json => tracing::error!("{error}"),
        LogFormat::Text => tell(error),
    }
}

/// A sentence on standard error. Where nobody reads that any more, what is done goes on without.
pub fn tell(sentence: impl Display) {
    let sentence = sentence.to_string();
    let _ = writeln!(std::io::stderr(), "glimpse: {}", harmless(&sentence));
}

/// As <https://no-color.org> asks for.
fn wants_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_found() {
        for asked in [
            DEFAULT,
            "debug",
            "WARN",
            "off",
            "3",
            "glimpse",
            "glimpse::engine",
            "error,ureq=trace,",
        ] {
            assert_eq!(not_a_level(asked), None, "{asked}");
        }
        for asked in ["verbose", "warn,verbose", "quiet , glimpse=info"] {
            assert!(not_a_level(asked).is_some(), "{asked}");
        }
    }
}
