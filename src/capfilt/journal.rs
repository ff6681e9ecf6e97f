//! Rows as they come, a line each, so that a run that was killed goes on where it was.
//!
//! While a part is scored its rows stand in a hidden file beside where they will be. Whoever begins the
//! part again finds the lines that are whole, cuts off one that is not, and goes on behind them. When the
//! part is complete the file gets its name, or becomes Parquet.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::CapfiltError;
use super::lock::lock;
use super::output::parquet;
use super::row::{Row, ScoredText};
use super::stats::Counter;
use super::whole_file::{self, partial};

/// How scores are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoresForm {
    JsonLines,
    Parquet,
}

impl ScoresForm {
    /// How the files' names end.
    pub fn ending(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Parquet => "parquet",
        }
    }
}

/// A part that is being scored.
pub struct Part {
    /// Where its rows will be.
    path: PathBuf,
    form: ScoresForm,
    file: File,
    journal: PathBuf,
    /// The keys of rows that were there, in order.
    pub done: VecDeque<String>,
    /// What was drawn for pictures, by what they are known by.
    pub known: HashMap<[u8; 32], Vec<ScoredText>>,
    counter: Counter,
}

impl Part {
    /// Opens a part, or says that it is complete.
    ///
    /// # Errors
    /// The disk's.
    pub fn open(
        folder: &Path,
        name: &str,
        form: ScoresForm,
        by_looks: bool,
        threshold: f32,
    ) -> Result<Option<Self>, CapfiltError> {
        let path = folder.join(format!("{name}.{}", form.ending()));
        let journal = partial(&folder.join(format!("{name}.jsonl")));
        if path.exists() {
            // Of a run that was killed between the two.
            let _ = fs::remove_file(&journal);
            return Ok(None);
        }
        let unwritable = |error: std::io::Error| CapfiltError::unwritable(&journal, error);
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&journal);
        let file = file.map_err(unwritable)?;
        lock(&file, folder)?;
        if path.exists() {
            // Whoever had the lock has completed it.
            return Ok(None);
        }
        let mut part = Self {
            file,
            path,
            form,
            journal: journal.clone(),
            done: VecDeque::new(),
            known: HashMap::new(),
            counter: Counter::new(None, threshold),
        };
        part.take_up(by_looks).map_err(unwritable)?;
        Ok(Some(part))
    }

    /// Finds the rows that are whole, and goes behind them.
    fn take_up(&mut self, by_looks: bool) -> std::io::Result<()> {
        let mut whole = 0;
        let mut reader = BufReader::new(&self.file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            let is_whole = line.ends_with(b"\n");
            let row = serde_json::from_slice::<Row>(&line).ok().filter(|_| is_whole);
            let Some(row) = row else { break };
            whole += read as u64;
            if let Some(id) = id_of(&row, by_looks) {
                self.known.entry(id).or_insert_with(|| row.synthetic.clone());
            }
            self.counter.add(&row);
            self.done.push_back(row.key);
        }
        self.file.set_len(whole)?;
        self.file.seek(SeekFrom::Start(whole))?;
        Ok(())
    }

    /// Adds a row: it is there from now on, whatever becomes of the process.
    ///
    /// # Errors
    /// The disk's.
    pub fn add(&mut self, row: &Row) -> Result<(), CapfiltError> {
        let line = row
            .line()
            .map_err(|error| CapfiltError::unwritable(&self.journal, error))?;
        self.counter.add(row);
        let written = self.file.write_all(&line);
        written.map_err(|error| CapfiltError::unwritable(&self.journal, error))
    }

    /// Gives the part its name, with its statistics beside it.
    ///
    /// # Errors
    /// The disk's.
    pub fn finish(self) -> Result<(), CapfiltError> {
        let name = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.counter
            .stats
            .write(&self.path.with_file_name(format!("{name}_stats.json")))?;
        match self.form {
            ScoresForm::JsonLines => whole_file::publish(&self.file, &self.journal, &self.path)
                .map_err(|error| CapfiltError::unwritable(&self.path, error)),
            ScoresForm::Parquet => {
                // It is read again under its name, which a lock forbids on some systems.
                drop(self.file);
                parquet::convert(&self.journal, &self.path)?;
                fs::remove_file(&self.journal).map_err(|error| CapfiltError::unwritable(&self.journal, error))
            }
        }
    }

    /// Where it is written, for what is told of it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What a picture is known by, from its row.
fn id_of(row: &Row, by_looks: bool) -> Option<[u8; 32]> {
    if row.error.is_some() {
        return None;
    }
    let mut id = [0; 32];
    if by_looks {
        let looks = row.fields.get(LOOKS)?.as_str()?;
        id[..8].copy_from_slice(&u64::from_str_radix(looks, 16).ok()?.to_le_bytes());
        return Some(id);
    }
    let hash = row.sha256.as_deref()?;
    for (byte, digits) in id.iter_mut().zip(hash.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(id)
}

/// The field that holds what a picture looks like.
pub const LOOKS: &str = "phash";
