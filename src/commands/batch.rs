//! `glimpse ask --batch`: a file of questions, one JSON object a line.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::ask::{AnswerRecord, Asker, prompt};
use super::{CommandResult, picture};
use crate::blip2::generation::GenerationOptions;
use crate::blip2::processor::{Picture, PictureLimits};
use crate::engine::Question;

/// A line of the file.
#[derive(Deserialize)]
struct Line {
    picture: String,
    /// Missing or null asks for a caption.
    #[serde(default)]
    question: Option<String>,
}

/// What a line gives: an answer, or why there is none.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Answer(AnswerRecord),
    Failure { error: String },
}

/// Answers all lines in order. A line that fails says so in its place, and the rest goes on.
///
/// # Errors
/// The file cannot be read, or some lines failed (after all were tried).
pub fn run(
    asker: &Asker,
    file: &Path,
    options: &GenerationOptions,
    raw: bool,
    limits: &PictureLimits,
) -> CommandResult {
    let lines = read_lines(file).map_err(|error| {
        format!(
            "{} cannot be read: {error}. Name a file of questions, or - for standard input.",
            file.display()
        )
    })?;
    let progress = progress_bar(lines.len() as u64);
    let mut stdout = std::io::stdout().lock();
    let mut pictures = LastPicture::default();
    let mut failures = 0;
    for (index, line) in lines.iter().enumerate() {
        let answer = answer(asker, line, &mut pictures, options, raw, limits);
        let outcome = answer.map_or_else(
            |error| {
                failures += 1;
                Outcome::Failure {
                    error: format!("line {}: {error}", index + 1),
                }
            },
            Outcome::Answer,
        );
        writeln!(stdout, "{}", serde_json::to_string(&outcome)?)?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    if failures > 0 {
        return Err(format!(
            "{failures} of {} lines have no answer. Their lines of the output say why.",
            lines.len()
        )
        .into());
    }
    Ok(())
}

fn read_lines(file: &Path) -> std::io::Result<Vec<String>> {
    let lines: std::io::Result<Vec<String>> = if file == Path::new("-") {
        std::io::stdin().lock().lines().collect()
    } else {
        BufReader::new(std::fs::File::open(file)?).lines().collect()
    };
    Ok(lines?.into_iter().filter(|line| !line.trim().is_empty()).collect())
}

fn progress_bar(lines: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} answered, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(lines).with_style(style)
}

fn answer(
    asker: &Asker,
    line: &str,
    pictures: &mut LastPicture,
    options: &GenerationOptions,
    raw: bool,
    limits: &PictureLimits,
) -> Result<AnswerRecord, Box<dyn std::error::Error + Send + Sync>> {
    let line: Line =
        serde_json::from_str(line).map_err(|error| format!("not an object with `picture` and `question`: {error}"))?;
    let prompt = prompt(line.question, raw)?;
    let picture = pictures.open(&line.picture, limits)?;
    asker.ask(
        Question {
            picture,
            prompt,
            options: options.clone(),
        },
        |_| Ok(()),
    )
}

/// Questions about the same picture often stand together: it is read and encoded once.
#[derive(Default)]
struct LastPicture(Option<(String, Arc<Picture>)>);

impl LastPicture {
    fn open(&mut self, name: &str, limits: &PictureLimits) -> Result<Arc<Picture>, picture::PictureArgumentError> {
        if let Some((last, picture)) = &self.0
            && last == name
        {
            return Ok(Arc::clone(picture));
        }
        let picture = Arc::new(picture::open(name, limits)?);
        self.0 = Some((name.to_string(), Arc::clone(&picture)));
        Ok(picture)
    }
}
