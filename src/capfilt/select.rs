//! The second step: which texts are kept, by their scores alone. Rows are read as they come, on all cores.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::input::{self, PictureSource, ReadOptions, Unit, units};
use super::output::webdataset::Shard;
use super::output::{Columns, OutputForm, writer};
use super::picture;
use super::report::{Examples, Pictures, Report};
use super::row::Row;
use super::score::SettingsFile;
use super::shards::{PART_ROWS, ShardRange, Worker, number_of, part_name};
use super::stats::{Counter, Stats};
use super::{CapfiltError, Policy, whole_file};
use crate::processor::PictureLimits;
use crate::remote::{FetchLimits, Fetcher, Reach};

/// What is to be selected, and how.
#[derive(Clone, Debug)]
pub struct SelectOptions {
    /// A folder of scores, or a file of them.
    pub scores: PathBuf,
    pub output: PathBuf,
    pub policy: Policy,
    pub threshold: f32,
    /// The input's form, where it is known, else JSON lines.
    pub form: Option<OutputForm>,
    pub shards: ShardRange,
    pub worker: Worker,
    pub limits: PictureLimits,
    pub reach: Reach,
}

/// What was selected.
#[derive(Clone, Debug)]
pub struct Selected {
    pub stats: Stats,
    /// Where the report is.
    pub report: PathBuf,
}

/// Rows that are read together.
const CHUNK: usize = 4096;

/// Decides of all rows, and writes them with what was decided, the statistics and the report.
///
/// # Errors
/// There are no scores, or they are no rows, or the output cannot be written.
pub fn select(options: &SelectOptions) -> Result<Selected, CapfiltError> {
    let folder = folder_of(&options.scores);
    let settings = SettingsFile::read(&folder);
    let source = settings.as_ref().and_then(Source::find);
    let files = score_files(&folder, options, source.as_ref())?;
    fs::create_dir_all(&options.output).map_err(|error| CapfiltError::unwritable(&options.output, error))?;
    let of_source = || Some(OutputForm::of(&source.as_ref()?.units.first()?.0));
    let selecting = Selecting {
        options,
        form: options.form.or_else(of_source).unwrap_or(OutputForm::JsonLines),
        source: source.as_ref(),
    };
    let mut total = Counter::new(Some(options.policy), options.threshold).stats;
    let mut examples = Examples::new(options.threshold);
    for file in &files {
        total.merge(&selecting.shard(file, &mut examples)?);
    }
    let suffix = match options.worker.count {
        1 => String::new(),
        // Each worker tells of its own shards; `select` over all of them tells of all.
        count => format!("-{}-of-{count}", options.worker.index),
    };
    total.write(&options.output.join(format!("_stats{suffix}.json")))?;
    let report = options.output.join(format!("report{suffix}.html"));
    let pictures = source
        .map(|source| source.pictures(&examples, options))
        .unwrap_or_default();
    let page = Report {
        stats: &total,
        examples: &examples,
        pictures: &pictures,
        settings: settings.as_ref(),
    };
    whole_file::write_bytes(&report, page.html().as_bytes())?;
    Ok(Selected { stats: total, report })
}

/// Where scores are: the folder of a file, that of both steps, or this one.
fn folder_of(scores: &Path) -> PathBuf {
    let within = scores.join(SCORES);
    match (scores.is_file(), within.is_dir()) {
        (true, _) => scores.parent().unwrap_or(Path::new("")).to_path_buf(),
        (false, true) => within,
        (false, false) => scores.to_path_buf(),
    }
}

/// The files of scores of this worker, in order.
fn score_files(folder: &Path, options: &SelectOptions, source: Option<&Source>) -> Result<Vec<PathBuf>, CapfiltError> {
    if options.scores.is_file() {
        return Ok(vec![options.scores.clone()]);
    }
    let unreadable = |error: std::io::Error| CapfiltError::unreadable(folder, error);
    let mut files = Vec::new();
    if !folder.is_dir() {
        return Err(CapfiltError::NoScores {
            folder: folder.to_path_buf(),
        });
    }
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ends = path
            .extension()
            .is_some_and(|ending| ending == "jsonl" || ending == "parquet");
        if ends && !name.starts_with(['.', '_']) && options.shards.contains(number_of(&stem(&path))) {
            files.push(path);
        }
    }
    files.sort();
    if options.worker.count > 1 {
        let place = |file: &Path| source.and_then(|source| source.place_of(&stem(file), options.shards));
        let own = files.into_iter().enumerate().filter(|(listed, file)| {
            let place = place(file).unwrap_or(*listed);
            options.worker.takes(place)
        });
        return Ok(own.map(|(_, file)| file).collect());
    }
    match files.is_empty() {
        true => Err(CapfiltError::NoScores {
            folder: folder.to_path_buf(),
        }),
        false => Ok(files),
    }
}

/// The folder of scores within the output of both steps.
pub const SCORES: &str = "scores";

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Where the pictures are.
struct Source {
    /// With the name of each one's first part.
    units: Vec<(Unit, String)>,
    is_alone: bool,
    read: ReadOptions,
}

impl Source {
    fn find(settings: &SettingsFile) -> Option<Self> {
        let units = units(&settings.input).ok()?;
        let is_alone = units.len() == 1;
        let named = units.into_iter().map(|unit| {
            let name = part_name(&unit, 0, is_alone);
            (unit, name)
        });
        Some(Self {
            units: named.collect(),
            is_alone,
            read: ReadOptions {
                picture_folder: settings.picture_folder.clone(),
                max_bytes: usize::MAX,
            },
        })
    }

    /// A part's place among those that are shared out among workers, as the first step counts them.
    fn place_of(&self, part: &str, shards: ShardRange) -> Option<usize> {
        let (unit, _) = self.unit_of(part)?;
        if !unit.is_shard() {
            return usize::try_from(number_of(part)?.saturating_sub(shards.first)).ok();
        }
        let mut chosen = self
            .units
            .iter()
            .filter(|(unit, _)| shards.contains(number_of(&unit.name)));
        chosen.position(|(other, _)| other.name == unit.name)
    }

    /// Where a part's rows are: the unit, and the place of the first in it.
    fn unit_of(&self, part: &str) -> Option<(&Unit, u64)> {
        self.units.iter().find_map(|(unit, first)| {
            if unit.is_shard() || first == part {
                return (first == part).then_some((unit, 0));
            }
            let number = number_of(part)?;
            (part_name(unit, number, self.is_alone) == part).then_some((unit, number * PART_ROWS))
        })
    }

    /// The bytes of pictures of a part, by their places in it, in order, as far as they are on this machine.
    fn each_picture(
        &self,
        part: &str,
        options: &SelectOptions,
        fetches: bool,
        wants: &dyn Fn(u64) -> bool,
        each: &mut dyn FnMut(u64, Result<Vec<u8>, String>) -> ControlFlow<()>,
    ) -> Result<(), CapfiltError> {
        let Some((unit, first)) = self.unit_of(part) else {
            return Ok(());
        };
        let fetcher = Fetcher::new(options.reach.clone(), FetchLimits::new(options.limits.max_bytes));
        let read = ReadOptions {
            max_bytes: options.limits.max_bytes,
            ..self.read.clone()
        };
        let mut place = 0;
        unit.read(&read, &mut |sample: input::Sample, _| {
            let within = u64::checked_sub(place, first);
            place += 1;
            let is_here = fetches || !matches!(sample.picture, PictureSource::Address(_));
            match within {
                Some(within) if is_here && wants(within) => each(
                    within,
                    picture::read(sample.picture, &fetcher, options.limits.max_bytes),
                ),
                _ => ControlFlow::Continue(()),
            }
        })
    }

    /// The pictures of examples, unless that means reading very much, or fetching.
    fn pictures(&self, examples: &Examples, options: &SelectOptions) -> Pictures {
        let mut pictures = Pictures::default();
        let places = examples.places();
        let parts: BTreeSet<&String> = places.iter().map(|(part, _)| part).collect();
        let extents = parts.iter().filter_map(|part| Some(self.unit_of(part)?.0.extent()));
        if extents.sum::<u64>() > MOST_READ_FOR_REPORT {
            return pictures;
        }
        for part in parts {
            let wanted: Vec<u64> = places
                .iter()
                .filter(|(other, _)| other == part)
                .map(|(_, place)| *place)
                .collect();
            let Some(last) = wanted.iter().copied().max() else {
                continue;
            };
            let wants = |place: u64| wanted.contains(&place);
            // A picture that cannot be shown is left out of the report.
            let _ = self.each_picture(part, options, false, &wants, &mut |place, bytes| {
                if let Ok(bytes) = bytes {
                    pictures.add(part, place, &bytes, &options.limits);
                }
                match place < last {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            });
        }
        pictures
    }
}

/// Bytes of inputs that are read again for the report's pictures.
const MOST_READ_FOR_REPORT: u64 = 4 << 30;

struct Selecting<'a> {
    options: &'a SelectOptions,
    form: OutputForm,
    source: Option<&'a Source>,
}

impl Selecting<'_> {
    /// Selects the rows of a file.
    fn shard(&self, file: &Path, examples: &mut Examples) -> Result<Stats, CapfiltError> {
        let name = stem(file);
        let path = self.options.output.join(format!("{name}.{}", self.form.ending()));
        let mut columns = Columns::default();
        if self.form.has_columns() {
            self.each_chunk(file, &mut |rows| {
                rows.iter().for_each(|(row, _)| columns.see(row));
                Ok(())
            })?;
            columns.is_selected = true;
        }
        let mut counter = Counter::new(Some(self.options.policy), self.options.threshold);
        let mut place = 0;
        let mut count = |row: &Row| {
            counter.add(row);
            examples.see(&name, place, row);
            place += 1;
        };
        whole_file::write(&path, |out| match (self.form, self.source) {
            (OutputForm::Webdataset, Some(source)) => self.archive(file, &name, &path, out, source, &mut count),
            _ => {
                let mut rows_out = writer(self.form, &path, out, columns)?;
                self.each_chunk(file, &mut |rows| {
                    for (row, line) in rows {
                        count(&row);
                        rows_out.write(row, &line)?;
                    }
                    Ok(())
                })?;
                rows_out.finish()
            }
        })?;
        counter
            .stats
            .write(&self.options.output.join(format!("{name}_stats.json")))?;
        Ok(counter.stats)
    }

    /// A shard with the pictures that are kept: the source is read again beside the rows.
    fn archive(
        &self,
        file: &Path,
        name: &str,
        path: &Path,
        out: &mut BufWriter<File>,
        source: &Source,
        count: &mut dyn FnMut(&Row),
    ) -> Result<(), CapfiltError> {
        let mut kept = VecDeque::new();
        let mut place = 0u64;
        self.each_chunk(file, &mut |rows| {
            for (row, _) in rows {
                count(&row);
                if row.choice.as_ref().is_some_and(|choice| choice.kept) {
                    kept.push_back((place, row));
                }
                place += 1;
            }
            Ok(())
        })?;
        let mut shard = Shard::new(path, out);
        let mut failed = None;
        let wanted: HashSet<u64> = kept.iter().map(|(place, _)| *place).collect();
        source.each_picture(
            name,
            self.options,
            true,
            &|place| wanted.contains(&place),
            &mut |_, bytes| {
                let row = kept.pop_front().map(|(_, row)| row);
                let added = match (row, bytes) {
                    (Some(row), Ok(bytes)) => shard.add(&row, &bytes),
                    (Some(row), Err(reason)) => {
                        tracing::warn!("{} is left out of {}: {reason}", row.key, path.display());
                        Ok(())
                    }
                    (None, _) => Ok(()),
                };
                match added {
                    Ok(()) if !kept.is_empty() => ControlFlow::Continue(()),
                    Ok(()) => ControlFlow::Break(()),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            },
        )?;
        match failed {
            Some(error) => Err(error),
            None => shard.finish(),
        }
    }

    /// Rows with what is decided of each, and as lines.
    fn each_chunk(&self, file: &Path, each: &mut TakeDecided) -> Result<(), CapfiltError> {
        let mut number = 0;
        let mut take = |raw: Vec<Raw>| {
            let first = number;
            number += raw.len() as u64;
            let rows = raw.into_par_iter().enumerate().map(|(place, raw)| {
                self.decide(raw).map_err(|reason| CapfiltError::NoRow {
                    path: file.to_path_buf(),
                    row: first + place as u64 + 1,
                    reason,
                })
            });
            each(rows.collect::<Result<Vec<_>, _>>()?)
        };
        match file.extension().is_some_and(|ending| ending == "parquet") {
            true => parquet_chunks(file, &mut take),
            false => line_chunks(file, &mut take),
        }
    }

    fn decide(&self, raw: Raw) -> Result<(Row, Vec<u8>), String> {
        let row = match raw {
            Raw::Line(line) => serde_json::from_str::<Row>(&line),
            Raw::Object(object) => serde_json::from_value::<Row>(Value::Object(object)),
        };
        let mut row = row.map_err(|error| error.to_string())?;
        row.choice = Some(self.options.policy.choose(&row, self.options.threshold));
        let line = row.line().map_err(|error| error.to_string())?;
        Ok((row, line))
    }
}

/// A row that is not read yet.
enum Raw {
    Line(String),
    Object(Map<String, Value>),
}

/// Takes rows with what was decided of each, and as lines.
type TakeDecided<'t> = dyn FnMut(Vec<(Row, Vec<u8>)>) -> Result<(), CapfiltError> + 't;

/// Takes rows that are not read yet.
type TakeChunk<'t> = dyn FnMut(Vec<Raw>) -> Result<(), CapfiltError> + 't;

fn line_chunks(file: &Path, take: &mut TakeChunk) -> Result<(), CapfiltError> {
    let unreadable = |error: std::io::Error| CapfiltError::unreadable(file, error);
    let mut lines = BufReader::with_capacity(1 << 20, File::open(file).map_err(unreadable)?).lines();
    loop {
        let chunk = lines.by_ref().take(CHUNK).map(|line| line.map(Raw::Line));
        let chunk = chunk.collect::<std::io::Result<Vec<_>>>().map_err(unreadable)?;
        if chunk.is_empty() {
            return Ok(());
        }
        take(chunk)?;
    }
}

fn parquet_chunks(file: &Path, take: &mut TakeChunk) -> Result<(), CapfiltError> {
    let mut chunk = Vec::new();
    let mut failed = None;
    input::parquet_rows(file, &mut |object| {
        chunk.push(Raw::Object(object));
        if chunk.len() == CHUNK
            && let Err(error) = take(std::mem::take(&mut chunk))
        {
            failed = Some(error);
            return false;
        }
        true
    })?;
    match failed {
        Some(error) => Err(error),
        None if chunk.is_empty() => Ok(()),
        None => take(chunk),
    }
}
