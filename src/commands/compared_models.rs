//! `glimpse ask --model A --model B`: one question to several models, side by side.

use std::io::Write;

use serde::Serialize;

use super::ask::{AnswerRecord, Asker, harmless, say_no_answer};
use super::log::tell;
use super::several_pictures::in_a_line;
use super::{CommandResult, options};
use crate::engine::Instruction;
use crate::models::{ModelRequest, OpenModel};
use crate::processor::Picture;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

pub const ONE_PICTURE: &str =
    "--model (GLIMPSE_MODEL) names several models, which are compared by one picture. Name one picture, or one model.";

/// An answer, or why there is none, with the model that gave it.
#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    #[serde(flatten)]
    answer: Option<&'a AnswerRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Asks one model after the other; no two are in memory at once. One that fails says so in its place, and
/// the rest goes on. Each answer is a line of the model's name, how long it took, and the answer.
///
/// # Errors
/// Some models failed (after all were tried), or nobody reads the answers.
pub fn run(
    models: Vec<ModelRequest>,
    start: impl Fn(OpenModel) -> Result<Asker, AnyError>,
    picture: &Picture,
    instruction: &Instruction,
    json: bool,
) -> CommandResult {
    let (mut failures, count) = (0, models.len());
    for model in models {
        let named = model.source.to_string();
        let (name, answer) = match options::open(model).map_err(AnyError::from).and_then(&start) {
            Ok(asker) => answered(asker, picture, instruction),
            Err(error) => (named, Err(error)),
        };
        match &answer {
            Ok(record) => say_no_answer(record, Some(&name)),
            Err(error) => {
                failures += 1;
                tell(format_args!("{name}: {error}"));
            }
        }
        print(&name, &answer, json)?;
    }
    match failures {
        0 => Ok(()),
        _ => Err(format!("{failures} of {count} models gave no answer, as said above.").into()),
    }
}

/// What it is called and says; then it is out of memory.
fn answered(asker: Asker, picture: &Picture, instruction: &Instruction) -> (String, Result<AnswerRecord, AnyError>) {
    let answer = asker.ask(&asker.prepare(picture), instruction.clone(), |_| Ok(()));
    let name = asker.name().to_owned();
    asker.unload();
    (name, answer)
}

fn print(name: &str, answer: &Result<AnswerRecord, AnyError>, json: bool) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    if json {
        let line = Line {
            model: name,
            answer: answer.as_ref().ok(),
            error: answer.as_ref().err().map(ToString::to_string),
        };
        writeln!(stdout, "{}", serde_json::to_string(&line)?)?;
    } else if let Ok(record) = answer {
        let name = harmless(&in_a_line(name)).into_owned();
        for text in record.texts() {
            let seconds = record.took() / 1e3;
            writeln!(stdout, "{name}\t{seconds:.2} s\t{}", harmless(&in_a_line(text)))?;
        }
    }
    stdout.flush()
}
