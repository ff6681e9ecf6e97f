//! The second step: which texts are kept, by their scores alone. Rows are read as they come, on all cores.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use rayon::prelude::*;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::input;
use super::lock::Lock;
use super::output::coco::Coco;
use super::output::folder::Folder;
use super::output::webdataset::Shard;
use super::output::{Columns, OutputForm, PictureWriter, writer};
use super::report::{Examples, Report};
use super::row::{Choice, Row};
use super::score::SettingsFile;
use super::shards::{ShardRange, Worker, number_of};
use super::source::Source;
use super::stats::{Counter, Stats};
use super::{CapfiltError, Policy, whole_file};
use crate::models::hex;
use crate::processor::PictureLimits;
use crate::remote::Reach;

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
    let _lock = Lock::of_worker(&options.output, options.worker, options.shards)?;
    let of_source = || Some(OutputForm::of(source.as_ref()?.first()?));
    let selecting = Selecting {
        options,
        form: options.form.or_else(of_source).unwrap_or(OutputForm::JsonLines),
        source: source.as_ref(),
    };
    let mut total = Counter::of_all(options.policy, options.threshold);
    let mut examples = Examples::new(options.threshold);
    for file in &files {
        selecting.shard(file, &mut total, &mut examples)?;
    }
    let total = total.stats;
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
        return match has_rows(&options.scores) {
            true => Ok(vec![options.scores.clone()]),
            false => Err(CapfiltError::Unscored {
                path: options.scores.clone(),
            }),
        };
    }
    let unreadable = |error: std::io::Error| CapfiltError::unreadable(folder, error);
    let (mut files, mut others) = (Vec::new(), Vec::new());
    if !folder.is_dir() {
        return Err(CapfiltError::NoScores {
            folder: folder.to_path_buf(),
        });
    }
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !has_rows(&path) || name.starts_with('.') {
            continue;
        }
        match options.shards.contains(number_of(&stem(&path))) {
            true => files.push(path),
            false => others.push(stem(&path)),
        }
    }
    files.sort();
    // A worker may have none, and scores nothing then.
    let is_alone = options.worker.count == 1;
    if is_alone && files.is_empty() && !others.is_empty() {
        others.sort();
        return Err(CapfiltError::no_shards(folder, options.shards, &others));
    }
    if is_alone && files.is_empty() && input::units(folder).is_ok() {
        return Err(CapfiltError::Unscored {
            path: folder.to_path_buf(),
        });
    }
    if !is_alone {
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

/// Whether a file may hold rows, by its name.
fn has_rows(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending == "jsonl" || ending == "parquet")
}

/// The folder of scores within the output of both steps.
pub const SCORES: &str = "scores";

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

struct Selecting<'a> {
    options: &'a SelectOptions,
    form: OutputForm,
    source: Option<&'a Source>,
}

impl Selecting<'_> {
    /// Selects the rows of a file, and counts them among all.
    fn shard(&self, file: &Path, total: &mut Counter, examples: &mut Examples) -> Result<(), CapfiltError> {
        let name = stem(file);
        let mut counter = Counter::new(Some(self.options.policy), self.options.threshold);
        let mut place = 0;
        let mut count = |row: &Row| {
            counter.add(row);
            let is_first = total.add(row);
            examples.see(&name, place, row, is_first);
            place += 1;
        };
        match self.form {
            OutputForm::Webdataset => self.archive(file, &name, &mut count)?,
            OutputForm::Folder => self.folder(file, &name, &mut count)?,
            OutputForm::Coco => self.coco(file, &name, &mut count)?,
            _ => self.rows(file, &name, self.form, &LeftOut::default(), &mut count)?,
        }
        total.stats.duplicates += counter.stats.duplicates;
        let path = self.options.output.join(format!("{name}_stats.json"));
        counter.stats.write(&path)
    }

    /// All rows, those that lose their texts too.
    fn rows(
        &self,
        file: &Path,
        name: &str,
        form: OutputForm,
        left_out: &LeftOut,
        count: &mut dyn FnMut(&Row),
    ) -> Result<(), CapfiltError> {
        let path = self.options.output.join(format!("{name}.{}", form.ending()));
        let mut columns = Columns::default();
        if form.has_columns() {
            self.each_chunk(file, &mut |rows| {
                rows.iter().for_each(|(row, _)| columns.see(row));
                Ok(())
            })?;
            columns.is_selected = true;
        }
        whole_file::write(&path, |out| {
            let mut rows_out = writer(form, &path, out, columns)?;
            self.each_written(file, left_out, &mut |row, line| {
                count(&row);
                rows_out.write(row, line)
            })?;
            rows_out.finish()
        })
    }

    /// Rows with what came of them: one whose picture could not be written is not kept.
    fn each_written(&self, file: &Path, left_out: &LeftOut, each: &mut TakeWritten) -> Result<(), CapfiltError> {
        let mut places = 0..;
        self.each_chunk(file, &mut |rows| {
            for ((mut row, mut line), place) in rows.into_iter().zip(&mut places) {
                if let Some(reason) = left_out.get(&place) {
                    row.error = Some(reason.clone());
                    row.choice = Some(Choice::default());
                    line = row.line().map_err(|error| CapfiltError::unreadable(file, error))?;
                }
                each(row, &line)?;
            }
            Ok(())
        })
    }

    /// COCO's captions: the pictures that keep a text, then their texts.
    fn coco(&self, file: &Path, name: &str, count: &mut dyn FnMut(&Row)) -> Result<(), CapfiltError> {
        let path = self.options.output.join(format!("{name}.json"));
        whole_file::write(&path, |out| {
            let mut coco = Coco::new(&path, out, self.options.policy, self.options.threshold)?;
            self.each_chunk(file, &mut |rows| rows.iter().try_for_each(|(row, _)| coco.image(row)))?;
            coco.begin_annotations()?;
            self.each_chunk(file, &mut |rows| {
                rows.iter().try_for_each(|(row, _)| {
                    count(row);
                    coco.annotations(row)
                })
            })?;
            coco.finish()
        })
    }

    /// A shard with the pictures that are kept.
    fn archive(&self, file: &Path, name: &str, count: &mut dyn FnMut(&Row)) -> Result<(), CapfiltError> {
        let kept = self.kept(file)?;
        let path = self.options.output.join(format!("{name}.tar"));
        let mut left_out = LeftOut::default();
        whole_file::write(&path, |out| {
            let mut shard = Shard::new(&path, out);
            left_out = self.pictures(file, name, kept, &mut shard)?;
            shard.finish()
        })?;
        self.each_written(file, &left_out, &mut |row, _| {
            count(&row);
            Ok(())
        })
    }

    /// A folder with the pictures that are kept, and all rows in a file beside it.
    fn folder(&self, file: &Path, name: &str, count: &mut dyn FnMut(&Row)) -> Result<(), CapfiltError> {
        let mut folder = Folder::begin(&self.options.output.join(name))?;
        let left_out = self.pictures(file, name, self.kept(file)?, &mut folder)?;
        self.rows(file, name, OutputForm::JsonLines, &left_out, count)?;
        folder.finish()
    }

    /// The rows that keep a text.
    fn kept(&self, file: &Path) -> Result<Kept, CapfiltError> {
        let (mut kept, mut places) = (Kept::default(), 0..);
        self.each_chunk(file, &mut |rows| {
            for ((row, _), place) in rows.into_iter().zip(&mut places) {
                if row.choice.as_ref().is_some_and(|choice| choice.kept) {
                    kept.add(row.key, place);
                }
            }
            Ok(())
        })?;
        Ok(kept)
    }

    /// Writes the pictures that are kept: the source is read again beside the rows. Gives those that are not
    /// there any more, or are others.
    fn pictures(
        &self,
        file: &Path,
        name: &str,
        mut kept: Kept,
        out: &mut dyn PictureWriter,
    ) -> Result<LeftOut, CapfiltError> {
        let source = self.source.filter(|source| source.has(name));
        let source = source.ok_or_else(|| CapfiltError::NoPictures {
            scores: file.to_path_buf(),
        })?;
        let (send, rows) = sync_channel(AHEAD);
        thread::scope(|scope| {
            let reading = scope.spawn(move || self.send_kept(file, &send));
            let mut pairing = Pairing {
                left: kept.count,
                rows,
                left_out: LeftOut::default(),
            };
            let mut failed = None;
            let read = source.each_picture(
                name,
                self.options,
                true,
                &mut |_, key| kept.next(key),
                &mut |place, bytes| {
                    // The thread has ended where it met an error, which is told below.
                    let Some(row) = pairing.row(place) else {
                        return ControlFlow::Break(());
                    };
                    match bytes.and_then(|bytes| as_scored(&row, bytes)) {
                        Ok(bytes) => failed = out.add(&row, &bytes).err(),
                        Err(reason) => {
                            tracing::warn!("{} is left out of {name}: {reason}", row.key);
                            pairing.left_out.insert(place, reason);
                        }
                    }
                    match failed.is_none() && pairing.left > 0 {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    }
                },
            );
            if failed.is_none() && read.is_ok() {
                pairing.end();
            }
            let left_out = pairing.left_out;
            drop(pairing.rows);
            let sent = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            if let Some(error) = failed {
                return Err(error);
            }
            read.and(sent)?;
            let gone = left_out.values().filter(|reason| *reason == GONE).count();
            if gone > 0 {
                tracing::warn!("{gone} pictures of {name} are not in the input any more, and are left out");
            }
            Ok(left_out)
        })
    }

    /// Sends the rows that keep a text, with their places, until nobody takes them.
    fn send_kept(&self, file: &Path, send: &SyncSender<(u64, Row)>) -> Result<(), CapfiltError> {
        let (mut is_over, mut places) = (false, 0..);
        self.each_chunk(file, &mut |rows| {
            for ((row, _), place) in rows.into_iter().zip(&mut places) {
                let is_kept = row.choice.as_ref().is_some_and(|choice| choice.kept);
                is_over = is_over || (is_kept && send.send((place, row)).is_err());
            }
            Ok(())
        })
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

/// Rows that are read ahead of their pictures.
const AHEAD: usize = 256;

/// Why pictures of rows that keep a text were not written, by the rows' places.
type LeftOut = HashMap<u64, String>;

const GONE: &str = "it is not in the input any more, or not where it was when it was scored";

/// The places of rows that keep a text, by their keys.
#[derive(Default)]
struct Kept {
    places: HashMap<String, VecDeque<u64>>,
    count: usize,
    /// Rows before this place have had their turn.
    next: u64,
}

impl Kept {
    fn add(&mut self, key: String, place: u64) {
        self.places.entry(key).or_default().push_back(place);
        self.count += 1;
    }

    /// The row that the next picture with this key belongs to, if there is any behind those that had one.
    fn next(&mut self, key: &str) -> Option<u64> {
        let places = self.places.get_mut(key)?;
        while let Some(place) = places.pop_front() {
            if place >= self.next {
                self.next = place + 1;
                return Some(place);
            }
        }
        None
    }
}

/// Rows that keep a text, as their pictures come.
struct Pairing {
    rows: Receiver<(u64, Row)>,
    left: usize,
    left_out: LeftOut,
}

impl Pairing {
    /// The row of a place; those before it, which had no picture, are left out.
    fn row(&mut self, wanted: u64) -> Option<Row> {
        loop {
            let (place, row) = self.rows.recv().ok()?;
            self.left -= 1;
            if place == wanted {
                return Some(row);
            }
            self.left_out.insert(place, GONE.into());
        }
    }

    /// No more pictures come.
    fn end(&mut self) {
        while let Ok((place, _)) = self.rows.recv() {
            self.left_out.insert(place, GONE.into());
        }
    }
}

/// A picture's bytes, if they are still those that were scored.
fn as_scored(row: &Row, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    match row.sha256.as_deref() {
        Some(hash) if hash != hex(&Sha256::digest(&bytes)) => {
            Err("it is not the picture any more that was scored".into())
        }
        _ => Ok(bytes),
    }
}

/// A row that is not read yet.
enum Raw {
    Line(String),
    Object(Map<String, Value>),
}

/// Takes rows with what was decided of each, and as lines.
type TakeDecided<'t> = dyn FnMut(Vec<(Row, Vec<u8>)>) -> Result<(), CapfiltError> + 't;

/// Takes a row with what came of it, and as a line.
type TakeWritten<'t> = dyn FnMut(Row, &[u8]) -> Result<(), CapfiltError> + 't;

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
