//! `glimpse capfilt`, with the random models of BLIP's golden files as captioner and filter.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{glimpse, png, stderr};

mod forms;
mod hostile;
mod img2dataset;
mod resuming;
mod selecting;

type AnyResult<T> = Result<T, Box<dyn Error>>;

const CAPTIONER: &str = "tests/golden/blip/00";
const FILTER: &str = "tests/golden/blip/16";

/// A folder with pairs, and one for what comes of them.
struct Pairs {
    folder: TempDir,
}

impl Pairs {
    fn new() -> AnyResult<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
        })
    }

    /// So many pictures `0.png`, … of different colours, with a text each, as JSON lines.
    fn of(count: u64) -> AnyResult<Self> {
        let pairs = Self::new()?;
        let lines: Vec<Value> = (0..count)
            .map(|number| json!({"image": format!("{number}.png"), "caption": caption(number), "id": number, "more": [number]}))
            .collect();
        for number in 0..count {
            pairs.write(&format!("{number}.png"), &picture(number))?;
        }
        pairs.write_lines("pairs.jsonl", &lines)?;
        Ok(pairs)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> AnyResult<PathBuf> {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, bytes)?;
        Ok(path)
    }

    fn write_lines(&self, name: &str, lines: &[Value]) -> AnyResult<PathBuf> {
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        self.write(name, (lines.join("\n") + "\n").as_bytes())
    }

    /// The command that cleans `input` into `output`, both in the folder.
    fn command(&self, input: &str, output: &str, more: &[&str]) -> Command {
        let mut command = glimpse();
        let models = [
            "--captioner",
            CAPTIONER,
            "--filter",
            FILTER,
            "--dtype",
            "f32",
            "--device",
            "cpu",
        ];
        command.arg("capfilt").arg("--input").arg(self.path(input));
        command.arg("--output").arg(self.path(output)).args(models).args(more);
        command
    }

    /// Runs it, and gives all rows.
    fn clean(&self, input: &str, output: &str, more: &[&str]) -> AnyResult<Vec<Value>> {
        succeeded(&self.command(input, output, more).output()?);
        rows(&self.path(output))
    }
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

/// What is written about a picture.
fn caption(number: u64) -> String {
    format!("A picture, number {number}!")
}

fn picture(number: u64) -> Vec<u8> {
    png([
        (number * 37 % 256) as u8,
        (number * 101 % 256) as u8,
        (number / 7 % 256) as u8,
    ])
}

/// The rows of all files of JSON lines in a folder.
fn rows(folder: &Path) -> AnyResult<Vec<Value>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<AnyResult<_>>()?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "jsonl"));
    files.sort();
    let mut rows = Vec::new();
    for file in files {
        for line in std::fs::read_to_string(file)?.lines() {
            rows.push(serde_json::from_str(line)?);
        }
    }
    Ok(rows)
}

/// All files below a folder with their bytes, hidden ones too.
fn contents(folder: &Path) -> AnyResult<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let within = contents(&path)?;
            found.extend(
                within
                    .into_iter()
                    .map(|(inside, bytes)| (format!("{name}/{inside}"), bytes)),
            );
        } else {
            found.push((name, std::fs::read(&path)?));
        }
    }
    found.sort();
    Ok(found)
}

/// What `glimpse match` says of a picture and a text.
fn matched(picture: &Path, text: &str) -> AnyResult<Value> {
    let output = glimpse()
        .args([
            "match", "--json", "--dtype", "f32", "--device", "cpu", "--model", FILTER, "--text", text,
        ])
        .arg(picture)
        .output()?;
    succeeded(&output);
    let line: Value = serde_json::from_slice(&output.stdout)?;
    Ok(line["scores"][0].clone())
}

fn numbers(row: &Value) -> Vec<f64> {
    [&row["match"], &row["cosine"]]
        .iter()
        .filter_map(|number| number.as_f64())
        .collect()
}

#[test]
fn pairs_get_captions_and_scores_and_what_fits_is_kept() -> AnyResult<()> {
    let pairs = Pairs::of(5)?;
    let rows = pairs.clean("pairs.jsonl", "out", &["--n", "2", "--seed", "1", "--policy", "paper"])?;
    assert_eq!(rows.len(), 5);
    for (number, row) in (0u64..).zip(&rows) {
        assert_eq!(row["key"], number.to_string());
        assert_eq!((&row["id"], &row["more"][0]), (&json!(number), &json!(number)));
        assert_eq!(row["image"], format!("{number}.png"));
        assert_eq!(row["error"], Value::Null);
        assert_eq!(row["sha256"].as_str().map(str::len), Some(64));
        assert_eq!(row["web"]["text"], caption(number), "as it is");
        assert!(row.get("caption").is_none());
        let synthetic = row["synthetic"].as_array().ok_or("synthetic")?;
        assert_eq!(synthetic.len(), 2);
        assert_ne!(synthetic[0]["text"], synthetic[1]["text"]);
        // Scored as the original prepares it.
        let want = matched(
            &pairs.path(&format!("{number}.png")),
            &format!("a picture, number {number}"),
        )?;
        for (got, want) in numbers(&row["web"]).into_iter().zip(numbers(&want)) {
            assert!((got - want).abs() < 1e-6, "{got} instead of {want}");
        }
        let all = std::iter::once(&row["web"]).chain(synthetic);
        let kept: Vec<&Value> = all
            .filter(|text| text["match"].as_f64() >= Some(0.5))
            .map(|text| &text["text"])
            .collect();
        let texts: Vec<&Value> = row["texts"]
            .as_array()
            .ok_or("texts")?
            .iter()
            .map(|text| &text["text"])
            .collect();
        assert_eq!(texts, kept);
        assert_eq!(row["kept"], !kept.is_empty());
    }
    let stats: Value = serde_json::from_slice(&std::fs::read(pairs.path("out/_stats.json"))?)?;
    assert_eq!(
        (&stats["pictures"], &stats["web"]["texts"], &stats["synthetic"]["texts"]),
        (&json!(5), &json!(5), &json!(10))
    );
    let report = std::fs::read_to_string(pairs.path("out/report.html"))?;
    assert!(report.contains("data:image/jpeg;base64,") && report.contains("A picture, number"));
    // The same seed draws the same, and another one draws others.
    let again = pairs.clean("pairs.jsonl", "again", &["--n", "2", "--seed", "1"])?;
    assert_eq!(again, rows);
    let other = pairs.clean("pairs.jsonl", "other", &["--n", "2", "--seed", "2"])?;
    assert!((0..5).any(|row| other[row]["synthetic"] != rows[row]["synthetic"]));
    Ok(())
}

#[test]
fn a_caption_has_the_originals_length() -> AnyResult<()> {
    let pairs = Pairs::of(3)?;
    let output = pairs.command("pairs.jsonl", "out", &["--max-length", "4"]).output()?;
    let said = stderr(&output);
    assert!(!output.status.success() && said.contains("--max-length"), "{said}");
    Ok(())
}

#[test]
fn what_cannot_be_read_is_a_row_and_no_end() -> AnyResult<()> {
    let pairs = Pairs::of(2)?;
    pairs.write("broken.png", &picture(1)[..60])?;
    pairs.write("empty.png", b"")?;
    let lines = [
        json!({"image": "0.png", "caption": "one"}),
        json!({"image": "broken.png", "caption": "two"}),
        json!({"image": "none.png", "caption": "three"}),
        json!({"image": "empty.png", "caption": "four"}),
        json!({"caption": "five"}),
        json!({"url": "http://127.0.0.1:9/a.png", "caption": "six"}),
        json!({"image": "1.png", "caption": ""}),
        json!({"image": "1.png", "caption": " ... "}),
        json!({"image": "1.png"}),
    ];
    let path = pairs.write_lines("pairs.jsonl", &lines)?;
    let mut text = std::fs::read_to_string(&path)?;
    text.push_str("this is no JSON\n\n[1]\n");
    std::fs::write(&path, text)?;
    let rows = pairs.clean("pairs.jsonl", "out", &["--policy", "filter", "--threshold", "0"])?;
    assert_eq!(rows.len(), 11);
    for row in [&rows[1..6], &rows[9..]].concat() {
        assert!(row["error"].is_string(), "{row}");
        assert_eq!(
            (&row["web"]["match"], &row["synthetic"], &row["kept"]),
            (&Value::Null, &json!([]), &json!(false))
        );
    }
    assert_eq!(rows[1]["web"]["text"], "two");
    assert!(rows[1]["sha256"].is_string() && rows[2]["sha256"].is_null());
    for row in &rows[6..9] {
        assert_eq!(
            (&row["error"], &row["web"]["match"], &row["web"]["cosine"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
        assert!(row["synthetic"][0]["match"].is_number());
        assert_eq!(row["kept"], false, "an empty text is dropped, whatever the threshold");
    }
    let stats: Value = serde_json::from_slice(&std::fs::read(pairs.path("out/_stats.json"))?)?;
    assert_eq!(
        (&stats["unreadable"], &stats["web"]["empty"], &stats["kept"]),
        (&json!(7), &json!(5), &json!(1))
    );
    Ok(())
}

#[test]
fn pictures_of_the_same_bytes_are_described_once() -> AnyResult<()> {
    let pairs = Pairs::of(2)?;
    let lines = [("a", "0.png"), ("b", "1.png"), ("c", "0.png"), ("a", "0.png")];
    let lines = lines.map(|(caption, image)| json!({"image": image, "caption": caption}));
    pairs.write_lines("pairs.jsonl", &lines)?;
    let rows = pairs.clean("pairs.jsonl", "out", &[])?;
    assert_eq!(rows[0]["synthetic"], rows[2]["synthetic"]);
    assert_ne!(rows[0]["web"], rows[2]["web"]);
    assert_eq!(rows[0]["web"], rows[3]["web"]);
    let stats: Value = serde_json::from_slice(&std::fs::read(pairs.path("out/_stats.json"))?)?;
    assert_eq!(stats["duplicates"], 2);
    // By their looks: the same picture in another file.
    let mut other = picture(0);
    other.extend(b"and more behind the picture");
    pairs.write("1.png", &other)?;
    let rows = pairs.clean("pairs.jsonl", "looks", &["--perceptual-hash"])?;
    assert_eq!(rows[0]["synthetic"], rows[1]["synthetic"]);
    assert!(rows[0]["sha256"] != rows[1]["sha256"] && rows[0]["phash"] == rows[1]["phash"]);
    Ok(())
}

#[test]
fn what_is_missing_or_wrong_is_said_in_a_sentence() -> AnyResult<()> {
    let pairs = Pairs::of(1)?;
    let said = |status: i32, arguments: &[&str]| -> AnyResult<String> {
        let output = glimpse()
            .arg("capfilt")
            .args(arguments)
            .current_dir(pairs.folder.path())
            .output()?;
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", stderr(&output));
        Ok(stderr(&output))
    };
    let root = std::env::current_dir()?;
    let model = |name: &str| root.join(name).to_string_lossy().into_owned();
    let (captioner, filter) = (model(CAPTIONER), model(FILTER));
    assert!(said(2, &["--output", "o"])?.contains("--input"));
    assert!(said(2, &["--input", "pairs.jsonl"])?.contains("--output"));
    assert!(said(2, &["--input", "pairs.jsonl", "--output", "o"])?.contains("--filter"));
    let both = ["--input", "pairs.jsonl", "--output", "o", "--filter", &filter];
    assert!(said(2, &both)?.contains("--captioner"));
    let with = |more: &[&str]| {
        [&both[..], &["--captioner", &captioner], more]
            .concat()
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    for wrong in [
        ["--worker", "2/2"],
        ["--threshold", "1.5"],
        ["--policy", "none"],
        ["--n", "101"],
        ["--shards", "9..1"],
    ] {
        let arguments = with(&wrong);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert!(said(2, &arguments)?.contains(wrong[0]), "{wrong:?}");
    }
    let lengths = with(&["--min-length", "30", "--max-length", "20"]);
    let lengths: Vec<&str> = lengths.iter().map(String::as_str).collect();
    assert!(said(2, &lengths)?.contains("--min-length 30 is more than --max-length 20"));
    let swapped = |model| {
        let models = ["--filter", model, "--captioner", model];
        said(1, &[&["--input", "pairs.jsonl", "--output", "o"][..], &models].concat())
    };
    assert!(swapped(&captioner)?.contains("writes captions"));
    assert!(swapped(&filter)?.contains("--captioner"));
    let none = [
        "--input",
        "none.jsonl",
        "--output",
        "o",
        "--filter",
        &filter,
        "--n",
        "0",
    ];
    assert!(said(1, &none)?.contains("none.jsonl is not there"));
    let nothing = ["--filter", "no/model", "--n", "0", "--output", "o"];
    let none = [&["--input", "none.jsonl"][..], &nothing].concat();
    assert!(
        said(1, &none)?.contains("none.jsonl is not there"),
        "before a model is looked for"
    );
    let shard = forms::archive(&forms::shard_of(0..1))?;
    for number in 0..3 {
        pairs.write(&format!("shards/0000{number}.tar"), &shard)?;
    }
    let beyond = [&["--input", "shards", "--shards", "7..9"][..], &nothing].concat();
    assert!(said(1, &beyond)?.contains("no shards with the numbers 7..9: it has 00000 to 00002"));
    let beyond = [
        "--input",
        "pairs.jsonl",
        "--output",
        "o",
        "--n",
        "0",
        "--filter",
        &filter,
        "--shards",
        "7..9",
    ];
    assert!(said(1, &beyond)?.contains("no shards with the numbers 7..9: it has 00000 alone"));
    for unscored in ["shards", "shards/00000.tar"] {
        let said = said(1, &["select", "--input", unscored, "--output", "p"])?;
        assert!(
            said.contains("no scores yet") && said.contains("glimpse capfilt score"),
            "{said}"
        );
    }
    pairs.write("pairs.txt", b"")?;
    let form = ["--input", "pairs.txt", "--output", "o", "--filter", &filter, "--n", "0"];
    assert!(said(1, &form)?.contains("pairs.txt ends as no form"));
    assert!(said(1, &["select", "--input", "o", "--output", "p"])?.contains("glimpse capfilt score"));
    Ok(())
}
