//! What the user called a setting: its flag, or the environment variable that set it.

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{ArgMatches, Error};

/// Knows where the arguments of one subcommand came from.
pub struct FlagNames(ArgMatches);

impl FlagNames {
    /// `matches` are those of the whole program.
    pub fn new(matches: &ArgMatches) -> Self {
        let of_command = matches.subcommand().map(|(_, matches)| matches.clone());
        Self(of_command.unwrap_or_default())
    }

    /// Whether an argument was typed or stands in its variable.
    pub fn is_given(&self, id: &str) -> bool {
        let source = self.0.value_source(id);
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
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

/// Makes an error of clap's name the variables that hold the wrong values, where no flag does:
/// clap names the flags either way.
pub fn name_variable(mut error: Error) -> Error {
    for kind in [ContextKind::InvalidArg, ContextKind::PriorArg] {
        if let Some(ContextValue::String(shown)) = error.get(kind)
            && let Some(variable) = variable_of(shown)
        {
            error.insert(kind, ContextValue::String(variable));
        }
    }
    error
}

/// The variable that set a flag, which is shown as in `--flag <VALUE>`; none where it was typed.
fn variable_of(shown: &str) -> Option<String> {
    let flag = shown
        .split([' ', '[', '='])
        .next()
        .filter(|flag| flag.starts_with("--"))?;
    let variable = variable(&flag.trim_start_matches('-').replace('-', "_"));
    let is_typed = std::env::args_os().any(|typed| {
        let typed = typed.to_string_lossy();
        let typed = typed.split('=').next().unwrap_or_default();
        // `--stop` is `--stop-strings`.
        typed.len() > 2 && flag.starts_with(typed)
    });
    (!is_typed && std::env::var_os(&variable).is_some()).then_some(variable)
}
