//! Pictures a second of `glimpse capfilt score` beside what its two models do alone on the same pictures
//! and texts, in turns: `cargo bench --features ssr --bench capfilt`, with `-- --captioner DIR --filter DIR`
//! of other models, `--pictures 24 --rounds 3` for slow ones. The CPU should be idle.
//!
//! The pictures are drawn, and packed as JPEG into shards with texts as img2dataset writes them. Alone the
//! models get pictures that are read, decoded and resized already: first one after the other, then both at
//! once, captions ahead of scores; the faster way counts. That both do the same is checked by the texts.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use glimpse::capfilt::{CaptionOptions, Models, Policy, Row, ScoreOptions, prepared, score};
use glimpse::checkpoint::Source;
use glimpse::engine::{
    BatchLimits, ClientKey, Engine, Event, Events, Instruction, LocalEngine, QueueLimits, Submission,
};
use glimpse::generation::GenerationOptions;
use glimpse::models::{Matcher, ModelRequest, OpenModel, open};
use glimpse::processor::{Picture, PictureLimits, Prompt, preview};
use glimpse::remote::Reach;
use sha2::{Digest, Sha256};

type AnyResult<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// At least so much of what the models do alone is promised.
const PROMISED: f64 = 0.9;

/// Rows of the captioner, and captions that are begun ahead of scores, as in `capfilt/captioner`.
const ROWS: usize = 16;
const AHEAD: usize = 25;

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value = "demo-model/captioner")]
    captioner: PathBuf,
    #[arg(long, default_value = "demo-model/matcher")]
    filter: PathBuf,
    #[arg(long, default_value = "f32")]
    dtype: String,
    #[arg(long, default_value_t = 400)]
    pictures: usize,
    /// The longer side of pictures, in pixels
    #[arg(long, default_value_t = 384)]
    side: usize,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Also append what came of it to this file
    #[arg(long)]
    results: Option<PathBuf>,
    /// Cargo gives this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> AnyResult<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let shard = folder.path().join("00000.tar");
    let pictures = write_shard(&shard, arguments.pictures, arguments.side)?;
    let mut times = [const { Vec::new() }; 3];
    for round in 0..arguments.rounds {
        let (seconds, rows) = whole(&arguments, &shard, &folder.path().join(format!("scores-{round}")))?;
        let drawn: Vec<String> = rows.iter().map(|row| row.synthetic[0].text.clone()).collect();
        let (apart, texts) = alone(&arguments, &pictures, Way::OneAfterTheOther)?;
        assert_eq!(texts, drawn, "the models alone write the same");
        let (both, texts) = alone(&arguments, &pictures, Way::Both)?;
        assert_eq!(texts, drawn, "the models alone write the same");
        for (times, seconds) in times.iter_mut().zip([seconds, apart, both]) {
            times.push(seconds);
        }
        eprintln!("round {round}: capfilt {seconds:.2} s, models alone {apart:.2} s, both at once {both:.2} s");
    }
    let [whole, apart, both] = times.map(|times| arguments.pictures as f64 / median(times));
    let share = whole / apart.max(both);
    let verdict = if share >= PROMISED { "held" } else { "NOT HELD" };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let line = format!(
        "| {} and {}, {} | {} of {} pixels | {whole:.2} | {apart:.2} | {both:.2} | {share:.2} ({verdict}: {PROMISED}) |",
        name(&arguments.captioner),
        name(&arguments.filter),
        arguments.dtype,
        arguments.pictures,
        arguments.side,
    );
    println!("{line}");
    if let Some(path) = &arguments.results {
        let is_new = !path.exists();
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        if is_new {
            file.write_all(head(arguments.rounds).as_bytes())?;
        }
        writeln!(file, "{line}")?;
    }
    Ok(())
}

fn head(rounds: usize) -> String {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names = about.lines().filter_map(|line| line.strip_prefix("model name"));
    let name = names.map(|name| name.trim_start_matches([' ', '\t', ':'])).next();
    format!(
        "# `glimpse capfilt score` beside its models alone, on {}, {}, {} threads\n\n\
         `make bench-capfilt`: pictures a second, medians of rounds in turns ({rounds} in the first line), without loading.\n\
         One caption a picture; alone the models get pictures that are read, decoded and resized already, and write\n\
         the same captions. The share is of the faster of both ways.\n\n\
         | models | pictures | capfilt | models, one after the other | models, both at once | share (promised) |\n\
         |---|---|---|---|---|---|\n",
        name.unwrap_or("an unknown processor"),
        glimpse::cpu::Isa::current().name(),
        rayon::current_num_threads(),
    )
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A picture that is read, as both models see it.
struct Read {
    hash: [u8; 32],
    bytes: Vec<u8>,
    text: String,
}

/// Pictures of clouds of colour with edges in them, so that decoding costs what photos cost.
fn drawn(number: usize, side: usize) -> Picture {
    let (width, height) = (side, side * 3 / 4);
    let mut rgb = Vec::with_capacity(width * height * 3);
    let mut noise = number as u32 * 2_654_435_761 + 1;
    for place in 0..width * height {
        let (x, y) = (
            (place % width) as f32 / side as f32,
            (place / width) as f32 / side as f32,
        );
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = (noise >> 28) as f32;
        for channel in 0..3 {
            let phase = (number * 7 + channel * 3) as f32;
            let wave = (9.0 * x + phase).sin() * (7.0 * y - phase).cos();
            let edge = if (x * 6.0 + phase).fract() < 0.5 { 30.0 } else { 0.0 };
            rgb.push((110.0 + 70.0 * wave + edge + grain) as u8);
        }
    }
    Picture { width, height, rgb }
}

const WORDS: [&str; 8] = [
    "a red dog",
    "two blue circles",
    "a green tree",
    "on a plain ground",
    "with stripes",
    "a star",
    "three cups",
    "beside a car",
];

fn write_shard(path: &Path, count: usize, side: usize) -> AnyResult<Vec<Read>> {
    let mut archive = tar::Builder::new(std::fs::File::create(path)?);
    let mut pictures = Vec::with_capacity(count);
    for number in 0..count {
        let bytes = preview::encode_within(&drawn(number, side), side)?;
        let text = format!("{} {}", WORDS[number % 8], WORDS[number / 8 % 8]);
        let mut add = |ending: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, format!("{number:09}.{ending}"), bytes)
        };
        add("jpg", &bytes)?;
        add("txt", text.as_bytes())?;
        let hash = Sha256::digest(&bytes).into();
        pictures.push(Read { hash, bytes, text });
    }
    archive.finish()?;
    Ok(pictures)
}

fn load(arguments: &Arguments, model: &Path) -> AnyResult<OpenModel> {
    let source = Source::Folder(model.to_path_buf());
    Ok(open(ModelRequest::on_cpu(source, arguments.dtype.parse()?))?)
}

/// Seconds of `glimpse capfilt score`, without loading the models, and its rows.
fn whole(arguments: &Arguments, shard: &Path, scores: &Path) -> AnyResult<(f64, Vec<Row>)> {
    let models = Models {
        captioner: Some(load(arguments, &arguments.captioner)?),
        filter: load(arguments, &arguments.filter)?,
    };
    let options = ScoreOptions {
        input: shard.to_path_buf(),
        scores: scores.to_path_buf(),
        picture_folder: None,
        captions: CaptionOptions::default(),
        shards: Default::default(),
        worker: Default::default(),
        as_parquet: false,
        limits: PictureLimits::default(),
        reach: Reach::Public { also: Vec::new() },
        readers: 4,
        by_looks: false,
        policy: Policy::Paper,
        threshold: 0.5,
    };
    let start = Instant::now();
    let advance = score(&options, models, &mut |_| {})?;
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(advance.pictures, arguments.pictures as u64);
    let lines = std::fs::read_to_string(scores.join("00000.jsonl"))?;
    let rows = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok((seconds, rows))
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    OneAfterTheOther,
    Both,
}

/// Seconds of the models without all that stands before and behind them, and the captions.
fn alone(arguments: &Arguments, pictures: &[Read], way: Way) -> AnyResult<(f64, Vec<String>)> {
    let captioner = load(arguments, &arguments.captioner)?;
    let filter = load(arguments, &arguments.filter)?;
    let limits = PictureLimits::default();
    let mut seen = Vec::with_capacity(pictures.len());
    for picture in pictures {
        let decoded = Picture::decode(&picture.bytes, &limits)?;
        let of_captioner = Arc::new(captioner.processor.image.resize(&decoded));
        seen.push((of_captioner, filter.processor.image.resize(&decoded)));
    }
    let options = CaptionOptions::default();
    let before = captioner
        .processor
        .text
        .prompt_ids(&Prompt::Raw(options.prefix.clone()))?
        .len();
    let queue = QueueLimits {
        waiting: 1024,
        waiting_per_client: 1024,
    };
    let batches = BatchLimits {
        rows: ROWS,
        max_gap: Duration::from_secs(60),
        picture_cache: 64 << 20,
    };
    let engine = LocalEngine::start(captioner, queue, batches)?;
    let draw = |number: usize| {
        engine.submit(Submission {
            client: ClientKey::from(0),
            network: None,
            deadline: None,
            picture: Arc::clone(&seen[number].0),
            instruction: Instruction::Caption {
                prefix: Some(options.prefix.clone()),
            },
            options: GenerationOptions {
                seed: Some(seed_of(&pictures[number].hash)),
                max_new_tokens: options.max_length - before,
                min_new_tokens: options.min_length.saturating_sub(before),
                do_sample: true,
                top_p: options.top_p,
                top_k: options.top_k,
                repetition_penalty: options.repetition_penalty,
                ..GenerationOptions::default()
            },
            stop_strings: Vec::new(),
        })
    };
    let matcher = filter.network.comparer().ok_or("the filter compares nothing")?;
    let compare = |number: usize, drawn: &str| -> AnyResult<()> {
        // On a thread of the pool, as is best.
        rayon::scope(|_| {
            let picture = matcher.picture(&filter.processor.image.normalise(&seen[number].1)?)?;
            for text in [&pictures[number].text, drawn] {
                let ids = filter.processor.text.text_ids(&prepared(text))?;
                std::hint::black_box(matcher.score(&picture, &matcher.text(&ids)?)?);
            }
            Ok(())
        })
    };
    let start = Instant::now();
    let mut texts = Vec::with_capacity(pictures.len());
    let mut drawings = VecDeque::new();
    for number in 0..pictures.len() {
        while drawings.len() < AHEAD && texts.len() + drawings.len() < pictures.len() {
            drawings.push_back(draw(texts.len() + drawings.len())?);
        }
        texts.push(text_of(drawings.pop_front().ok_or("nothing is drawn")?)?);
        if way == Way::Both {
            compare(number, &texts[number])?;
        }
    }
    if way == Way::OneAfterTheOther {
        for (number, text) in texts.iter().enumerate() {
            compare(number, text)?;
        }
    }
    Ok((start.elapsed().as_secs_f64(), texts))
}

fn text_of(mut events: Events) -> AnyResult<String> {
    loop {
        match events.blocking_recv() {
            Some(Event::Done(summary)) => return Ok(summary.answers[0].text.trim().to_owned()),
            Some(Event::Failed(error)) => return Err(error.into()),
            Some(_) => {}
            None => return Err("the captioner has stopped".into()),
        }
    }
}

/// As `capfilt/captioner` has it, of seed 0.
fn seed_of(picture: &[u8; 32]) -> u64 {
    let mut hash = Sha256::new();
    hash.update([0; 16]);
    hash.update(picture);
    let hash: [u8; 32] = hash.finalize().into();
    hash[..8].iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}
