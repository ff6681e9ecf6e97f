//! A set as img2dataset writes it, with all that goes wrong on the web in it, cleaned by runs that are killed.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::forms::archive;
use super::{AnyResult, Pairs, caption, contents, picture, rows, succeeded};

const SHARDS: u64 = 4;
const SAMPLES: u64 = 60;

/// What is wrong with a sample, by its number.
enum Kind {
    Fine,
    /// What stands in the picture's file is none.
    Broken,
    /// There is no picture: the download failed.
    Failed,
    /// The key of the sample two before.
    SameKey,
    /// The picture of another shard.
    SamePicture,
    EmptyText,
    NotUtf8,
    NoText,
}

fn kind_of(number: u64) -> Kind {
    match number % 20 {
        3 => Kind::Broken,
        5 => Kind::Failed,
        8 => Kind::SameKey,
        11 | 17 => Kind::SamePicture,
        13 => Kind::EmptyText,
        15 => Kind::NotUtf8,
        19 => Kind::NoText,
        _ => Kind::Fine,
    }
}

/// `00000.tar` with `000000000.jpg`, `.txt` and `.json`, and what stands beside it.
fn write_set(pairs: &Pairs) -> AnyResult<()> {
    for shard in 0..SHARDS {
        let mut files = Vec::new();
        for number in 0..SAMPLES {
            let kind = kind_of(number);
            let key = match kind {
                Kind::SameKey => format!("{shard:05}{:04}", number - 2),
                _ => format!("{shard:05}{number:04}"),
            };
            let bytes = match kind {
                Kind::Broken => picture(number)[..40].to_vec(),
                Kind::SamePicture => picture(number % 7),
                _ => picture(7 + shard * SAMPLES + number),
            };
            let text = match kind {
                Kind::EmptyText => Vec::new(),
                Kind::NotUtf8 => b"caf\xe9 in the \xff\xfe rain".to_vec(),
                _ => caption(number).into_bytes(),
            };
            let status = match kind {
                Kind::Failed => "failed_to_download",
                _ => "success",
            };
            let told = json!({"caption": String::from_utf8_lossy(&text), "url": format!("http://x.example/{key}.jpg"), "key": key, "status": status, "error_message": null, "width": 8, "height": 8, "sha256": "of the original"});
            if !matches!(kind, Kind::Failed) {
                files.push((format!("{key}.jpg"), bytes));
            }
            if !matches!(kind, Kind::NoText) {
                files.push((format!("{key}.txt"), text));
                files.push((format!("{key}.json"), told.to_string().into_bytes()));
            }
        }
        pairs.write(&format!("set/{shard:05}.tar"), &archive(&files)?)?;
        pairs.write(&format!("set/{shard:05}.parquet"), b"PAR1")?;
        pairs.write(&format!("set/{shard:05}_stats.json"), b"{}")?;
    }
    Ok(())
}

/// Lines of all scores that are there, whole files and those that are written.
fn lines(scores: &Path) -> usize {
    let count =
        |path: &Path| std::fs::read(path).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count());
    let entries = std::fs::read_dir(scores).into_iter().flatten().filter_map(Result::ok);
    entries
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains(".jsonl"))
        .map(|path| count(&path))
        .sum()
}

#[test]
fn a_set_of_the_web_is_cleaned_by_runs_that_are_killed_as_by_one_that_is_not() -> AnyResult<()> {
    let pairs = Pairs::new()?;
    write_set(&pairs)?;
    let more = ["--n", "2", "--threshold", "0.3"];
    succeeded(&pairs.command("set", "whole", &more).output()?);
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let all = usize::try_from(SHARDS * SAMPLES)?;
    let scores = pairs.path("broken/scores");
    let mut killed = 0;
    for _ in 0..6 {
        let mut run = pairs.command("set", "broken", &more).stderr(Stdio::null()).spawn()?;
        let before = lines(&scores);
        let until = random.random_range(before..=all.max(before)) + 1;
        let deadline = Instant::now() + Duration::from_secs(120);
        while run.try_wait()?.is_none() && lines(&scores) < until && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Somewhere behind it, also while it selects.
        std::thread::sleep(Duration::from_micros(random.random_range(0..20_000)));
        killed += usize::from(run.try_wait()?.is_none());
        run.kill()?;
        run.wait()?;
    }
    assert!(killed >= 3, "{killed}");
    succeeded(&pairs.command("set", "broken", &more).output()?);
    let (whole, broken) = (contents(&pairs.path("whole"))?, contents(&pairs.path("broken"))?);
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&whole), names(&broken));
    for ((name, whole), (_, broken)) in whole.iter().zip(&broken) {
        assert!(whole == broken, "{name} differs");
    }
    told_as_it_is(&rows(&pairs.path("whole/scores"))?);
    // Workers write the same, though some pictures are in several shards.
    for worker in ["0/3", "1/3", "2/3"] {
        let worker = [&more[..], &["--worker", worker]].concat();
        succeeded(&pairs.command("set", "shared", &worker).output()?);
    }
    for shard in 0..SHARDS {
        for name in [format!("{shard:05}.tar"), format!("scores/{shard:05}.jsonl")] {
            let read = |output: &str| std::fs::read(pairs.path(output).join(&name));
            assert!(read("whole")? == read("shared")?, "{name} differs");
        }
    }
    Ok(())
}

/// Each sample is a row that says what is wrong with it.
fn told_as_it_is(rows: &[Value]) {
    assert_eq!(rows.len() as u64, SHARDS * SAMPLES);
    let per_shard = usize::try_from(SAMPLES).expect("it is small");
    for (place, row) in rows.iter().enumerate() {
        let number = (place % per_shard) as u64;
        let (is_error, has_score) = match kind_of(number) {
            Kind::Broken | Kind::Failed => (true, false),
            Kind::EmptyText | Kind::NoText => (false, false),
            _ => (false, true),
        };
        assert_eq!(
            (row["error"].is_string(), row["web"]["match"].is_number()),
            (is_error, has_score),
            "{row}"
        );
        if let Kind::SamePicture = kind_of(number) {
            let same = rows.iter().filter(|other| other["sha256"] == row["sha256"]);
            assert!(same.clone().count() > 3 && same.clone().all(|other| other["synthetic"] == row["synthetic"]));
        }
        if let Kind::NotUtf8 = kind_of(number) {
            assert_eq!(row["web"]["text"], "caf\u{fffd} in the \u{fffd}\u{fffd} rain");
        }
    }
}
