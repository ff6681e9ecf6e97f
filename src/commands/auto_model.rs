//! `--model auto`: the best of what was downloaded, else an offer, else the demo model.

use std::io::{IsTerminal, Write};

use super::fetch::count;
use super::options::PlaceArgs;
use crate::checkpoint::hub::HubSettings;
use crate::checkpoint::{Files, Source, progress, readable_bytes};
use crate::models::auto::{Asked, AutoChoice, Machine, best_cached, best_known, licence};
use crate::models::{DeviceError, DtypeChoice, cached, known};

/// What stands for the best model in the place of its name.
pub const AUTO: &str = "auto";

/// The model for this machine that can do what is asked. Nothing is downloaded here; what is to be was
/// agreed to.
pub fn choose(place: &PlaceArgs, dtype: DtypeChoice, asked: Asked) -> Result<(Source, DtypeChoice), DeviceError> {
    let device = place.device.open()?;
    let machine = Machine {
        asked,
        limit: place.limit(&device),
        device,
        dtype,
    };
    if let Some(best) = best_cached(&cached(), &machine) {
        tracing::info!("of the models in the cache, {} is the best for this machine", best.id);
        return Ok(taken(&best));
    }
    let demo = (Source::Demo, dtype);
    let without = match asked {
        Asked::Match => "none compares",
        Asked::Caption => "the demo model writes captions",
        Asked::Question | Asked::Anything => "the demo model answers",
    };
    let Some(best) = best_known(&known(), &machine) else {
        tracing::info!("no published model fits this machine: {without}");
        return Ok(demo);
    };
    if !can_be_fetched(&best.id) {
        tracing::info!(
            "no model for this is in the cache, and the hub cannot be reached, or gives none: {without}. {} would fit: `glimpse fetch {}` downloads it",
            best.id,
            best.id
        );
        return Ok(demo);
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        tracing::info!(
            "no model for this is in the cache: {without}. {} To have it, type `glimpse fetch {}`, and start again",
            offer(&best),
            best.id
        );
        return Ok(demo);
    }
    Ok(if agrees(&best, without) { taken(&best) } else { demo })
}

fn taken(choice: &AutoChoice) -> (Source, DtypeChoice) {
    // Ids of the cache and of the list are ids.
    let source = choice.id.parse().unwrap_or(Source::Demo);
    (source, choice.dtype)
}

/// Whether the hub has it and answers: its small config is asked for, and nothing more.
fn can_be_fetched(id: &str) -> bool {
    let source = id.parse();
    !HubSettings::from_env().offline && source.is_ok_and(|source| Files::find(&source, progress::silent()).is_ok())
}

/// What a download brings and takes.
fn offer(choice: &AutoChoice) -> String {
    format!(
        "{id} would fit this machine: {} parameters, {} to download and to keep on disk, {} of memory. Its licence: {} (https://huggingface.co/{id}).",
        count(choice.parameters),
        readable_bytes(4 * choice.parameters),
        readable_bytes(choice.needed.total()),
        licence(&choice.id),
        id = choice.id,
    )
}

/// Asks on the terminal; whatever is not a yes is a no.
fn agrees(choice: &AutoChoice, without: &str) -> bool {
    let mut stderr = std::io::stderr();
    let _ = write!(
        stderr,
        "No model for this is in the cache. {}\nDownload it now? Without it {without}. [y/N] ",
        offer(choice)
    );
    let _ = stderr.flush();
    let mut answer = String::new();
    let is_read = std::io::stdin().read_line(&mut answer).is_ok_and(|bytes| bytes > 0);
    if !is_read {
        // Nobody typed the end of the line.
        let _ = writeln!(stderr);
    }
    is_read && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}
