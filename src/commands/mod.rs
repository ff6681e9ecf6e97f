//! The command line: one file a subcommand.
//!
//! Answers go to standard output, everything else to standard error. The exit status is
//! 0 if answered, 2 for wrong usage, and 1 for anything else, with a sentence that says
//! what was wrong and what to do.

mod addr;
mod ask;
mod attention_file;
mod auto_model;
mod batch;
mod capfilt;
mod caption;
mod caption_files;
mod caption_table;
mod check;
mod compared_models;
mod customization;
mod embed;
mod engine;
mod export;
mod fetch;
mod flag_names;
mod folder;
mod loaded_models;
mod log;
mod matching;
mod models;
mod number_args;
mod options;
mod picture;
mod preset;
mod progress;
mod prompt;
mod running_server;
mod search;
mod search_index;
mod serve;
mod several_models;
mod several_pictures;
mod standard_output;
mod threads;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use flag_names::FlagNames;
use log::LogFormat;

use crate::models::{Kernels, bound_arenas};

/// Ask a picture a question: BLIP-2 and BLIP in the browser and in the terminal.
#[derive(Parser)]
#[command(name = "glimpse", version, arg_required_else_help = true, max_term_width = 100, after_help = VARIABLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What is said by the environment alone.
const VARIABLES: &str = "\
Environment:
  Every flag of a command has a variable, which its --help names. Without a flag:
  GLIMPSE_LOG      What is logged: error, warn, info, debug or trace, or as in \"warn,glimpse=debug\"
  GLIMPSE_KERNELS  What computes a model on the CPU: own (the default) or candle, for comparison
  GLIMPSE_ISA      What our own kernels run on: amx-bf16, avx512-bf16, avx512, avx2 or baseline, as far
                   as the processor has it [default: the best that it has]
  HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE mean what they do in Python";

#[derive(Subcommand)]
enum Command {
    /// Serve the page, and answer its visitors
    Serve(Box<serve::ServeArgs>),
    /// Answer one question, or a file of them, in the terminal
    Ask(ask::AskArgs),
    /// Write a caption for each picture of a folder, beside the pictures
    Caption(caption::CaptionArgs),
    /// Compare pictures with texts: how well each text fits each picture
    Match(matching::MatchArgs),
    /// Turn pictures and texts into vectors
    Embed(embed::EmbedArgs),
    /// Find the pictures of a folder that a text describes
    Search(search::SearchArgs),
    /// Clean pairs of pictures and texts from the web: new captions, and only what fits (CapFilt)
    Capfilt(capfilt::CapfiltArgs),
    /// List the models: their sizes, which are downloaded, which fit this machine, which a server has loaded
    Models(models::ModelsArgs),
    /// Print conversations, or what visitors think of answers, as lines of JSON
    Export(export::ExportArgs),
    /// Ask a running server whether it is ready to answer: exit status 0 if it is
    Check(check::CheckArgs),
    /// Download a model from the hub, or check a folder, without running it
    Fetch(fetch::FetchArgs),
}

impl Command {
    fn log_format(&self) -> LogFormat {
        match self {
            Self::Serve(args) => args.log_format,
            _ => LogFormat::Text,
        }
    }

    /// Whether what it is asked for goes to standard output.
    fn prints(&self) -> bool {
        !matches!(self, Self::Serve(_) | Self::Caption(_) | Self::Check(_))
    }
}

/// Arguments that are each right and make no sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// Anything that ends a command early, in one sentence.
type CommandResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    forget_empty_variables();
    bound_arenas();
    let parsed = Cli::command().try_get_matches_from(arguments());
    let parsed = parsed.map_err(flag_names::name_variable);
    let parsed = parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        // Wrong usage ends here, with exit status 2, and so does help, with 0.
        Err(error) => return standard_output::say(&error),
    };
    if let Err(error) = Kernels::check_env() {
        log::tell(error);
        return ExitCode::from(2);
    }
    let format = cli.command.log_format();
    log::start(format, matches!(cli.command, Command::Serve(_)));
    if cli.command.prints() && standard_output::is_closed() {
        log::tell(standard_output::CLOSED);
        return ExitCode::FAILURE;
    }
    let result = match cli.command {
        Command::Serve(args) => serve::run(*args),
        Command::Ask(args) => ask::run(args, &FlagNames::new(&matches)),
        Command::Caption(args) => caption::run(args, &FlagNames::new(&matches)),
        Command::Match(args) => matching::run(args),
        Command::Embed(args) => embed::run(args),
        Command::Search(args) => search::run(args),
        Command::Capfilt(args) => capfilt::run(args),
        Command::Models(args) => models::run(args),
        Command::Export(args) => export::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Fetch(args) => fetch::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has read enough (`glimpse ask … | head`).
        Err(error) if is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = standard_output::explained(error);
            log::last_word(format, error.as_ref());
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

/// What the program was started with. `cargo leptos watch` and `cargo leptos serve` start it with
/// nothing but variables, as they do every Leptos program: to serve.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.len() == 1 && std::env::var_os("LEPTOS_OUTPUT_NAME").is_some() {
        arguments.push("serve".into());
    }
    arguments
}

/// An empty variable is an unset one, as in `GLIMPSE_MODEL= glimpse serve`.
fn forget_empty_variables() {
    let empty = std::env::vars_os()
        .filter(|(name, value)| value.is_empty() && name.to_str().is_some_and(|name| name.starts_with("GLIMPSE_")));
    for (name, _) in empty.collect::<Vec<_>>() {
        // SAFETY: this is the program's first act; there is no other thread yet.
        unsafe { std::env::remove_var(name) };
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_its_variable() {
        let cli = Cli::command();
        let flags = cli.get_subcommands().flat_map(|command| command.get_arguments());
        let own = flags.filter(|flag| flag.get_long().is_some_and(|name| !["help", "version"].contains(&name)));
        let mut count = 0;
        for flag in own {
            let variable = flag_names::variable(flag.get_id().as_str());
            assert_eq!(flag.get_env(), Some(variable.as_ref()), "{flag}");
            count += 1;
        }
        assert!(count > 30);
    }
}
