//! `glimpse ask --batch`: a file of questions, one JSON object a line.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ask::{AnswerRecord, Asker, PreparedPicture};
use super::prompt::PromptArgs;
use super::{CommandResult, picture, progress};
use crate::processor::PictureLimits;

/// Bytes of a line.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// A line of the file.
#[derive(Deserialize)]
struct Line {
    picture: String,
    /// Missing or null asks for a caption.
    #[serde(default)]
    question: Option<String>,
    /// What else the caller keeps in his lines.
    #[serde(flatten)]
    unread: Map<String, Value>,
}

/// What a line gives: an answer, or why there is none.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Answer(AnswerRecord),
    Failure { error: String },
}

/// A file of questions, read line by line: it may be as long as it likes, or never end.
pub struct Questions {
    lines: Box<dyn BufRead>,
    progress: ProgressBar,
    number: usize,
    /// Keys that were named as not read.
    unread: HashSet<String>,
}

impl Drop for Questions {
    fn drop(&mut self) {
        progress::hide(&self.progress);
    }
}

impl Questions {
    /// Opens the file, or standard input for `-`.
    pub fn open(file: &Path) -> Result<Self, String> {
        if file == Path::new("-") {
            return Ok(Self::new(std::io::stdin().lock(), None));
        }
        if file.is_dir() {
            let sentence = "is a folder. Name a file of questions, or - for standard input.";
            return Err(format!("{} {sentence}", file.display()));
        }
        let opened = std::fs::File::open(file).and_then(|opened| Ok((opened.metadata()?.len(), opened)));
        let (bytes, opened) = opened.map_err(|error| {
            format!(
                "{} cannot be read: {error}. Name a file of questions, or - for standard input.",
                file.display()
            )
        })?;
        Ok(Self::new(BufReader::new(opened), Some(bytes)))
    }

    fn new(lines: impl BufRead + 'static, bytes: Option<u64>) -> Self {
        Self {
            lines: Box::new(lines),
            progress: progress_bar(bytes),
            number: 0,
            unread: HashSet::new(),
        }
    }

    /// The next line that says something, with its number in the file; `None` behind the last.
    fn next(&mut self) -> std::io::Result<Option<(usize, Result<String, String>)>> {
        loop {
            let mut line = Vec::new();
            let read = self
                .lines
                .by_ref()
                .take(MAX_LINE_BYTES + 1)
                .read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.progress.inc(read as u64);
            if read as u64 > MAX_LINE_BYTES {
                self.skip_line(&line)?;
                let reason = format!("it has more than {MAX_LINE_BYTES} bytes");
                return Ok(Some((self.number, Err(reason))));
            }
            let text = String::from_utf8(line).map_err(|_| "it is not UTF-8 text".to_string());
            if !text.as_ref().is_ok_and(|text| is_blank(text)) {
                return Ok(Some((self.number, text)));
            }
        }
    }

    /// What a line asks. A key that is not read is named once: it may be a misspelt one.
    fn understand(&mut self, line: &str, number: usize) -> Result<Line, String> {
        let line: Line = serde_json::from_str(line.trim_start_matches('\u{feff}'))
            .map_err(|error| format!("not an object with `picture` and `question`: {}", without_place(&error)))?;
        for key in line.unread.keys() {
            if self.unread.insert(key.clone()) {
                tracing::warn!("line {number} has a key {key:?}, which is not read; `picture` and `question` are");
            }
        }
        Ok(line)
    }

    fn skip_line(&mut self, begun: &[u8]) -> std::io::Result<()> {
        if begun.ends_with(b"\n") {
            return Ok(());
        }
        let skipped = self.lines.skip_until(b'\n')?;
        self.progress.inc(skipped as u64);
        Ok(())
    }
}

/// What is wrong with a line, without the place within it, which its number would contradict.
fn without_place(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    said.strip_suffix(&place).unwrap_or(&said).to_owned()
}

/// Whether a line says nothing; a byte order mark says nothing.
fn is_blank(line: &str) -> bool {
    line.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']).is_empty()
}

/// A bar over the file's bytes, where its length is known: on a terminal, unless the answers
/// that appear there say themselves how far it is.
fn progress_bar(bytes: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() || std::io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    match bytes {
        Some(bytes) => progress::show(ProgressBar::new(bytes), "{wide_bar} {percent}% answered, {eta} left"),
        None => progress::show(ProgressBar::new_spinner(), "{spinner} {bytes} answered"),
    }
}

/// Answers all lines in order. A line that fails says so in its place, and the rest goes on.
///
/// # Errors
/// The file broke off, or some lines failed (after all were tried).
pub fn run(asker: &Asker, mut questions: Questions, prompts: &PromptArgs, limits: &PictureLimits) -> CommandResult {
    let mut stdout = std::io::stdout().lock();
    let mut pictures = LastPicture::default();
    let (mut lines, mut failures) = (0, 0);
    while let Some((number, line)) = questions.next()? {
        lines += 1;
        let answer = line
            .and_then(|line| questions.understand(&line, number))
            .map_err(Into::into)
            .and_then(|line| answer(asker, line, &mut pictures, prompts, limits));
        let outcome = answer.map_or_else(
            |error| {
                failures += 1;
                Outcome::Failure {
                    error: format!("line {number}: {error}"),
                }
            },
            Outcome::Answer,
        );
        writeln!(stdout, "{}", serde_json::to_string(&outcome)?)?;
        stdout.flush()?;
    }
    if failures > 0 {
        return Err(format!("{failures} of {lines} lines have no answer. Their lines of the output say why.").into());
    }
    Ok(())
}

fn answer(
    asker: &Asker,
    line: Line,
    pictures: &mut LastPicture,
    prompts: &PromptArgs,
    limits: &PictureLimits,
) -> Result<AnswerRecord, Box<dyn std::error::Error + Send + Sync>> {
    if line.picture == "-" {
        return Err(
            "A line names its picture by a path or an address; standard input is for one question alone.".into(),
        );
    }
    let instruction = prompts.instruction(line.question)?;
    let picture = pictures.open(asker, &line.picture, limits)?;
    asker.ask(&picture, instruction, |_| Ok(()))
}

/// Questions about the same picture often stand together: it is read and resized once.
#[derive(Default)]
struct LastPicture(Option<(String, PreparedPicture)>);

impl LastPicture {
    fn open(
        &mut self,
        asker: &Asker,
        name: &str,
        limits: &PictureLimits,
    ) -> Result<PreparedPicture, picture::PictureArgumentError> {
        if let Some((last, picture)) = &self.0
            && last == name
        {
            return Ok(picture.clone());
        }
        let picture = asker.prepare(&picture::open(OsStr::new(name), limits)?);
        self.0 = Some((name.to_string(), picture.clone()));
        Ok(picture)
    }
}
