//! `glimpse fetch`: a checkpoint downloaded and checked, and nothing run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::options::PlaceArgs;
use super::{CommandResult, progress};
use crate::checkpoint::hub::{HubSettings, Snapshot};
use crate::checkpoint::{CheckpointError, Source, readable_bytes};
use crate::models::inventory::parameters;
use crate::models::memory_estimate::estimate;
use crate::models::{Checkpoint, CheckpointMetadata, LoadError, MemoryLimit, Precision};

#[derive(Args)]
pub struct FetchArgs {
    /// An id on the Hugging Face hub (owner/name or owner/name@revision), or a folder to check
    #[arg(value_name = "ID|DIR", value_parser = NonEmptyStringValueParser::new())]
    model: String,

    #[command(flatten)]
    place: PlaceArgs,
}

/// Prints the checkpoint's folder; what it needs goes to standard error. What is damaged in the cache is
/// downloaded again, once.
pub fn run(args: FetchArgs) -> CommandResult {
    let (limit, offered) = args.place.look()?;
    let source = args.model.parse::<Source>()?;
    let found = found(&source);
    let (folder, checkpoint) = match (found, &source) {
        (Err(error), Source::Hub(id)) if !is_of_the_hub(&error) => {
            let snapshot = Snapshot::find(id.clone(), HubSettings::from_env(), Arc::new(progress::Terminal));
            if snapshot.map_or(0, |snapshot| snapshot.drop_damaged()) == 0 {
                return Err(error.into());
            }
            tracing::warn!("{error} It is downloaded again now.");
            self::found(&source)?
        }
        (found, _) => found?,
    };
    describe(&checkpoint, limit.as_ref(), &offered);
    writeln!(std::io::stdout(), "{}", folder.display())?;
    Ok(())
}

/// Whether the hub did not give what was asked for, and said why.
fn is_of_the_hub(error: &LoadError) -> bool {
    matches!(error, LoadError::Checkpoint(CheckpointError::Hub(_)))
}

/// The checkpoint and its folder. The tokenizer and the picture processor are part of one that works.
fn found(source: &Source) -> Result<(PathBuf, Checkpoint), LoadError> {
    let metadata = CheckpointMetadata::find(source, Arc::new(progress::Terminal))?;
    let folder = metadata.folder().map(Path::to_path_buf).unwrap_or_default();
    let checkpoint = metadata.open()?;
    checkpoint.processor()?;
    Ok((folder, checkpoint))
}

fn describe(checkpoint: &Checkpoint, limit: Option<&MemoryLimit>, offered: &[Precision]) {
    let (name, config) = (checkpoint.name(), checkpoint.config());
    let needs = |precision: &Precision| {
        let needed = estimate(config, checkpoint.has_head(), *precision).total();
        format!("{} in {}", readable_bytes(needed), precision.name())
    };
    tracing::info!(
        "{name} is complete: {} parameters, {} on disk; it needs {}",
        count(parameters(config)),
        readable_bytes(checkpoint.stored_bytes()),
        offered.iter().map(needs).collect::<Vec<_>>().join(", ")
    );
    let Some(limit) = limit else { return };
    if !offered
        .iter()
        .any(|precision| limit.fits(config, checkpoint.has_head(), *precision))
    {
        tracing::warn!("{name} does not fit: {limit}");
    }
}

/// A number of parameters as people say it: `3.74 B`.
pub fn count(parameters: u64) -> String {
    match parameters {
        0..1_000_000 => format!("{:.0} k", parameters as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", parameters as f64 / 1e6),
        _ => format!("{:.2} B", parameters as f64 / 1e9),
    }
}
