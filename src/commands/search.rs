//! `glimpse search FOLDER "a dog on a beach"`: the pictures of a folder that a text describes.
//!
//! Every picture's vectors are compared with the text's, whatever the folder's size ([`nearest`]).

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Serialize;

use super::ask::harmless;
use super::embed::finite;
use super::folder::{Failure, Folder, name_failures};
use super::log::tell;
use super::matching::{comparer, load, text_ids};
use super::number_args::whole;
use super::options::ModelArgs;
use super::search_index::Index;
use super::several_pictures::in_a_line;
use super::{CommandResult, UsageError, picture, progress};
use crate::models::{Embedder, OpenModel, Ranked, nearest};
use crate::processor::{Picture, PictureLimits};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Args)]
#[command(
    after_help = "The first search of a folder reads all its pictures, and keeps their vectors in a hidden file in FOLDER\n(.glimpse-index-…, one for each model), about 1 kB a picture with BLIP and 33 kB with BLIP-2. Further\nsearches read what is new or was changed. Pictures that cannot be read are named at the end."
)]
pub struct SearchArgs {
    /// The folder with the pictures; those of folders within it are searched too
    folder: PathBuf,

    /// What is looked for, such as "a dog on a beach"
    #[arg(value_name = "TEXT")]
    query: String,

    /// How many pictures to name
    #[arg(long, env = "GLIMPSE_TOP", default_value_t = 10, value_name = "N",
          allow_negative_numbers = true, value_parser = whole::<usize>(1..=1_000_000))]
    top: usize,

    /// Have the matching head look at so many of the nearest, and name those first that match best: it
    /// reads text and picture together, which is more exact, and takes as long as reading them
    #[arg(long, env = "GLIMPSE_RERANK", default_value_t = 0, value_name = "N",
          allow_negative_numbers = true, value_parser = whole::<usize>(0..=1_000_000))]
    rerank: usize,

    /// Print a JSON object for each picture, one a line
    #[arg(long, env = "GLIMPSE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,

    #[command(flatten)]
    limits: picture::PictureLimitArgs,

    #[command(flatten)]
    model: ModelArgs,
}

/// A picture that was found, as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
struct Found {
    picture: String,
    cosine: f32,
    /// That it belongs to the text, where the matching head has looked at it.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matching: Option<f32>,
}

impl From<&Ranked<'_>> for Found {
    fn from(ranked: &Ranked<'_>) -> Self {
        Self {
            picture: ranked.name.to_owned(),
            cosine: ranked.cosine,
            matching: None,
        }
    }
}

/// Threads that read pictures ahead, and pictures that are read ahead, as small as the model sees them.
const READERS: usize = 2;
const READ_AHEAD: usize = 8;

/// How often the index is written while pictures are read, so that little is lost where a run is
/// stopped; less often where writing takes long.
const SAVE_EVERY: Duration = Duration::from_secs(20);

/// Names the pictures nearest to the text.
///
/// # Errors
/// A folder without pictures that can be read, a model for something else, or a text that it cannot read.
/// Single pictures that cannot be read are named, and are no errors.
pub fn run(args: SearchArgs) -> CommandResult {
    if args.query.trim().is_empty() {
        return Err(UsageError("The text is empty. Say what the picture shows.".into()).into());
    }
    let folder = Folder::look_through(&args.folder)?;
    let model = load(&args.model)?;
    let comparer = comparer(&model)?;
    search(&args, folder, &model, &comparer)
}

fn search<M: Embedder>(args: &SearchArgs, mut folder: Folder, model: &OpenModel, embedder: &M) -> CommandResult {
    let ids = text_ids(&args.query, embedder, &model.processor)?;
    let text = finite(embedder.text_vector(&ids)?)?;
    let limits = args.limits.limits();
    let mut failures = std::mem::take(&mut folder.failures);
    let mut index = Index::open(&folder, model, embedder.width(), embedder.vectors_of_picture());
    failures.extend(refresh(&mut index, &folder, model, embedder, &limits));
    if let Err(error) = index.save() {
        tell(format_args!(
            "{} cannot be kept, and the next search reads all pictures again: {error}.",
            index.path().display()
        ));
    }
    let found = nearest(&index.pictures(), &text.numbers, args.top.max(args.rerank));
    let mut found: Vec<Found> = found.iter().map(Found::from).collect();
    let reread = args.rerank.min(found.len());
    for found in &mut found[..reread] {
        match match_of(&found.picture, &ids, &folder, model, embedder, &limits) {
            Ok(probability) => found.matching = Some(probability),
            Err(error) => failures.push(Failure {
                picture: folder.whole(&found.picture).to_string_lossy().into_owned(),
                reason: error.to_string(),
            }),
        }
    }
    // What was not looked at stays behind, in its order.
    found.sort_by(|a, b| b.matching.unwrap_or(-1.0).total_cmp(&a.matching.unwrap_or(-1.0)));
    found.truncate(args.top);
    for found in &mut found {
        found.picture = folder.whole(&found.picture).to_string_lossy().into_owned();
    }
    print(&found, args.json)?;
    name_failures(&failures);
    if !failures.is_empty() {
        let sentence = format!("{} could not be read.", progress::pictures(failures.len()));
        if index.pictures().is_empty() {
            return Err(sentence.into());
        }
        tell(sentence);
    }
    Ok(())
}

/// Reads the pictures that are not known; gives those that cannot be read, in order.
fn refresh<M: Embedder>(
    index: &mut Index,
    folder: &Folder,
    model: &OpenModel,
    embedder: &M,
    limits: &PictureLimits,
) -> Vec<Failure> {
    let unknown = index.unknown(folder);
    let mut failures = Vec::new();
    if unknown.is_empty() {
        return failures;
    }
    let began = Instant::now();
    let bar = progress::show_count(unknown.len(), "read");
    let (next, (sender, read)) = (AtomicUsize::new(0), sync_channel(READ_AHEAD));
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            let (sender, next, unknown) = (sender.clone(), &next, &unknown);
            scope.spawn(move || {
                while let Some((name, stamp)) = unknown.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let picture = prepared(name, folder, model, limits);
                    if sender.send((name, *stamp, picture)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let (mut saved, mut took) = (Instant::now(), Duration::ZERO);
        for (name, stamp, picture) in read {
            let vectors = picture.and_then(|picture| {
                let pixel_values = model.processor.image.pixel_values(&picture)?;
                finite(embedder.picture_vectors(&pixel_values)?)
            });
            match vectors {
                Ok(vectors) => index.add(name, stamp, vectors),
                Err(error) => failures.push(Failure {
                    picture: folder.whole(name).to_string_lossy().into_owned(),
                    reason: error.to_string(),
                }),
            }
            bar.inc(1);
            if saved.elapsed() >= SAVE_EVERY.max(took * 20) {
                let start = Instant::now();
                // Whether it can be kept is told at the end.
                let _ = index.save();
                (saved, took) = (Instant::now(), start.elapsed());
            }
        }
    });
    progress::hide(&bar);
    let seconds = began.elapsed().as_secs_f64();
    tracing::info!(
        "{} read in {seconds:.1} s ({:.2} a second)",
        progress::pictures(unknown.len() - failures.len()),
        (unknown.len() - failures.len()) as f64 / seconds.max(1e-9)
    );
    failures.sort_by(|a, b| a.picture.cmp(&b.picture));
    failures
}

/// A picture as the model sees it.
fn prepared(name: &str, folder: &Folder, model: &OpenModel, limits: &PictureLimits) -> Result<Picture, AnyError> {
    let picture = picture::open(folder.whole(name).as_os_str(), limits)?;
    Ok(model.processor.image.resize(&picture))
}

/// That a picture belongs to a text, by the matching head.
fn match_of<M: Embedder>(
    name: &str,
    ids: &[u32],
    folder: &Folder,
    model: &OpenModel,
    embedder: &M,
    limits: &PictureLimits,
) -> Result<f32, AnyError> {
    let picture = prepared(name, folder, model, limits)?;
    let picture = embedder.picture(&model.processor.image.pixel_values(&picture)?)?;
    let score = embedder.score(&picture, &embedder.text(ids)?)?;
    match score.probability.is_finite() {
        true => Ok(score.probability),
        false => Err(crate::generation::GenerationError::NotFinite.into()),
    }
}

fn print(found: &[Found], json: bool) -> Result<(), AnyError> {
    let mut stdout = std::io::stdout().lock();
    if json {
        for found in found {
            writeln!(stdout, "{}", serde_json::to_string(found)?)?;
        }
        return Ok(stdout.flush()?);
    }
    let with_match = found.iter().any(|found| found.matching.is_some());
    writeln!(stdout, "{}COSINE   PICTURE", if with_match { "MATCH   " } else { "" })?;
    for found in found {
        if with_match {
            let matching = found
                .matching
                .map_or("     -".to_owned(), |matching| format!("{matching:.4}"));
            write!(stdout, "{matching}  ")?;
        }
        let picture = in_a_line(&found.picture);
        writeln!(stdout, "{:>7.4}  {}", found.cosine, harmless(&picture))?;
    }
    Ok(stdout.flush()?)
}
