//! `glimpse ask --question … a.png b.png`: one question about several pictures.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::ask::{AnswerRecord, Asker, harmless, say_no_answer};
use super::log::tell;
use super::{CommandResult, UsageError, picture};
use crate::engine::Instruction;
use crate::processor::PictureLimits;
use crate::processor::file_names::is_named_as_picture;
use crate::remote::is_address;

/// The pictures and the question that the arguments name: with `--question`, all arguments are
/// pictures; without, the second one is the question.
///
/// # Errors
/// A question that is a picture by its looks, which is what `*.png` gives.
pub fn tell_apart(
    flag: Option<String>,
    first: OsString,
    mut rest: Vec<OsString>,
) -> Result<(Vec<OsString>, Option<String>), UsageError> {
    if flag.is_some() {
        rest.insert(0, first);
        return Ok((rest, flag));
    }
    if rest.len() > 1 || rest.first().is_some_and(|second| is_picture(second)) {
        return Err(UsageError(SEVERAL.into()));
    }
    let question = rest.pop().map(OsString::into_string).transpose();
    let question = question.map_err(|_| UsageError("The question is not UTF-8 text. Type it again.".into()))?;
    Ok((vec![first], question))
}

const SEVERAL: &str = "Behind the picture stands its question, and this is another picture. Ask one question about several with --question \"…\" a.png b.png, or different ones with --batch.";

fn is_picture(argument: &OsStr) -> bool {
    let path = Path::new(argument);
    let text = argument.to_string_lossy();
    let ends_so = is_named_as_picture(path);
    // A question with spaces may end in a file's name, as in "what is in cat.png".
    path.is_file() || is_address(&text) || (ends_so && !text.contains(char::is_whitespace))
}

/// An answer, or why there is none, beside its picture.
#[derive(Serialize)]
struct Line<'a> {
    picture: Cow<'a, str>,
    #[serde(flatten)]
    answer: Option<&'a AnswerRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// An answer's JSON beside its picture, as it stands among several.
///
/// # Errors
/// None that an answer has.
pub fn json_of(picture: &OsStr, answer: &AnswerRecord) -> serde_json::Result<String> {
    serde_json::to_string(&Line {
        picture: picture.to_string_lossy(),
        answer: Some(answer),
        error: None,
    })
}

/// Asks about each picture, in order. One that fails says so in its place, and the rest goes on.
///
/// # Errors
/// Some pictures failed (after all were tried), or nobody reads the answers.
pub fn run(
    asker: &Asker,
    pictures: &[OsString],
    instruction: &Instruction,
    limits: &PictureLimits,
    json: bool,
) -> CommandResult {
    let mut failures = 0;
    for name in pictures {
        let shown = name.to_string_lossy();
        let answer = answer(asker, name, instruction, limits);
        if let Err(error) = &answer {
            failures += 1;
            tell(error);
        }
        if let Ok(record) = &answer {
            say_no_answer(record, Some(&shown));
        }
        let mut stdout = std::io::stdout().lock();
        if json {
            let line = Line {
                picture: shown,
                answer: answer.as_ref().ok(),
                error: answer.as_ref().err().map(ToString::to_string),
            };
            writeln!(stdout, "{}", serde_json::to_string(&line)?)?;
        } else {
            for text in texts(answer.as_ref().ok()) {
                writeln!(
                    stdout,
                    "{}\t{}",
                    harmless(&in_a_line(&shown)),
                    harmless(&in_a_line(text))
                )?;
            }
        }
        stdout.flush()?;
    }
    match failures {
        0 => Ok(()),
        _ => Err(format!(
            "{failures} of {} pictures have no answer, as said above.",
            pictures.len()
        )
        .into()),
    }
}

fn answer(
    asker: &Asker,
    name: &OsStr,
    instruction: &Instruction,
    limits: &PictureLimits,
) -> Result<AnswerRecord, Box<dyn std::error::Error + Send + Sync>> {
    let picture = asker.prepare(&picture::open(name, limits)?);
    asker.ask(&picture, instruction.clone(), |_| Ok(()))
}

/// The answers' texts; a picture without an answer has an empty one, so that it has its line.
fn texts(answer: Option<&AnswerRecord>) -> Vec<&str> {
    match answer {
        Some(record) => record.texts().collect(),
        None => vec![""],
    }
}

/// A text without what would end its line or its column.
pub fn in_a_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(flag: Option<&str>, arguments: &[&str]) -> Option<(usize, Option<String>)> {
        let mut arguments = arguments.iter().map(OsString::from);
        let first = arguments.next().expect("there is one");
        let told = tell_apart(flag.map(Into::into), first, arguments.collect());
        told.ok().map(|(pictures, question)| (pictures.len(), question))
    }

    #[test]
    fn a_second_picture_is_not_taken_for_a_question() {
        for second in ["b.png", "photos/B.JPEG", "Cargo.toml", "https://example.com/b"] {
            assert_eq!(told(None, &["a.png", second]), None, "{second}");
        }
        assert_eq!(told(None, &["a.png", "what?", "b.png"]), None);
        for question in ["what is in cat.png", "what?", "png", "how many files are in a .png"] {
            assert_eq!(told(None, &["a.png", question]), Some((1, Some(question.into()))));
        }
        assert_eq!(told(None, &["a.png"]), Some((1, None)));
    }

    #[test]
    fn with_the_question_named_all_arguments_are_pictures() {
        assert_eq!(
            told(Some("what?"), &["a.png", "b.png", "c"]),
            Some((3, Some("what?".into())))
        );
        assert_eq!(told(Some("what?"), &["a.png"]), Some((1, Some("what?".into()))));
    }
}
