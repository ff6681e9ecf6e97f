//! `glimpse capfilt`: pairs from the web, cleaned.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::ProgressBar;

use super::number_args::{number, of, whole};
use super::options::ComputeArgs;
use super::picture::PictureLimitArgs;
use super::{CommandResult, UsageError, progress};
use crate::capfilt::{
    Advance, CaptionOptions, Models, OutputForm, Policy, ScoreOptions, SelectOptions, ShardRange, Stats, Worker,
    check_input, score, select,
};
use crate::generation::bounds;
use crate::models::LoadError;
use crate::remote::Reach;

#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    override_usage = "glimpse capfilt --input <PAIRS> --output <DIR> --captioner <MODEL> --filter <MODEL> [OPTIONS]\n       glimpse capfilt score  --input <PAIRS> --output <SCORES> --captioner <MODEL> --filter <MODEL> [OPTIONS]\n       glimpse capfilt select --input <SCORES> --output <DIR> [--policy <POLICY>] [--threshold <X>]",
    after_help = AFTER_HELP
)]
pub struct CapfiltArgs {
    #[command(subcommand)]
    step: Option<Step>,

    #[command(flatten)]
    pairs: PairsArgs,

    #[command(flatten)]
    select: SelectArgs,

    #[command(flatten)]
    score: ScoreArgs,
}

const AFTER_HELP: &str = "\
For each picture the captioner draws texts, and the filter tells how likely the web's text and each drawn
one belong to the picture; what is below the threshold is dropped (Li et al. 2022, arXiv 2201.12086).

Rows, one a picture: key, sha256, error or null, web {text, match, cosine}, synthetic [{text, match,
cosine}], the input's other fields, and once selected kept and texts [{text, from, match}]. --output gets
them in the input's form, with report.html, _stats.json, and the scores below scores/: another policy or
threshold needs `glimpse capfilt select` alone, which takes seconds.

A run that was interrupted goes on where it was when it is started again, and writes the same bytes.

Input: a folder of pictures with .txt, .caption or .json beside them; .jsonl or a .json list of {\"image\" or
\"url\", \"caption\"}; COCO's captions; .csv and .tsv with these columns; .parquet (packed with zstd, gzip,
snappy or not); webdataset's shards, as in 'data/{00000..00099}.tar', which is what img2dataset writes. All but
folders and .parquet may be packed with gzip: .jsonl.gz, .tar.gz, …";

#[derive(Subcommand)]
enum Step {
    /// Draw captions and score all texts: rows with scores, nothing decided
    Score(Box<ScoreStepArgs>),
    /// Decide by the scores, without a model: in seconds, and again with another policy
    Select(SelectStepArgs),
}

#[derive(Args)]
struct ScoreStepArgs {
    #[command(flatten)]
    pairs: PairsArgs,

    #[command(flatten)]
    score: ScoreArgs,
}

#[derive(Args)]
struct SelectStepArgs {
    #[command(flatten)]
    pairs: PairsArgs,

    #[command(flatten)]
    select: SelectArgs,

    #[command(flatten)]
    limits: PictureLimitArgs,
}

/// What is cleaned, and who does which part of it.
#[derive(Args)]
struct PairsArgs {
    /// Pairs: a file, a folder, or a pattern as in 'data/{00000..00099}.tar'; for select, a folder of scores
    #[arg(long, env = "GLIMPSE_INPUT", value_name = "PAIRS")]
    input: Option<PathBuf>,

    /// The folder to write to
    #[arg(long, env = "GLIMPSE_OUTPUT", value_name = "DIR")]
    output: Option<PathBuf>,

    /// Only the shards with these numbers, as in 000..999 (of an input without shards, parts of 10,000 rows)
    #[arg(long, env = "GLIMPSE_SHARDS", value_name = "FIRST..LAST")]
    shards: Option<ShardRange>,

    /// Which worker of how many this is, from 0, as in 3/8: each takes its own shards, without talking to
    /// others
    #[arg(long, env = "GLIMPSE_WORKER", value_name = "I/N", default_value = "0/1")]
    worker: WorkerArg,

    /// Fetch pictures from private addresses too, not from public ones alone
    #[arg(long, env = "GLIMPSE_PRIVATE_ADDRESSES", value_parser = BoolishValueParser::new())]
    private_addresses: bool,
}

/// [`Worker`] as it is typed.
#[derive(Clone, Copy)]
struct WorkerArg(Worker);

impl std::str::FromStr for WorkerArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// How captions are drawn and scored.
#[derive(Args)]
struct ScoreArgs {
    /// What draws captions: a folder or an id, as Salesforce/blip-image-captioning-base; not needed with --n 0
    #[arg(long, env = "GLIMPSE_CAPTIONER", value_name = "ID|DIR")]
    captioner: Option<String>,

    /// What compares texts with pictures: a folder or an id, as Salesforce/blip-itm-base-coco
    #[arg(long, env = "GLIMPSE_FILTER", value_name = "ID|DIR")]
    filter: Option<String>,

    /// Captions to draw for each picture, 0 to 100
    #[arg(long, env = "GLIMPSE_N", default_value_t = 1, value_name = "N",
          allow_negative_numbers = true, value_parser = whole::<usize>(0..=100))]
    n: usize,

    /// What the drawing starts from, with each picture's bytes: the same seed draws the same captions
    #[arg(long, env = "GLIMPSE_SEED", default_value_t = 0, value_name = "N",
          allow_negative_numbers = true, value_parser = whole::<u64>(0..=u64::MAX))]
    seed: u64,

    /// How captions begin, which is no part of them; empty for none
    #[arg(long, env = "GLIMPSE_PREFIX", default_value = "a picture of ", value_name = "TEXT")]
    prefix: String,

    /// The fewest tokens of a caption; as in the original, its first token and what it begins with count
    /// [default: 10, or --max-length where that is less]
    #[arg(long, env = "GLIMPSE_MIN_LENGTH", value_name = "N",
          allow_negative_numbers = true, value_parser = whole::<usize>(0..=512))]
    min_length: Option<usize>,

    /// The most tokens of a caption, counted in the same way
    #[arg(long, env = "GLIMPSE_MAX_LENGTH", default_value_t = 30, value_name = "N",
          allow_negative_numbers = true, value_parser = whole::<usize>(1..=512))]
    max_length: usize,

    /// Draw from the likeliest tokens that together have this probability
    #[arg(long, env = "GLIMPSE_TOP_P", default_value_t = 0.9, value_name = "P",
          allow_negative_numbers = true, value_parser = number(bounds::TOP_P))]
    top_p: f64,

    /// Draw from this many likeliest tokens; 0 is all
    #[arg(long, env = "GLIMPSE_TOP_K", default_value_t = 50, value_name = "N",
          allow_negative_numbers = true, value_parser = whole::<usize>(of(bounds::TOP_K)))]
    top_k: usize,

    /// Above 1, tokens that are there already become less likely
    #[arg(long, env = "GLIMPSE_REPETITION_PENALTY", default_value_t = 1.1, value_name = "X",
          allow_negative_numbers = true, value_parser = number(bounds::REPETITION_PENALTY))]
    repetition_penalty: f64,

    /// How scores are written
    #[arg(long, env = "GLIMPSE_SCORES_FORMAT", default_value = "jsonl", value_name = "FORMAT")]
    scores_format: ScoresFormat,

    /// Where the names of pictures begin [default: the folder of the file that has them]
    #[arg(long, env = "GLIMPSE_PICTURE_FOLDER", value_name = "DIR")]
    picture_folder: Option<PathBuf>,

    /// Take pictures of a shard that look the same for one (a perceptual hash, `phash` in the rows), not only
    /// those of the same bytes: their captions are drawn once
    #[arg(long, env = "GLIMPSE_PERCEPTUAL_HASH", value_parser = BoolishValueParser::new())]
    perceptual_hash: bool,

    /// Threads that read, fetch and decode ahead of the models
    #[arg(long, env = "GLIMPSE_READERS", value_name = "N", default_value_t = 4,
          allow_negative_numbers = true, value_parser = whole::<usize>(1..=256))]
    readers: usize,

    #[command(flatten)]
    compute: ComputeArgs,

    #[command(flatten)]
    limits: PictureLimitArgs,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum ScoresFormat {
    Jsonl,
    Parquet,
}

/// Which texts are kept.
#[derive(Args)]
struct SelectArgs {
    /// paper: the web's text and the drawn ones, filtered alike and side by side; replace: the web's, or
    /// where it fails the best drawn one; best: the one that fits best; filter: the web's alone
    #[arg(long, env = "GLIMPSE_POLICY", default_value = "paper", value_name = "POLICY")]
    policy: PolicyArg,

    /// A text whose match is below this is noisy, and dropped
    #[arg(long, env = "GLIMPSE_THRESHOLD", default_value_t = 0.5, value_name = "X",
          allow_negative_numbers = true, value_parser = probability)]
    threshold: f32,

    /// jsonl, json, coco (captions that are kept), csv, tsv, parquet, webdataset (shards with the pictures that
    /// are kept) or folder (the same as files, and all rows beside them) [default: the input's form]
    #[arg(long, env = "GLIMPSE_OUTPUT_FORMAT", value_name = "FORMAT")]
    output_format: Option<OutputForm>,
}

/// [`Policy`] as it is typed.
#[derive(Clone, Copy, ValueEnum)]
enum PolicyArg {
    Paper,
    Replace,
    Best,
    Filter,
}

impl From<PolicyArg> for Policy {
    fn from(policy: PolicyArg) -> Self {
        match policy {
            PolicyArg::Paper => Self::Paper,
            PolicyArg::Replace => Self::Replace,
            PolicyArg::Best => Self::Best,
            PolicyArg::Filter => Self::Filter,
        }
    }
}

fn probability(text: &str) -> Result<f32, &'static str> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or("it may be a number from 0 to 1")
}

/// The folder of scores within the output of both steps.
const SCORES: &str = "scores";

/// Runs the step that the arguments name, or both.
///
/// # Errors
/// Arguments that are missing, models for something else, or files that cannot be read or written.
pub fn run(args: CapfiltArgs) -> CommandResult {
    match args.step {
        Some(Step::Score(step)) => {
            let scores = step.pairs.output()?;
            run_score(&step.pairs, &step.score, scores, (Policy::Paper, 0.5))
        }
        Some(Step::Select(step)) => {
            let scores = step.pairs.input()?;
            run_select(&step.pairs, &step.select, scores, &step.limits)
        }
        None => {
            let output = args.pairs.output()?;
            let scores = output.join(SCORES);
            let by = (args.select.policy.into(), args.select.threshold);
            run_score(&args.pairs, &args.score, scores.clone(), by)?;
            run_select(&args.pairs, &args.select, scores, &args.score.limits)
        }
    }
}

impl PairsArgs {
    fn input(&self) -> Result<PathBuf, UsageError> {
        let missing = || UsageError("--input (GLIMPSE_INPUT) is missing. Say what is to be cleaned.".into());
        self.input.clone().ok_or_else(missing)
    }

    fn output(&self) -> Result<PathBuf, UsageError> {
        let missing = || UsageError("--output (GLIMPSE_OUTPUT) is missing. Name the folder to write to.".into());
        self.output.clone().ok_or_else(missing)
    }

    fn reach(&self) -> Reach {
        match self.private_addresses {
            true => Reach::Anywhere,
            // A list from the web names whatever it likes.
            false => Reach::Public { also: Vec::new() },
        }
    }
}

fn run_score(
    pairs: &PairsArgs,
    args: &ScoreArgs,
    scores: PathBuf,
    (policy, threshold): (Policy, f32),
) -> CommandResult {
    let options = ScoreOptions {
        input: pairs.input()?,
        scores,
        picture_folder: args.picture_folder.clone(),
        captions: CaptionOptions {
            count: args.n,
            seed: args.seed,
            prefix: args.prefix.clone(),
            min_length: args.min_length()?,
            max_length: args.max_length,
            top_p: args.top_p,
            top_k: args.top_k,
            repetition_penalty: args.repetition_penalty,
        },
        shards: pairs.shards.unwrap_or_default(),
        worker: pairs.worker.0,
        as_parquet: args.scores_format == ScoresFormat::Parquet,
        limits: args.limits.limits(),
        reach: pairs.reach(),
        readers: args.readers,
        by_looks: args.perceptual_hash,
        policy,
        threshold,
    };
    check_input(&options.input, options.shards)?;
    let models = args.models()?;
    let mut bar = Bar::new();
    let advance = score(&options, models, &mut |advance| bar.tell(advance))?;
    bar.end(advance);
    Ok(())
}

/// The fewest tokens of a caption, unless somebody says it; as in the original.
const MIN_LENGTH: usize = 10;

impl ScoreArgs {
    fn min_length(&self) -> Result<usize, UsageError> {
        match self.min_length {
            Some(least) if least > self.max_length => Err(UsageError(format!(
                "--min-length {least} is more than --max-length {}. Raise the one or lower the other.",
                self.max_length
            ))),
            least => Ok(least.unwrap_or(MIN_LENGTH.min(self.max_length))),
        }
    }

    fn models(&self) -> Result<Models, Box<dyn std::error::Error + Send + Sync>> {
        let missing = |flag: &str, variable: &str, example: &str| {
            UsageError(format!(
                "--{flag} ({variable}) is missing. Name one, as --{flag} {example}."
            ))
        };
        let filter = self.filter.as_deref();
        let filter = filter.ok_or_else(|| missing("filter", "GLIMPSE_FILTER", "Salesforce/blip-itm-base-coco"))?;
        let captioner = match (self.n, self.captioner.as_deref()) {
            (0, _) => None,
            (_, Some(captioner)) => Some(captioner),
            (_, None) => {
                let example = "Salesforce/blip-image-captioning-base";
                return Err(missing("captioner", "GLIMPSE_CAPTIONER", example).into());
            }
        };
        let load = |name: &str| {
            let mut model = self.compute.load(name.parse().map_err(LoadError::from)?)?;
            model.keep_packed();
            Ok::<_, LoadError>(model)
        };
        Ok(Models {
            filter: load(filter)?,
            captioner: captioner.map(load).transpose()?,
        })
    }
}

fn run_select(pairs: &PairsArgs, args: &SelectArgs, scores: PathBuf, limits: &PictureLimitArgs) -> CommandResult {
    let selected = select(&SelectOptions {
        scores,
        output: pairs.output()?,
        policy: args.policy.into(),
        threshold: args.threshold,
        form: args.output_format,
        shards: pairs.shards.unwrap_or_default(),
        worker: pairs.worker.0,
        limits: limits.limits(),
        reach: pairs.reach(),
    })?;
    for line in summary(&selected.stats) {
        eprintln!("{line}");
    }
    eprintln!("The report is {}.", selected.report.display());
    Ok(())
}

fn summary(stats: &Stats) -> [String; 3] {
    let share = |part: u64, whole: u64| match whole {
        0 => "none".into(),
        whole => format!("{:.1} %", 100.0 * part as f64 / whole as f64),
    };
    let texts = |name: &str, of: &crate::capfilt::TextStats| {
        format!(
            "{name}: {} of {} texts kept, {} noisy ({})",
            of.kept,
            of.texts,
            of.noisy,
            share(of.noisy, of.scored)
        )
    };
    [
        format!(
            "{} of {} pictures keep a text ({}), {} could not be read, {} are there more than once",
            stats.kept,
            stats.pictures,
            share(stats.kept, stats.pictures),
            stats.unreadable,
            stats.duplicates
        ),
        texts("web", &stats.web),
        texts("synthetic", &stats.synthetic),
    ]
}

/// How often a log hears of it.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// How far it is: pictures a second, the share that is kept, and the time that is left.
struct Bar {
    bar: ProgressBar,
    started: Instant,
    last_line: Instant,
    /// Where this run began.
    first: Option<u64>,
}

impl Bar {
    fn new() -> Self {
        let shows = std::io::stderr().is_terminal() && tracing::enabled!(tracing::Level::INFO);
        let bar = match shows {
            true => progress::show(ProgressBar::new(0), "{bar:20} {percent}% {wide_msg}"),
            false => ProgressBar::hidden(),
        };
        Self {
            bar,
            started: Instant::now(),
            last_line: Instant::now(),
            first: None,
        }
    }

    fn tell(&mut self, advance: Advance) {
        let is_hidden = self.bar.is_hidden();
        if is_hidden && self.last_line.elapsed() < LINE_EVERY {
            return;
        }
        let first = *self.first.get_or_insert(advance.done);
        let text = said(advance, first, self.started.elapsed());
        if is_hidden {
            self.last_line = Instant::now();
            tracing::info!("{text}");
        } else {
            self.bar.set_length(advance.total);
            self.bar.set_position(advance.done);
            self.bar.set_message(text);
        }
    }

    fn end(&self, advance: Advance) {
        let seconds = self.started.elapsed().as_secs_f64();
        let speed = advance.pictures as f64 / seconds.max(1e-9);
        tracing::info!(
            "{} pictures scored in {seconds:.1} s, {speed:.2} a second",
            advance.pictures
        );
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        progress::hide(&self.bar);
    }
}

fn said(advance: Advance, first: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(1e-9);
    let speed = advance.pictures as f64 / seconds;
    let kept = 100.0 * advance.kept as f64 / advance.pictures.max(1) as f64;
    let done = advance.done.saturating_sub(first);
    let left = match done {
        0 => "–".to_owned(),
        done => {
            let left = seconds * advance.total.saturating_sub(advance.done) as f64 / done as f64;
            indicatif::HumanDuration(Duration::from_secs_f64(left.min(1e9))).to_string()
        }
    };
    format!(
        "{} pictures, {speed:.1} a second, {kept:.0} % kept, {left} left",
        advance.pictures
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_is_by_what_this_run_did() {
        let advance = Advance {
            pictures: 50,
            kept: 40,
            done: 600,
            total: 1000,
        };
        let said = said(advance, 400, Duration::from_secs(10));
        assert_eq!(said, "50 pictures, 5.0 a second, 80 % kept, 20 seconds left");
    }
}
