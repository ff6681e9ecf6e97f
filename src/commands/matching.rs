//! `glimpse match`: how well texts fit pictures.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io::Write;

use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Serialize;

use super::ask::harmless;
use super::log::tell;
use super::options::ModelArgs;
use super::several_pictures::in_a_line;
use super::{CommandResult, UsageError, picture};
use crate::models::auto::Asked;
use crate::models::{Comparer, MatchScore, Matcher, OpenModel};
use crate::processor::{PictureLimits, Processor};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Args)]
#[command(
    after_help = "The match is the probability that text and picture belong together, and the cosine how near\ntheir vectors are: of the published models 0.35 to 0.5 is near. For a verdict on one pair take the\nmatch, for the best of many the cosine."
)]
pub struct MatchArgs {
    /// Picture files, http(s) addresses (fetched as curl would, from private networks too: this is
    /// your own machine), or - for standard input
    #[arg(required = true, value_name = "PICTURE")]
    pictures: Vec<OsString>,

    /// A text to compare every picture with; may be given several times (the variable holds one)
    #[arg(
        id = "text",
        long = "text",
        env = "GLIMPSE_TEXT",
        value_name = "TEXT",
        required = true
    )]
    texts: Vec<String>,

    /// Print a JSON object for each picture, one a line, with its scores by text
    #[arg(long, env = "GLIMPSE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,

    #[command(flatten)]
    limits: picture::PictureLimitArgs,

    #[command(flatten)]
    model: ModelArgs,
}

/// What `--json` prints of a picture.
#[derive(Serialize)]
struct Line<'a> {
    picture: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<Vec<ScoreRecord<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// How well a text fits.
#[derive(Serialize)]
struct ScoreRecord<'a> {
    text: &'a str,
    /// The probability that they belong together.
    #[serde(rename = "match")]
    matching: f32,
    /// Of their vectors, from -1 to 1.
    cosine: f32,
}

/// Compares every picture with every text. A picture that fails says so in its place, and the rest goes on.
///
/// # Errors
/// Nothing to compare, a model for something else, or pictures that failed (after all were tried).
pub fn run(args: MatchArgs) -> CommandResult {
    if args.texts.iter().any(|text| text.trim().is_empty()) {
        let sentence = "--text (GLIMPSE_TEXT) is empty. Say what the picture is to be compared with.";
        return Err(UsageError(sentence.into()).into());
    }
    let model = load(&args.model)?;
    let comparer = comparer(&model)?;
    compare(&args, &model, &comparer)
}

fn compare<M: Matcher>(args: &MatchArgs, model: &OpenModel, matcher: &M) -> CommandResult {
    let limits = args.limits.limits();
    let texts = args.texts.iter().map(|text| compared(text, matcher, &model.processor));
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    let table = Table::new(&args.pictures);
    if !args.json {
        table.write_header()?;
    }
    let mut failures = 0;
    for name in &args.pictures {
        let scores = scores_of(name, &texts, matcher, &model.processor, &limits);
        if let Err(error) = &scores {
            failures += 1;
            tell(error);
        }
        if args.json {
            write_line(name, &args.texts, &scores)?;
        } else {
            table.write(name, &args.texts, scores.as_deref().unwrap_or_default())?;
        }
    }
    match failures {
        0 => Ok(()),
        _ => Err(format!(
            "{failures} of {} pictures could not be compared, as said above.",
            args.pictures.len()
        )
        .into()),
    }
}

/// Loads a model, whose matrices are kept packed where somebody asked for it.
///
/// # Errors
/// As for [`ModelArgs::load`].
pub fn load(args: &ModelArgs) -> Result<OpenModel, AnyError> {
    let mut model = args.load(Asked::Match)?;
    model.keep_packed();
    Ok(model)
}

/// What a model compares pictures with texts by.
///
/// # Errors
/// It does something else.
pub fn comparer(model: &OpenModel) -> Result<Comparer<'_>, AnyError> {
    model.network.comparer().ok_or_else(|| {
        format!(
            "{} {}, and compares no pictures with texts. Use `glimpse ask` with it, or --model Salesforce/blip-itm-base-coco here.",
            model.name,
            model.purpose.does()
        )
        .into()
    })
}

fn compared<M: Matcher>(text: &str, matcher: &M, processor: &Processor) -> Result<M::Text, AnyError> {
    Ok(matcher.text(&text_ids(text, matcher, processor)?)?)
}

/// The ids of a text that the model can read.
///
/// # Errors
/// It is too long, or has a token that the model does not know.
pub fn text_ids<M: Matcher>(text: &str, matcher: &M, processor: &Processor) -> Result<Vec<u32>, AnyError> {
    Ok(processor.text.text_ids_within(text, matcher.most_tokens())?)
}

fn scores_of<M: Matcher>(
    name: &OsStr,
    texts: &[M::Text],
    matcher: &M,
    processor: &Processor,
    limits: &PictureLimits,
) -> Result<Vec<MatchScore>, AnyError> {
    let picture = picture::open(name, limits)?;
    let picture = matcher.picture(&processor.image.pixel_values(&picture)?)?;
    let scores = texts.iter().map(|text| {
        let score = matcher.score(&picture, text)?;
        match score.probability.is_finite() && score.cosine.is_finite() {
            true => Ok(score),
            false => Err(crate::generation::GenerationError::NotFinite.into()),
        }
    });
    scores.collect()
}

fn write_line(name: &OsStr, texts: &[String], scores: &Result<Vec<MatchScore>, AnyError>) -> Result<(), AnyError> {
    let records = |scores: &Vec<MatchScore>| {
        let pairs = texts.iter().zip(scores);
        let records = pairs.map(|(text, score)| ScoreRecord {
            text,
            matching: score.probability,
            cosine: score.cosine,
        });
        records.collect()
    };
    let line = Line {
        picture: name.to_string_lossy(),
        scores: scores.as_ref().ok().map(records),
        error: scores.as_ref().err().map(ToString::to_string),
    };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(&line)?)?;
    Ok(stdout.flush()?)
}

/// Columns as wide as the longest picture's name.
struct Table {
    width: usize,
}

impl Table {
    fn new(pictures: &[OsString]) -> Self {
        let widths = pictures.iter().map(|name| shown(name).chars().count());
        Self {
            width: widths.max().unwrap_or(0).max("PICTURE".len()),
        }
    }

    fn write_header(&self) -> std::io::Result<()> {
        let width = self.width;
        writeln!(std::io::stdout(), "{:<width$}  MATCH   COSINE   TEXT", "PICTURE")
    }

    fn write(&self, name: &OsStr, texts: &[String], scores: &[MatchScore]) -> std::io::Result<()> {
        let width = self.width;
        let mut stdout = std::io::stdout().lock();
        for (text, score) in texts.iter().zip(scores) {
            let (name, text) = (shown(name), in_a_line(text));
            let (matching, cosine) = (score.probability, score.cosine);
            writeln!(
                stdout,
                "{name:<width$}  {matching:.4}  {cosine:>7.4}  {}",
                harmless(&text)
            )?;
        }
        stdout.flush()
    }
}

/// A picture's name in a line.
fn shown(name: &OsStr) -> String {
    harmless(&in_a_line(&name.to_string_lossy())).into_owned()
}
