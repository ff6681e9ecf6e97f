//! What the user called a setting: its flag, or the environment variable that set it.

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{ArgMatches, Error};

/// Knows where the arguments of one subcommand came from.
pub struct Called(ArgMatches);

impl Called {
    /// `matches` are those of the whole program.
    pub fn new(matches: &ArgMatches) -> Self {
        let of_command = matches.subcommand().map(|(_, matches)| matches.clone());
        Self(of_command.unwrap_or_default())
    }

    /// The name of an argument of the subcommand, as it was given or would be.
    pub fn name(&self, id: &str) -> String {
        match self.0.value_source(id) {
            Some(ValueSource::EnvVariable) => variable(id),
            _ => format!("--{}", id.replace('_', "-")),
        }
    }
}

/// Every flag has its variable (the contract in `glimpse --help`).
pub fn variable(id: &str) -> String {
    format!("GLIMPSE_{}", id.to_uppercase())
}

/// Makes an error of clap's name the variable that holds the wrong value, where it is not a
/// flag that does: clap names the flag either way.
pub fn name_variable(mut error: Error) -> Error {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let flag = shown.split(' ').next().unwrap_or_default().to_string();
    let variable = variable(&flag.trim_start_matches('-').replace('-', "_"));
    let is_typed = std::env::args_os().any(|typed| {
        let typed = typed.to_string_lossy();
        typed.split('=').next() == Some(flag.as_str())
    });
    if !is_typed && flag.starts_with("--") && std::env::var_os(&variable).is_some() {
        error.insert(ContextKind::InvalidArg, ContextValue::String(variable));
    }
    error
}
