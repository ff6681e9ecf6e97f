//! `glimpse models`: what there is, what is here, what fits, and what a running server has loaded.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Serialize;

use super::CommandResult;
use super::addr::Listen;
use super::fetch::count;
use super::loaded_models::LoadedModels;
use super::options::PlaceArgs;
use crate::checkpoint::{Source, progress, readable_bytes};
use crate::models::inventory::parameters;
use crate::models::memory_estimate::{MemoryEstimate, estimate};
use crate::models::{
    Cached, CheckpointMetadata, LoadError, MemoryLimit, ModelConfig, Precision, cached, known, language_model,
};

#[derive(Args)]
pub struct ModelsArgs {
    /// Print a JSON list instead of a table
    #[arg(long, env = "GLIMPSE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,

    /// The server that is asked what it has loaded, where one runs, as `glimpse serve` has it
    #[arg(
        long,
        env = "GLIMPSE_ADDR",
        default_value = "localhost:7860",
        value_name = "ADDRESS:PORT"
    )]
    addr: Listen,

    #[command(flatten)]
    place: PlaceArgs,
}

/// What `--json` lists.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed<'a> {
    Known {
        #[serde(flatten)]
        row: &'a Row,
        /// `loaded`, `loading`, `unloaded` or `failed`; `null` where no server runs that has it.
        state: Option<&'a str>,
    },
    /// A folder that a server has.
    Elsewhere { id: &'a str, state: &'a str },
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

impl Downloaded {
    fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::InPart => "in part",
            Self::No => "no",
        }
    }
}

impl From<&Cached> for Downloaded {
    fn from(cached: &Cached) -> Self {
        if cached.is_complete { Self::Yes } else { Self::InPart }
    }
}

pub fn run(args: ModelsArgs) -> CommandResult {
    let (limit, offered) = args.place.look()?;
    let rows = rows(limit.as_ref(), &offered)?;
    let loaded = LoadedModels::ask(&args.addr);
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(
            stdout,
            "{}",
            serde_json::to_string_pretty(&with_states(&rows, &loaded))?
        )?;
        return Ok(());
    }
    write!(stdout, "{}", listed(&rows, columns()))?;
    if let Some(limit) = limit {
        writeln!(stdout, "\nMemory: {limit}. Sizes are computed, for files in f32.")?;
    }
    writeln!(stdout, "{loaded}")?;
    Ok(())
}

/// All rows with what the server says of them, and behind them what it has besides.
fn with_states<'a>(rows: &'a [Row], loaded: &'a LoadedModels) -> Vec<Listed<'a>> {
    let is = |row: &Row, name: &str, is_demo: bool| match row.id.as_deref() {
        Some(id) => id == name,
        None => is_demo,
    };
    let known = rows.iter().map(|row| {
        let mut models = loaded.models().iter();
        let model = models.find(|model| is(row, &model.name, model.is_demo));
        Listed::Known {
            row,
            state: model.map(|model| model.state.as_str()),
        }
    });
    let is_known = |name: &str, is_demo: bool| rows.iter().any(|row| is(row, name, is_demo));
    let others = loaded
        .models()
        .iter()
        .filter(|model| !is_known(&model.name, model.is_demo));
    let others = others.map(|model| Listed::Elsewhere {
        id: &model.name,
        state: &model.state,
    });
    known.chain(others).collect()
}

/// The width of the terminal that is written to, if it is one.
fn columns() -> Option<usize> {
    let (_, columns) = console::Term::stdout().size_checked()?;
    std::io::stdout().is_terminal().then_some(columns.into())
}

/// A table, or where it is wider than the terminal, some lines a model.
fn listed(rows: &[Row], columns: Option<usize>) -> String {
    let mut table = vec![header()];
    table.extend(rows.iter().map(Row::cells));
    let table = aligned(&table);
    let width = table.lines().map(str::len).max().unwrap_or(0);
    match columns {
        Some(columns) if columns < width => rows.iter().map(Row::paragraph).collect(),
        _ => table,
    }
}

/// The demo model, the published ones, and what else the cache holds.
fn rows(limit: Option<&MemoryLimit>, offered: &[Precision]) -> Result<Vec<Row>, LoadError> {
    let demo = CheckpointMetadata::find(&Source::Demo, progress::silent())?;
    let mut rows = vec![Row::new(None, demo.config(), Downloaded::Yes, limit, offered)];
    let mut here = cached();
    for known in known() {
        let copy = here.iter().position(|cached| cached.id == known.id);
        let copy = copy.map(|index| here.remove(index));
        // What was downloaded says more of itself than what is known beforehand.
        let config = copy.as_ref().map_or(&known.config, |copy| &copy.config);
        let downloaded = copy.as_ref().map_or(Downloaded::No, Downloaded::from);
        rows.push(Row::new(Some(known.id), config, downloaded, limit, offered));
    }
    for other in &here {
        rows.push(Row::new(Some(&other.id), &other.config, other.into(), limit, offered));
    }
    Ok(rows)
}

impl Row {
    fn new(
        id: Option<&str>,
        config: &ModelConfig,
        downloaded: Downloaded,
        limit: Option<&MemoryLimit>,
        offered: &[Precision],
    ) -> Self {
        let head = config.expects_head();
        let memory = |precision: &Precision| (precision.name(), estimate(config, head, *precision));
        let fits = |limit: &MemoryLimit| {
            let fitting = offered.iter().filter(|precision| limit.fits(config, head, **precision));
            fitting.map(|precision| precision.name()).collect()
        };
        Self {
            id: id.map(str::to_string),
            language_model: language_model(config),
            picture_size: config.vision().image_size,
            parameters: parameters(config),
            disk_bytes: 4 * parameters(config),
            memory_bytes: offered.iter().map(memory).collect(),
            downloaded,
            fits: limit.map(fits),
        }
    }

    fn name(&self) -> &str {
        self.id.as_deref().unwrap_or("(the demo model)")
    }

    fn fitting(&self) -> String {
        match &self.fits {
            None => "?".into(),
            Some(fitting) if fitting.is_empty() => "no".into(),
            Some(fitting) => fitting.join(" "),
        }
    }

    fn memory(&self, dtype: &str) -> String {
        readable_bytes(self.memory_bytes[dtype].total())
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![
            self.name().into(),
            self.language_model.clone(),
            format!("{0} x {0}", self.picture_size),
            count(self.parameters),
            readable_bytes(self.disk_bytes),
        ];
        cells.extend(COLUMNS.map(|(dtype, _)| self.memory(dtype)));
        cells.push(self.downloaded.word().into());
        cells.push(self.fitting());
        cells
    }

    /// The same as in [`Row::cells`], in lines of 80 columns.
    fn paragraph(&self) -> String {
        format!(
            "{}\n    {}, {} x {}, {} parameters, {} on disk\n    {}\n    downloaded: {}; fits: {}\n",
            self.name(),
            self.language_model,
            self.picture_size,
            self.picture_size,
            count(self.parameters),
            readable_bytes(self.disk_bytes),
            COLUMNS
                .map(|(dtype, called)| format!("{called} {}", self.memory(dtype)))
                .join(", "),
            self.downloaded.word(),
            self.fitting(),
        )
    }
}

/// The dtypes with a column of their own, and what they are called there; bf16 needs what
/// f16 does, but for the Q-Former.
const COLUMNS: [(&str, &str); 4] = [("f32", "f32"), ("f16", "f16/bf16"), ("q8_0", "q8_0"), ("q4_0", "q4_0")];

fn header() -> Vec<String> {
    let mut cells = ["MODEL", "LANGUAGE MODEL", "PICTURE", "PARAMETERS", "ON DISK"]
        .map(String::from)
        .to_vec();
    cells.extend(COLUMNS.map(|(_, called)| called.to_uppercase()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{DeviceChoice, offered_precisions};

    #[test]
    fn a_list_is_no_wider_than_its_terminal() {
        let offered = offered_precisions(&DeviceChoice::Cpu.open().expect("there is always a CPU"));
        let limit = MemoryLimit::chosen(1 << 50);
        let rows: Vec<Row> = known()
            .iter()
            .map(|known| {
                Row::new(
                    Some(known.id),
                    &known.config,
                    Downloaded::InPart,
                    Some(&limit),
                    &offered,
                )
            })
            .collect();
        let paragraphs = listed(&rows, Some(80));
        assert!(paragraphs.lines().all(|line| line.len() <= 80), "{paragraphs}");
        let table = listed(&rows, None);
        assert_eq!(listed(&rows, Some(200)), table);
        for row in &rows {
            for cell in row.cells() {
                assert!(paragraphs.contains(&cell) && table.contains(&cell), "{cell}");
            }
        }
    }
}
