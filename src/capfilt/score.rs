//! The first step: captions and scores of every picture, a row each.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::captioner::{CaptionOptions, Captioner, Drawing};
use super::filter::{Filter, FilterError, check_filter, with_filter};
use super::input::{ReadOptions, Sample, Unit, units};
use super::journal::{LOOKS, Part, ScoresForm};
use super::lock::Lock;
use super::memory::Memory;
use super::picture::{PictureReader, Prepared, PreparedPicture};
use super::pipeline::{Ahead, Closed, Reader, Step, read_ahead};
use super::row::{Row, ScoredText};
use super::shards::{PART_ROWS, ShardRange, Worker, number_of, part_name, place_of_part};
use super::stats::PictureCount;
use super::{CapfiltError, Policy, whole_file};
use crate::engine::EngineError;
use crate::models::{MatchScore, OpenModel, hex};
use crate::processor::PictureLimits;
use crate::remote::{FetchLimits, Fetcher, Reach};

/// What is to be scored, and how.
#[derive(Clone, Debug)]
pub struct ScoreOptions {
    /// A file, a folder, or a pattern in braces.
    pub input: PathBuf,
    /// The folder of scores.
    pub scores: PathBuf,
    /// Where the names of pictures begin; else beside the file that has them.
    pub picture_folder: Option<PathBuf>,
    pub captions: CaptionOptions,
    pub shards: ShardRange,
    pub worker: Worker,
    /// Whether rows are written as Parquet.
    pub as_parquet: bool,
    pub limits: PictureLimits,
    /// From where pictures may be fetched.
    pub reach: Reach,
    /// Threads that read and decode.
    pub readers: usize,
    /// Whether pictures that look the same are encoded once.
    pub by_looks: bool,
    /// What the share of kept pictures is told by.
    pub policy: Policy,
    pub threshold: f32,
}

/// The models.
pub struct Models {
    /// Not needed where no captions are asked for.
    pub captioner: Option<OpenModel>,
    pub filter: OpenModel,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Advance {
    /// Pictures that were scored by this run.
    pub pictures: u64,
    /// Those that have a text left.
    pub kept: u64,
    /// How much of the input is done, of how much.
    pub done: u64,
    pub total: u64,
}

/// What a folder of scores was begun with: `_settings.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SettingsFile {
    pub input: PathBuf,
    pub picture_folder: Option<PathBuf>,
    /// All else, by name.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

impl SettingsFile {
    const NAME: &str = "_settings.json";

    fn new(options: &ScoreOptions, models: &Models) -> Self {
        let captions = &options.captions;
        let captioner = models.captioner.as_ref();
        let others = [
            ("captioner", Value::from(captioner.map(|model| model.name.clone()))),
            ("captioner_dtype", captioner.map(|model| model.dtype.clone()).into()),
            ("filter", models.filter.name.clone().into()),
            ("filter_dtype", models.filter.dtype.clone().into()),
            ("n", captions.count.into()),
            ("seed", captions.seed.into()),
            ("prefix", captions.prefix.clone().into()),
            ("min_length", captions.min_length.into()),
            ("max_length", captions.max_length.into()),
            ("top_p", captions.top_p.into()),
            ("top_k", captions.top_k.into()),
            ("repetition_penalty", captions.repetition_penalty.into()),
            ("perceptual_hash", options.by_looks.into()),
        ];
        Self {
            input: options.input.clone(),
            picture_folder: options.picture_folder.clone(),
            others: others
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        }
    }

    /// Those of a folder of scores, if it has any.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(Self::NAME)).ok()?).ok()
    }

    /// Sees to it that a folder that was begun is gone on with by the same settings.
    fn claim(&self, folder: &Path, worker: Worker) -> Result<(), CapfiltError> {
        let path = folder.join(Self::NAME);
        let Some(before) = Self::read(folder) else {
            let text = serde_json::to_string_pretty(self).map_err(|error| CapfiltError::unwritable(&path, error))?;
            // Workers that begin together write the same, each under a name of its own.
            let own = path.with_file_name(format!(".{}.worker-{}", Self::NAME, worker.index));
            whole_file::write_bytes(&own, (text + "\n").as_bytes())?;
            return fs::rename(&own, &path).map_err(|error| CapfiltError::unwritable(&path, error));
        };
        let other = |name: &str, was: String, is: String| CapfiltError::OtherSettings {
            folder: folder.to_path_buf(),
            name: format!("--{}", name.replace('_', "-")),
            was,
            is,
        };
        if before.input != self.input {
            let (was, is) = (before.input.display().to_string(), self.input.display().to_string());
            return Err(other("input", was, is));
        }
        let changed = self
            .others
            .iter()
            .find(|(name, value)| before.others.get(*name) != Some(value));
        match changed {
            Some((name, value)) => {
                let was = before.others.get(name).unwrap_or(&Value::Null);
                Err(other(name, was.to_string(), value.to_string()))
            }
            None => Ok(()),
        }
    }
}

/// Looks whether there is such an input, before models are loaded for it.
///
/// # Errors
/// It is not there, or of no form that is read, or has no shards with these numbers.
pub fn check_input(input: &Path, shards: ShardRange) -> Result<(), CapfiltError> {
    let units = units(input)?;
    let is_left_out = |unit: &Unit| unit.is_shard() && !shards.contains(number_of(&unit.name));
    if units.iter().all(is_left_out) {
        let names: Vec<String> = units.into_iter().map(|unit| unit.name).collect();
        return Err(CapfiltError::no_shards(input, shards, &names));
    }
    Ok(())
}

/// Scores an input, from where an earlier run was interrupted. `told` hears of every picture.
///
/// # Errors
/// There is no such input, a file cannot be read on or written, or a model stops. What was scored until
/// then is kept.
pub fn score(options: &ScoreOptions, models: Models, told: &mut dyn FnMut(Advance)) -> Result<Advance, CapfiltError> {
    let units = units(&options.input)?;
    let settings = SettingsFile::new(options, &models);
    check_filter(&models.filter)?;
    let captioner = models
        .captioner
        .map(|model| Captioner::start(model, options.captions.clone()));
    let captioner = captioner.transpose()?;
    fs::create_dir_all(&options.scores).map_err(|error| CapfiltError::unwritable(&options.scores, error))?;
    let _lock = Lock::of_worker(&options.scores, options.worker, options.shards)?;
    settings.claim(&options.scores, options.worker)?;
    let pictures = PictureReader {
        limits: options.limits,
        fetcher: Fetcher::new(options.reach.clone(), FetchLimits::new(options.limits.max_bytes)),
        captioner: captioner.as_ref().map(|captioner| Arc::clone(captioner.processor())),
        filter: Arc::clone(&models.filter.processor),
        looks: options.by_looks,
    };
    let plan = Plan::new(options, units);
    let total = plan.total;
    with_filter(&models.filter, |filter| {
        read_ahead(
            options.readers,
            &pictures,
            move |reader| plan.read(reader),
            |ahead| {
                let scoring = Scoring {
                    options,
                    captioner: captioner.as_ref(),
                    filter,
                    part: None,
                    begun: HashSet::new(),
                    memory: Memory::default(),
                    count: PictureCount::default(),
                    advance: Advance {
                        total,
                        ..Advance::default()
                    },
                    told,
                };
                scoring.run(ahead)
            },
        )
    })
}

/// What the reader goes by.
struct Plan<'a> {
    options: &'a ScoreOptions,
    /// Those of this worker.
    units: Vec<PlannedUnit>,
    is_alone: bool,
    total: u64,
    /// What an input that is cut into parts has of them, where a range of them is wanted.
    parts: RefCell<Parts>,
}

/// Parts that were met, by anybody.
#[derive(Default)]
struct Parts {
    names: Vec<String>,
    is_any_chosen: bool,
}

/// A file or a folder that is read.
struct PlannedUnit {
    /// Among those of all workers.
    index: usize,
    unit: Unit,
    /// How much there is to read before it.
    offset: u64,
}

/// Why the reader stops within a unit.
enum Stop {
    Closed,
    Failed(CapfiltError),
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl<'a> Plan<'a> {
    fn new(options: &'a ScoreOptions, units: Vec<Unit>) -> Self {
        let is_alone = units.len() == 1;
        let mut shard = 0;
        let mut total = 0;
        let mut own = Vec::new();
        for (index, unit) in units.into_iter().enumerate() {
            if unit.is_shard() {
                let is_chosen = options.shards.contains(number_of(&unit.name));
                let place = shard;
                shard += usize::from(is_chosen);
                if !is_chosen || !options.worker.takes(place) {
                    continue;
                }
            }
            let offset = total;
            total += unit.extent();
            own.push(PlannedUnit { index, unit, offset });
        }
        Self {
            options,
            units: own,
            is_alone,
            total,
            parts: RefCell::new(Parts {
                is_any_chosen: shard > 0,
                ..Parts::default()
            }),
        }
    }

    fn read(&self, reader: &mut Reader) {
        for unit in &self.units {
            match self.read_unit(unit, reader) {
                Ok(()) => {}
                Err(Stop::Closed) => return,
                Err(Stop::Failed(error)) => return reader.fail(error),
            }
        }
        let parts = self.parts.borrow();
        if !parts.names.is_empty() && !parts.is_any_chosen {
            let (input, shards) = (&self.options.input, self.options.shards);
            reader.fail(CapfiltError::no_shards(input, shards, &parts.names));
        }
    }

    fn read_unit(&self, planned: &PlannedUnit, reader: &mut Reader) -> Result<(), Stop> {
        let PlannedUnit { unit, offset, .. } = planned;
        let read = ReadOptions {
            picture_folder: self.options.picture_folder.clone(),
            max_bytes: self.options.limits.max_bytes,
            is_again: false,
        };
        let mut reading = PartReading {
            plan: self,
            planned,
            part: self.begin(planned, 0, reader)?,
            number: 0,
            rows: 0,
        };
        if unit.is_shard() && matches!(reading.part, Current::Skipped) {
            return Ok(());
        }
        let mut stop = None;
        let result = unit.read(
            &read,
            &mut |sample, extent| match reading.take(sample, offset + extent, reader) {
                Ok(()) => ControlFlow::Continue(()),
                Err(reason) => {
                    stop = Some(reason);
                    ControlFlow::Break(())
                }
            },
        );
        if let Some(stop) = stop {
            return Err(stop);
        }
        result.map_err(Stop::Failed)?;
        reading.end(reader)
    }

    /// Begins a part, if it is this worker's and not complete.
    fn begin(&self, planned: &PlannedUnit, number: u64, reader: &mut Reader) -> Result<Current, Stop> {
        let PlannedUnit { index, unit, .. } = planned;
        let name = part_name(unit, number, self.is_alone);
        if !unit.is_shard() {
            let is_chosen = self.options.shards.contains(number_of(&name));
            let mut parts = self.parts.borrow_mut();
            parts.is_any_chosen |= is_chosen;
            parts.names.push(name.clone());
            if !is_chosen || !self.options.worker.takes(place_of_part(*index, number)) {
                return Ok(Current::Skipped);
            }
        }
        let form = match self.options.as_parquet {
            true => ScoresForm::Parquet,
            false => ScoresForm::JsonLines,
        };
        let (folder, by_looks) = (&self.options.scores, self.options.by_looks);
        let opened = Part::open(folder, &name, form, by_looks, self.options.threshold).map_err(Stop::Failed)?;
        let Some(mut part) = opened else {
            return Ok(Current::Skipped);
        };
        let (done, path) = (std::mem::take(&mut part.done), part.path().to_path_buf());
        reader.begin(part)?;
        Ok(Current::Open { done, path })
    }
}

/// The part that samples belong to.
enum Current {
    /// Somebody else's, or complete.
    Skipped,
    Open {
        /// Keys of rows that are there.
        done: VecDeque<String>,
        path: PathBuf,
    },
}

/// Where the reader is in a unit.
struct PartReading<'a> {
    plan: &'a Plan<'a>,
    planned: &'a PlannedUnit,
    part: Current,
    number: u64,
    rows: u64,
}

impl PartReading<'_> {
    fn take(&mut self, sample: Sample, extent: u64, reader: &mut Reader) -> Result<(), Stop> {
        if !self.planned.unit.is_shard() && self.rows == PART_ROWS {
            self.end(reader)?;
            (self.number, self.rows) = (self.number + 1, 0);
            self.part = self.plan.begin(self.planned, self.number, reader)?;
        }
        self.rows += 1;
        let Current::Open { done, path } = &mut self.part else {
            return Ok(());
        };
        match done.pop_front() {
            None => Ok(reader.sample(sample, extent)?),
            Some(key) if key == sample.key => Ok(()),
            Some(key) => Err(Stop::Failed(CapfiltError::InputChanged {
                path: path.clone(),
                found: sample.key,
                expected: key,
            })),
        }
    }

    /// Ends the part that is open.
    fn end(&mut self, reader: &mut Reader) -> Result<(), Stop> {
        match &mut self.part {
            Current::Skipped => Ok(()),
            Current::Open { done, path } => match done.pop_front() {
                None => Ok(reader.end()?),
                Some(key) => Err(Stop::Failed(CapfiltError::InputChanged {
                    path: path.clone(),
                    found: "its end".into(),
                    expected: key,
                })),
            },
        }
    }
}

/// Where captions of a picture come from.
enum Captions {
    /// None are asked for, or the picture cannot be read.
    None,
    Drawn(Drawing),
    /// Drawn for another picture of the same bytes, or looks.
    Known,
}

/// What is on its way.
enum Pending {
    Begin(Box<Part>),
    Picture(Box<Prepared>, Captions),
    End,
    Failed(CapfiltError),
}

/// Whoever has the models.
struct Scoring<'a> {
    options: &'a ScoreOptions,
    captioner: Option<&'a Captioner>,
    filter: &'a mut dyn Filter,
    part: Option<Box<Part>>,
    /// Pictures of the part that is read, by what they are known by.
    begun: HashSet<[u8; 32]>,
    /// Of those of all parts.
    memory: Memory,
    count: PictureCount,
    advance: Advance,
    told: &'a mut dyn FnMut(Advance),
}

impl Scoring<'_> {
    /// Captions of pictures to come are drawn while the one in front is scored.
    fn run(mut self, ahead: &mut Ahead) -> Result<Advance, CapfiltError> {
        let most = self.captioner.map_or(1, Captioner::at_once);
        let mut pending: VecDeque<Pending> = VecDeque::new();
        loop {
            while pending.len() < most {
                let step = match pending.is_empty() {
                    true => ahead.next(),
                    false => ahead.try_next(),
                };
                let Some(step) = step else { break };
                pending.push_back(self.begin(step)?);
            }
            match pending.pop_front() {
                None => return Ok(self.advance),
                Some(Pending::Begin(part)) => self.part = Some(part),
                Some(Pending::Failed(error)) => return Err(error),
                Some(Pending::End) => {
                    if let Some(part) = self.part.take() {
                        part.finish()?;
                    }
                }
                Some(Pending::Picture(prepared, captions)) => {
                    self.finish(*prepared, captions)?;
                    ahead.make_room();
                }
            }
        }
    }

    fn begin(&mut self, step: Step) -> Result<Pending, CapfiltError> {
        Ok(match step {
            Step::Begin(part) => {
                self.begun = part.known.keys().copied().collect();
                Pending::Begin(part)
            }
            Step::End => Pending::End,
            Step::Failed(error) => Pending::Failed(error),
            Step::Picture(prepared) => {
                let captions = self.begin_captions(&prepared)?;
                Pending::Picture(prepared, captions)
            }
        })
    }

    fn begin_captions(&mut self, prepared: &Prepared) -> Result<Captions, CapfiltError> {
        let (Some(captioner), Some(picture)) = (self.captioner, &prepared.picture.picture) else {
            return Ok(Captions::None);
        };
        let (Some(id), Some(hash)) = (prepared.picture.id(), prepared.picture.sha256) else {
            return Ok(Captions::None);
        };
        let is_known = !self.begun.insert(id) || self.memory.drawn(&hash).is_some();
        match (&picture.captioner, is_known) {
            (Some(_), true) => Ok(Captions::Known),
            (Some(picture), false) => Ok(Captions::Drawn(captioner.draw(&hash, picture)?)),
            (None, _) => Ok(Captions::None),
        }
    }

    fn finish(&mut self, prepared: Prepared, captions: Captions) -> Result<(), CapfiltError> {
        let extent = prepared.extent;
        let row = self.row(prepared, captions)?;
        let is_kept = self.options.policy.choose(&row, self.options.threshold).kept;
        self.count.add(&row, is_kept);
        (self.advance.pictures, self.advance.kept) = (self.count.pictures, self.count.kept);
        self.advance.done = extent;
        if let Some(part) = &mut self.part {
            part.add(&row)?;
        }
        (self.told)(self.advance);
        Ok(())
    }

    fn row(&mut self, prepared: Prepared, captions: Captions) -> Result<Row, CapfiltError> {
        let (id, hash) = (prepared.picture.id(), prepared.picture.sha256);
        let mut row = Row {
            sha256: hash.map(|hash| hex(&hash)),
            web: ScoredText::new(prepared.text.clone(), None),
            ..Row::default()
        };
        let scored = match (&prepared.picture.picture, id, hash) {
            (Some(picture), Some(id), Some(hash)) => {
                let known = Known { id, hash, picture };
                self.scored(&prepared.text, &known, captions)?
            }
            _ => Err(prepared
                .picture
                .error
                .clone()
                .unwrap_or_else(|| "there is no picture".into())),
        };
        match scored {
            Ok((web, synthetic)) => (row.web, row.synthetic) = (web, synthetic),
            Err(reason) => row.error = Some(reason),
        }
        row.fields = prepared.fields;
        if let Some(looks) = prepared.picture.looks {
            row.fields.insert(LOOKS.into(), format!("{looks:016x}").into());
        }
        row.key = prepared.key;
        Ok(row)
    }

    /// The web's text and the synthetic ones with their scores, or what is wrong with this picture.
    #[allow(clippy::type_complexity)]
    fn scored(
        &mut self,
        web: &str,
        picture: &Known,
        captions: Captions,
    ) -> Result<Result<(ScoredText, Vec<ScoredText>), String>, CapfiltError> {
        let of_part = self.part.as_ref().and_then(|part| part.known.get(&picture.id));
        let known = of_part.or_else(|| self.memory.drawn(&picture.hash)).cloned();
        let drawn = match (&known, captions) {
            (Some(_), _) | (None, Captions::None) => Ok(Vec::new()),
            (None, Captions::Drawn(drawing)) => drawing.texts(),
            // The picture before this one of the same bytes has failed, or is forgotten.
            (None, Captions::Known) => self.draw_now(picture),
        };
        let drawn = match drawn {
            Ok(drawn) => drawn,
            Err(error @ (EngineError::Gone | EngineError::DeviceFailed)) => return Err(error.into()),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let texts: Vec<&str> = std::iter::once(web).chain(drawn.iter().map(String::as_str)).collect();
        let scores = match self.scores(picture, &texts) {
            Ok(scores) => scores,
            Err(FilterError::Picture(reason)) => return Ok(Err(reason)),
            Err(FilterError::Device(reason)) => return Err(CapfiltError::Filter(reason)),
        };
        let mut scored = texts
            .iter()
            .zip(scores)
            .map(|(text, score)| ScoredText::new((*text).to_owned(), score));
        let web = scored.next().unwrap_or_default();
        let synthetic = match known {
            Some(known) => known,
            None => {
                let synthetic: Vec<ScoredText> = scored.collect();
                self.memory.add_drawn(picture.hash, &synthetic);
                synthetic
            }
        };
        if let Some(part) = &mut self.part {
            part.known.entry(picture.id).or_insert_with(|| synthetic.clone());
        }
        Ok(Ok((web, synthetic)))
    }

    /// The scores of texts, of those that are new by the filter; of an empty one none.
    fn scores(&mut self, picture: &Known, texts: &[&str]) -> Result<Vec<Option<MatchScore>>, FilterError> {
        let mut new: Vec<&str> = Vec::new();
        for text in texts {
            if self.memory.score(&picture.hash, text).is_none() && !new.contains(text) {
                new.push(text);
            }
        }
        if !new.is_empty() {
            let scores = self.filter.scores(picture.hash, &picture.picture.filter, &new)?;
            for (text, score) in new.into_iter().zip(scores) {
                if let Some(score) = score {
                    self.memory.add_score(&picture.hash, text, score);
                }
            }
        }
        let scores = texts.iter().map(|text| self.memory.score(&picture.hash, text));
        Ok(scores.collect())
    }

    fn draw_now(&self, picture: &Known) -> Result<Vec<String>, EngineError> {
        match (self.captioner, &picture.picture.captioner) {
            (Some(captioner), Some(prepared)) => captioner.draw(&picture.hash, prepared)?.texts(),
            _ => Ok(Vec::new()),
        }
    }
}

/// A picture, and what it is known by: in its part, where looks may count, and everywhere.
struct Known<'a> {
    id: [u8; 32],
    hash: [u8; 32],
    picture: &'a PreparedPicture,
}
