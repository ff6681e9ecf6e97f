//! `glimpse models`: what there is, what is here, and what fits.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::CommandResult;
use super::fetch::count;
use super::options::PlaceArgs;
use crate::blip2::config::Blip2Config;
use crate::blip2::weights::Precision;
use crate::checkpoint::inventory::parameters;
use crate::checkpoint::memory::{MemoryEstimate, estimate, gigabytes};
use crate::checkpoint::{Cached, MemoryLimit, Outline, Source, cached, known, language_model};

#[derive(Args)]
pub struct ModelsArgs {
    /// Print a JSON list instead of a table
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: PlaceArgs,
}

/// A model of the list; sizes are bytes.
#[derive(Serialize)]
struct Row {
    /// What `--model` takes; `null` for the demo model, which needs none.
    id: Option<String>,
    language_model: String,
    /// Side of the square picture, in pixels.
    picture_size: usize,
    parameters: u64,
    /// Of the published files, which are f32.
    disk_bytes: u64,
    memory_bytes: BTreeMap<&'static str, MemoryEstimate>,
    downloaded: Downloaded,
    /// The values of `--dtype` with which it fits here; `null` where the memory is unknown.
    fits: Option<Vec<&'static str>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Downloaded {
    Yes,
    InPart,
    No,
}

pub fn run(args: ModelsArgs) -> CommandResult {
    let (limit, offered) = args.place.look()?;
    let rows = rows(limit.as_ref(), &offered)?;
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(());
    }
    let mut table = vec![header()];
    table.extend(rows.iter().map(Row::cells));
    write!(stdout, "{}", aligned(&table))?;
    if let Some(limit) = limit {
        let free = gigabytes(limit.bytes);
        writeln!(
            stdout,
            "\nMemory that {} has to give: {free}. Sizes are computed, for files in f32.",
            limit.place
        )?;
    }
    Ok(())
}

/// The demo model, the published ones, and what else the cache holds.
fn rows(limit: Option<&MemoryLimit>, offered: &[Precision]) -> Result<Vec<Row>, crate::checkpoint::CheckpointError> {
    let demo = Outline::find(&Source::Demo)?;
    let mut rows = vec![Row::new(None, demo.config(), Downloaded::Yes, limit, offered)];
    let mut here = cached();
    for known in known() {
        let copy = here.iter().position(|cached| cached.id == known.id);
        let copy = copy.map(|index| here.remove(index));
        // What was downloaded says more of itself than what is known beforehand.
        let config = copy.as_ref().map_or(&known.config, |copy| &copy.config);
        let downloaded = copy.as_ref().map_or(Downloaded::No, downloaded);
        rows.push(Row::new(Some(known.id), config, downloaded, limit, offered));
    }
    for other in &here {
        rows.push(Row::new(
            Some(&other.id),
            &other.config,
            downloaded(other),
            limit,
            offered,
        ));
    }
    Ok(rows)
}

fn downloaded(cached: &Cached) -> Downloaded {
    if cached.is_complete {
        Downloaded::Yes
    } else {
        Downloaded::InPart
    }
}

impl Row {
    fn new(
        id: Option<&str>,
        config: &Blip2Config,
        downloaded: Downloaded,
        limit: Option<&MemoryLimit>,
        offered: &[Precision],
    ) -> Self {
        let head = config.text_config.expects_head();
        let memory = |precision: &Precision| (precision.name(), estimate(config, head, *precision));
        let fits = |limit: &MemoryLimit| {
            let fitting = offered.iter().filter(|precision| limit.fits(config, head, **precision));
            fitting.map(|precision| precision.name()).collect()
        };
        Self {
            id: id.map(str::to_string),
            language_model: language_model(config),
            picture_size: config.vision_config.image_size,
            parameters: parameters(config),
            disk_bytes: 4 * parameters(config),
            memory_bytes: offered.iter().map(memory).collect(),
            downloaded,
            fits: limit.map(fits),
        }
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![
            self.id.clone().unwrap_or_else(|| "(the demo model)".into()),
            self.language_model.clone(),
            format!("{0} x {0}", self.picture_size),
            count(self.parameters),
            gigabytes(self.disk_bytes),
        ];
        cells.extend(COLUMNS.map(|dtype| gigabytes(self.memory_bytes[dtype].total())));
        cells.push(match self.downloaded {
            Downloaded::Yes => "yes".into(),
            Downloaded::InPart => "in part".into(),
            Downloaded::No => "no".into(),
        });
        cells.push(match &self.fits {
            None => "?".into(),
            Some(fitting) if fitting.is_empty() => "no".into(),
            Some(fitting) => fitting.join(" "),
        });
        cells
    }
}

/// The dtypes with a column of their own; bf16 needs what f16 does, but for the Q-Former.
const COLUMNS: [&str; 4] = ["f32", "f16", "q8_0", "q4_0"];

fn header() -> Vec<String> {
    let mut cells: Vec<String> = ["MODEL", "LANGUAGE MODEL", "PICTURE", "PARAMETERS", "ON DISK"]
        .map(String::from)
        .to_vec();
    cells.extend(COLUMNS.map(|dtype| match dtype {
        "f16" => "F16/BF16".into(),
        other => other.to_uppercase(),
    }));
    cells.extend(["DOWNLOADED", "FITS"].map(String::from));
    cells
}

/// Columns as wide as their widest cell, two spaces apart.
fn aligned(table: &[Vec<String>]) -> String {
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column| table.iter().filter_map(|row| row.get(column)).map(String::len).max();
    let widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    table.iter().map(line).collect()
}
