//! `glimpse embed` and `glimpse search` with every class that compares, against the reference's vectors
//! and cosines (the golden folders of `blip` and `retrieval`), within 1e-4.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use candle_core::{Device, Tensor};
use serde::Deserialize;
use serde_json::Value;

use crate::support::{TinyCheckpoint, glimpse, stderr};

type AnyResult<T> = Result<T, Box<dyn Error>>;

const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Expected {
    pictures: Vec<ExpectedPicture>,
    scores: Vec<ExpectedScore>,
}

#[derive(Deserialize)]
struct ExpectedPicture {
    file: String,
}

#[derive(Deserialize)]
struct ExpectedScore {
    picture: usize,
    text: String,
    #[serde(alias = "probability", rename = "match")]
    matching: f32,
    cosine: f32,
}

struct Golden {
    folder: PathBuf,
    expected: Expected,
}

impl Golden {
    fn path(&self, picture: usize) -> String {
        self.folder
            .join(&self.expected.pictures[picture].file)
            .to_string_lossy()
            .into_owned()
    }

    fn texts(&self) -> Vec<&str> {
        let of_first = self.expected.scores.iter().filter(|score| score.picture == 0);
        of_first.map(|score| score.text.as_str()).collect()
    }

    fn run(&self, command: &str, more: &[&str]) -> AnyResult<Output> {
        let mut glimpse = glimpse();
        glimpse
            .args([command, "--dtype", "f32", "--model"])
            .arg(&self.folder)
            .args(more);
        Ok(glimpse.output()?)
    }
}

/// All checkpoints that compare, of both families.
fn goldens() -> AnyResult<Vec<Golden>> {
    let root = std::env::var_os("GLIMPSE_GOLDEN").map_or_else(|| "tests/golden".into(), PathBuf::from);
    let mut folders = Vec::new();
    for (set, first) in [("blip", 16), ("retrieval", 0)] {
        let entries = fs::read_dir(root.join(set))?;
        let mut all: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<AnyResult<_>>()?;
        all.sort();
        folders.extend(all.into_iter().skip(first).take(8));
    }
    let open = |folder: PathBuf| {
        let expected = serde_json::from_slice(&fs::read(folder.join("expected.json"))?)?;
        Ok(Golden { folder, expected })
    };
    folders.into_iter().map(open).collect()
}

fn lines(output: &Output) -> AnyResult<Vec<Value>> {
    let text = std::str::from_utf8(&output.stdout)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// An embedding, of one vector or of several.
fn vectors(line: &Value) -> AnyResult<Vec<Vec<f32>>> {
    let list = line["embedding"].as_array().ok_or("an embedding")?;
    let rows: Vec<&Value> = match list.first().ok_or("numbers")?.is_array() {
        true => list.iter().collect(),
        false => vec![&line["embedding"]],
    };
    let rows = rows.into_iter().map(|row| serde_json::from_value(row.clone()));
    Ok(rows.collect::<Result<_, _>>()?)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn embeddings_are_the_references() -> AnyResult<()> {
    for golden in goldens()? {
        let pictures: Vec<String> = (0..golden.expected.pictures.len())
            .map(|index| golden.path(index))
            .collect();
        let mut arguments: Vec<&str> = pictures.iter().map(String::as_str).collect();
        for text in golden.texts() {
            arguments.extend(["--text", text]);
        }
        let output = golden.run("embed", &arguments)?;
        assert!(output.status.success(), "{}", stderr(&output));
        let lines = lines(&output)?;
        assert_eq!(lines.len(), pictures.len() + golden.texts().len());
        let vectors = lines.iter().map(vectors).collect::<AnyResult<Vec<_>>>()?;
        for row in vectors.iter().flatten() {
            assert!((dot(row, row) - 1.0).abs() < 1e-5);
        }
        let (of_pictures, of_texts) = vectors.split_at(pictures.len());
        for score in &golden.expected.scores {
            let text = golden
                .texts()
                .iter()
                .position(|text| *text == score.text)
                .ok_or("the text")?;
            let rows = of_pictures[score.picture].iter();
            let cosine = rows.map(|row| dot(row, &of_texts[text][0])).fold(f32::MIN, f32::max);
            assert!(
                (cosine - score.cosine).abs() <= TOLERANCE,
                "{}: {cosine} instead of {}",
                golden.folder.display(),
                score.cosine
            );
        }
        let kept: HashMap<String, Tensor> =
            candle_core::safetensors::load(golden.folder.join("expected.safetensors"), &Device::Cpu)?;
        for (index, rows) in of_pictures.iter().enumerate() {
            // BLIP-2's are in the file, every n-th number where there are many.
            let Some(want) = kept.get(&format!("picture_features-{index}")) else {
                continue;
            };
            let (want, got): (Vec<f32>, Vec<f32>) = (want.to_vec1()?, rows.concat());
            let got: Vec<f32> = got.iter().copied().step_by(got.len().div_ceil(1024)).collect();
            assert_eq!(got.len(), want.len());
            let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= TOLERANCE, "{}: off by {worst}", golden.folder.display());
        }
    }
    Ok(())
}

#[test]
fn a_file_holds_the_rows_that_the_lines_name() -> AnyResult<()> {
    let goldens = goldens()?;
    let folder = tempfile::tempdir()?;
    for golden in [&goldens[0], &goldens[8]] {
        let path = folder.path().join("vectors.npy").to_string_lossy().into_owned();
        let arguments = [&golden.path(0), "none.png", &golden.path(1), "--output", &path];
        let output = golden.run("embed", &arguments)?;
        assert_eq!(output.status.code(), Some(1), "one of them is no picture");
        let lines = lines(&output)?;
        assert!(lines[1]["error"].is_string() && lines[1].get("row").is_none());
        assert_eq!((&lines[0]["row"], &lines[2]["row"]), (&0.into(), &1.into()));
        let bytes = fs::read(&path)?;
        let header = u16::from_le_bytes([bytes[8], bytes[9]]) as usize + 10;
        assert!(bytes.starts_with(b"\x93NUMPY\x01\x00") && header.is_multiple_of(64));
        let want = [vectors(&lines[0])?.concat(), vectors(&lines[2])?.concat()].concat();
        let got: Vec<f32> = bytes[header..]
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect();
        assert_eq!(got, want);
        let shape = match vectors(&lines[0])?.as_slice() {
            [one] => format!("(2, {})", one.len()),
            many => format!("(2, {}, {})", many.len(), many[0].len()),
        };
        let said = String::from_utf8_lossy(&bytes[10..header]);
        assert!(said.contains(&shape) && said.contains("<f4"), "{said}");
    }
    // Some of the reference's small models have one query token.
    let mut refused = 0;
    for golden in &goldens[8..] {
        let path = folder.path().join("mixed.npy");
        let output = golden.run(
            "embed",
            &[&golden.path(0), "--text", "blue", "--output", &path.to_string_lossy()],
        )?;
        if path.exists() {
            assert_eq!(vectors(&lines(&output)?[0])?.len(), 1);
            fs::remove_file(path)?;
        } else {
            assert!(stderr(&output).contains("files of their own"), "{}", stderr(&output));
            refused += 1;
        }
    }
    assert!(refused > 0);
    Ok(())
}

/// A folder with a golden's pictures, one of them in a folder within, and with one that is none.
fn library(golden: &Golden) -> AnyResult<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("inner"))?;
    fs::copy(golden.path(0), folder.path().join(&golden.expected.pictures[0].file))?;
    fs::copy(golden.path(1), folder.path().join("inner/second.png"))?;
    fs::write(folder.path().join("broken.jpg"), "none")?;
    Ok(folder)
}

/// Names of the pictures that were found, in order, and the objects.
fn found(golden: &Golden, folder: &Path, more: &[&str]) -> AnyResult<(Vec<String>, Vec<Value>, String)> {
    let path = folder.to_string_lossy();
    let output = golden.run("search", &[&["--json", &path], more].concat())?;
    assert!(output.status.success(), "{}", stderr(&output));
    let lines = lines(&output)?;
    let names = lines.iter().map(|line| {
        let picture = line["picture"].as_str().unwrap_or_default();
        let within = Path::new(picture)
            .strip_prefix(folder)
            .unwrap_or(Path::new("elsewhere"));
        within.to_string_lossy().into_owned()
    });
    Ok((names.collect(), lines, stderr(&output)))
}

#[test]
fn the_nearest_pictures_are_found_with_the_references_cosines() -> AnyResult<()> {
    for golden in goldens()?.iter().step_by(3) {
        let folder = library(golden)?;
        for text in golden.texts() {
            let (names, lines, said) = found(golden, folder.path(), &[text])?;
            let wanted = |name: &String| {
                let picture = usize::from(name == "inner/second.png");
                let scores = &mut golden.expected.scores.iter();
                scores.find(|score| score.picture == picture && score.text == text)
            };
            assert_eq!(names.len(), 2);
            for (name, line) in names.iter().zip(&lines) {
                let want = wanted(name).ok_or("a score")?.cosine;
                let got = line["cosine"].as_f64().ok_or("a cosine")? as f32;
                assert!((got - want).abs() <= TOLERANCE, "{name}: {got} instead of {want}");
            }
            assert!(lines[0]["cosine"].as_f64() >= lines[1]["cosine"].as_f64());
            assert!(
                said.contains("broken.jpg") && said.contains("1 picture could not"),
                "{said}"
            );
            let (names, lines, _) = found(golden, folder.path(), &["--rerank", "5", text])?;
            for (name, line) in names.iter().zip(&lines) {
                let want = wanted(name).ok_or("a score")?.matching;
                let got = line["match"].as_f64().ok_or("a match")? as f32;
                assert!((got - want).abs() <= TOLERANCE, "{name}: {got} instead of {want}");
            }
            assert!(lines[0]["match"].as_f64() >= lines[1]["match"].as_f64());
        }
    }
    Ok(())
}

fn indexes(folder: &Path) -> AnyResult<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let entries = entries.collect::<AnyResult<Vec<_>>>()?;
    let is_index = |path: &PathBuf| path.to_string_lossy().contains(".glimpse-index-");
    Ok(entries.into_iter().filter(is_index).collect())
}

#[test]
fn an_index_is_kept_refreshed_and_good_for_one_model() -> AnyResult<()> {
    let goldens = goldens()?;
    let golden = &goldens[0];
    let folder = library(golden)?;
    let text = golden.texts()[0];
    let (names, first, _) = found(golden, folder.path(), &[text])?;
    let index = indexes(folder.path())?;
    assert_eq!(index.len(), 1);
    let bytes = fs::read(&index[0])?;
    let (_, again, _) = found(golden, folder.path(), &[text])?;
    assert_eq!(again, first);
    assert_eq!(fs::read(&index[0])?, bytes, "nothing was changed");
    // A picture's vectors come from the index: what is read from a changed file is another picture's.
    let (near, far) = (folder.path().join(&names[0]), folder.path().join(&names[1]));
    fs::copy(&far, &near)?;
    let (_, changed, _) = found(golden, folder.path(), &[text])?;
    assert_eq!(changed[0]["cosine"], changed[1]["cosine"]);
    assert_ne!(fs::read(&index[0])?, bytes);
    fs::remove_file(&near)?;
    let (left, _, _) = found(golden, folder.path(), &[text])?;
    assert_eq!(left, [names[1].clone()]);
    // Another model has another index, and a damaged one is made anew.
    found(&goldens[1], folder.path(), &[text])?;
    assert_eq!(indexes(folder.path())?.len(), 2);
    fs::write(&index[0], "damaged")?;
    let (_, mended, _) = found(golden, folder.path(), &[text])?;
    assert_eq!(mended[0]["cosine"], changed[1]["cosine"]);
    let mut bytes = fs::read(&index[0])?;
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&1e9f32.to_le_bytes());
    fs::write(&index[0], bytes)?;
    let (_, mended, _) = found(golden, folder.path(), &[text])?;
    assert_eq!(mended[0]["cosine"], changed[1]["cosine"], "no vector is so long");
    let (top, _, _) = found(golden, folder.path(), &["--top", "1", text])?;
    assert_eq!(top.len(), 1);
    Ok(())
}

#[test]
fn what_cannot_be_searched_or_embedded_is_one_sentence() -> AnyResult<()> {
    let golden = &goldens()?[0];
    let folder = tempfile::tempdir()?;
    let empty = golden.run("search", &[&folder.path().to_string_lossy(), "a dog"])?;
    assert!(
        empty.status.code() == Some(1) && stderr(&empty).contains("no pictures"),
        "{}",
        stderr(&empty)
    );
    let nothing = golden.run("search", &[".", " "])?;
    assert_eq!(nothing.status.code(), Some(2));
    let none = golden.run("embed", &[])?;
    assert_eq!(none.status.code(), Some(2));
    let writer = TinyCheckpoint::new();
    for arguments in [
        ["embed", "--text=a dog", "--model"],
        ["embed", &golden.path(0), "--model"],
    ] {
        let refused = glimpse().args(arguments).arg(writer.path()).output()?;
        assert!(
            stderr(&refused).contains("compares no pictures"),
            "{}",
            stderr(&refused)
        );
    }
    let photo = folder.path().join("photo.jpg");
    fs::write(&photo, "no picture")?;
    let (photo, shown) = (photo.to_string_lossy(), folder.path().to_string_lossy());
    let forgotten = golden.run("embed", &["--output", &photo, &golden.path(0)])?;
    assert_eq!(forgotten.status.code(), Some(2), "{}", stderr(&forgotten));
    assert_eq!(fs::read(&*photo)?, b"no picture");
    let unreadable = golden.run("search", &[&shown, "a dog"])?;
    assert_eq!(unreadable.status.code(), Some(1), "{}", stderr(&unreadable));
    let table = golden.run("search", &[&library(golden)?.path().to_string_lossy(), "blue"])?;
    let table = String::from_utf8(table.stdout)?;
    assert!(
        table.starts_with("COSINE   PICTURE\n") && table.lines().count() == 3,
        "{table}"
    );
    Ok(())
}
