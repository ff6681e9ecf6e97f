//! `glimpse caption FOLDER`: captions beside the pictures.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::{TinyCheckpoint, glimpse, png, stderr};

struct Pictures {
    folder: tempfile::TempDir,
    model: TinyCheckpoint,
}

impl Pictures {
    /// Four pictures, one in a folder within, and one that is none.
    fn new() -> Self {
        let pictures = Self {
            folder: tempfile::tempdir().expect("there is a folder for tests"),
            model: TinyCheckpoint::new(),
        };
        fs::create_dir_all(pictures.at("inner/more")).expect("the folder is ours");
        for (name, blue) in [
            ("a.png", 0),
            ("b.PNG", 90),
            ("inner/c.png", 180),
            ("inner/more/d.png", 250),
        ] {
            pictures.put(name, png([200, 0, blue]));
        }
        pictures.put("broken.jpg", "none");
        pictures.put("notes.md", "none");
        pictures
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.at(name), bytes).expect("the folder is ours");
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.at(name)).ok()
    }

    fn caption(&self, more: &[&str]) -> Output {
        self.caption_by(self.model.path(), more)
    }

    fn caption_by(&self, model: &str, more: &[&str]) -> Output {
        let output = glimpse()
            .args(["caption", "--max-new-tokens", "6", "--model", model])
            .args(more)
            .arg(self.folder.path())
            .output()
            .expect("the program starts");
        assert!(output.stdout.is_empty(), "captions are in files");
        output
    }

    /// What `glimpse ask` answers about one of them.
    fn asked(&self, name: &str, more: &[&str]) -> String {
        let output = glimpse()
            .args(["ask", "--max-new-tokens", "6", "--model", self.model.path()])
            .args(more)
            .arg(self.at(name))
            .output()
            .expect("the program starts");
        let words: String = String::from_utf8_lossy(&output.stdout)
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        words.trim().to_owned()
    }
}

/// All files of a folder and those within it, by their names.
fn names(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("it is there") {
        let entry = entry.expect("it is there");
        match entry.path().is_dir() {
            true => found.extend(names(&entry.path())),
            false => found.push(entry.file_name().to_string_lossy().into_owned()),
        }
    }
    found.sort();
    found
}

const NAMES: [&str; 4] = ["a.png", "b.PNG", "inner/c.png", "inner/more/d.png"];

#[test]
fn every_picture_has_its_caption_beside_it_and_what_is_none_is_named_at_the_end() {
    let pictures = Pictures::new();
    let output = pictures.caption(&[]);
    assert_eq!(output.status.code(), Some(1), "one of them is no picture");
    let said = stderr(&output);
    assert!(
        said.contains("broken.jpg") && said.contains("4 pictures captioned"),
        "{said}"
    );
    for name in NAMES {
        let sidecar = Path::new(name).with_extension("txt");
        let text = pictures.read(&sidecar.to_string_lossy());
        assert_eq!(text, Some(pictures.asked(name, &[]) + "\n"), "{name}");
    }
    let files = names(pictures.folder.path());
    assert_eq!(
        files.iter().filter(|name| name.ends_with(".txt")).count(),
        4,
        "{files:?}"
    );
    assert!(!files.iter().any(|name| name.contains("part")), "{files:?}");
}

#[test]
fn a_run_goes_on_where_it_was_and_overwrites_when_told_to() {
    let pictures = Pictures::new();
    fs::remove_file(pictures.at("broken.jpg")).expect("it is there");
    pictures.put("a.txt", "mine\n");
    let output = pictures.caption(&[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("3 pictures captioned") && stderr(&output).contains("1 with a caption"));
    assert_eq!(pictures.read("a.txt").as_deref(), Some("mine\n"));
    let again = pictures.caption_by("/nowhere", &[]);
    assert!(again.status.success(), "no model is needed: {}", stderr(&again));
    let anew = pictures.caption(&["--overwrite"]);
    assert!(stderr(&anew).contains("4 pictures captioned"), "{}", stderr(&anew));
    assert_ne!(pictures.read("a.txt").as_deref(), Some("mine\n"));
}

#[test]
fn what_stands_around_a_caption_is_written_with_it() {
    let pictures = Pictures::new();
    let more = [
        "--prefix",
        "a photo of",
        "--prepend",
        "sks, ",
        "--postfix",
        ", 4k",
        "--extension",
        ".caption",
    ];
    pictures.caption(&more);
    let text = pictures.read("a.caption").expect("it was written");
    assert!(
        text.starts_with("sks, a photo of") && text.ends_with(", 4k\n"),
        "{text}"
    );
    let goes_on = pictures.asked("a.png", &["--prefix", "a photo of"]);
    assert!(text.contains(&goes_on), "{text} does not go on with {goes_on}");
    assert_eq!(pictures.read("a.txt"), None);
}

#[test]
fn several_captions_differ_and_stand_in_lines() {
    let pictures = Pictures::new();
    let seeded = [
        "--n",
        "3",
        "--seed",
        "5",
        "--temperature",
        "3",
        "--top-k",
        "0",
        "--top-p",
        "1",
    ];
    pictures.caption(&seeded);
    let text = pictures.read("a.txt").expect("it was written");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0] != lines[1] && lines[1] != lines[2], "{text}");
    pictures.caption(&[&seeded[..], &["--overwrite"]].concat());
    assert_eq!(pictures.read("a.txt"), Some(text), "the same seed, the same captions");
    let beams = pictures.caption(&["--n", "4", "--num-beams", "2", "--overwrite"]);
    assert_eq!(beams.status.code(), Some(2), "{}", stderr(&beams));
}

#[test]
fn one_file_for_all_is_gone_on_with_and_keeps_what_others_wrote() {
    let pictures = Pictures::new();
    pictures.put(
        "metadata.jsonl",
        "{\"file_name\": \"a.png\", \"text\": \"mine\", \"more\": 1}\n",
    );
    let output = pictures.caption(&["--format", "metadata.jsonl"]);
    assert!(stderr(&output).contains("3 pictures captioned"), "{}", stderr(&output));
    let text = pictures.read("metadata.jsonl").expect("it is there");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("it is JSON"))
        .collect();
    assert!(lines.iter().map(|line| &line["file_name"]).eq(NAMES), "{text}");
    assert_eq!((&lines[0]["text"], &lines[0]["more"]), (&"mine".into(), &1.into()));
    assert_eq!(lines[2]["text"], pictures.asked("inner/c.png", &[]));
    let csv = pictures.caption(&["--format", "csv"]);
    assert!(stderr(&csv).contains("4 pictures captioned"), "{}", stderr(&csv));
    let text = pictures.read("metadata.csv").expect("it is there");
    assert!(text.starts_with("file_name,text\na.png,"), "{text}");
    let again = pictures.caption(&["--format", "csv"]);
    assert!(stderr(&again).contains("0 pictures captioned"), "{}", stderr(&again));
    assert_eq!(pictures.read("metadata.csv"), Some(text));
    pictures.put("metadata.jsonl", "something else\n");
    let refused = pictures.caption(&["--format", "metadata.jsonl"]);
    assert!(
        stderr(&refused).contains("metadata.jsonl is there already"),
        "{}",
        stderr(&refused)
    );
    assert_eq!(pictures.read("metadata.jsonl").as_deref(), Some("something else\n"));
}

#[test]
fn two_pictures_do_not_share_a_sidecar() {
    let pictures = Pictures::new();
    pictures.put("a.bmp", png([0, 0, 9]));
    let output = pictures.caption(&[]);
    let said = stderr(&output);
    assert!(
        said.contains("a.png: its caption would be in a.txt") && said.contains("4 pictures captioned"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_captioned_at_all_is_one_sentence() {
    let pictures = Pictures::new();
    let said = |arguments: &[&str]| {
        let output = glimpse().args(arguments).output().expect("the program starts");
        (output.status.code(), stderr(&output))
    };
    let file = pictures.at("a.png");
    let (code, error) = said(&["caption", &file.to_string_lossy()]);
    assert!(code == Some(1) && error.contains("it is a file"), "{error}");
    let (code, error) = said(&["caption", "/nowhere"]);
    assert!(code == Some(1) && error.contains("/nowhere"), "{error}");
    let (code, error) = said(&["caption", "--extension", "png", "."]);
    assert!(code == Some(2) && error.contains("picture's ending"), "{error}");
    let (code, error) = said(&["caption", "--prefix", " ", &pictures.folder.path().to_string_lossy()]);
    assert!(code == Some(2) && error.contains("--prefix"), "{error}");
}

#[test]
fn a_caption_that_cannot_be_written_is_told_and_the_others_are_there() {
    let pictures = Pictures::new();
    // A folder stands where a.png's caption would.
    fs::create_dir(pictures.at("a.txt")).expect("the folder is ours");
    fs::create_dir(pictures.at("a.txt/keep")).expect("the folder is ours");
    let long = format!("{}.png", "n".repeat(250));
    pictures.put(&long, png([1, 2, 3]));
    let output = pictures.caption(&[]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("a.txt cannot be written") && said.contains("broken.jpg"),
        "{said}"
    );
    for name in [
        "b.txt",
        "inner/c.txt",
        "inner/more/d.txt",
        &long.replace(".png", ".txt"),
    ] {
        assert!(pictures.read(name).is_some(), "{name}: {said}");
    }
    // What is empty is no caption.
    pictures.put("b.txt", "");
    pictures.caption(&[]);
    assert!(pictures.read("b.txt").is_some_and(|text| !text.is_empty()));
}

#[test]
fn a_jpeg_has_the_caption_beside_a_file_of_a_phone_that_is_not_read() {
    let pictures = Pictures::new();
    pictures.put("a.HEIC", "none that is read");
    let said = stderr(&pictures.caption(&[]));
    assert!(pictures.read("a.txt").is_some(), "{said}");
    assert!(
        said.contains("a.HEIC: its caption would be in a.txt, as that of a.png"),
        "{said}"
    );
}

#[test]
fn what_else_is_said_of_a_picture_stays() {
    let pictures = Pictures::new();
    pictures.put(
        "metadata.jsonl",
        "\u{feff}{\"file_name\":\"a.png\",\"text\":\"mine\",\"texts\":[\"mine\"],\"label\":3}\n",
    );
    pictures.caption(&["--format", "metadata.jsonl", "--overwrite"]);
    let text = pictures.read("metadata.jsonl").expect("it is written");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("it is JSON"))
        .collect();
    let a = lines
        .iter()
        .find(|line| line["file_name"] == "a.png")
        .expect("it is there");
    assert_eq!((&a["label"], a.get("texts")), (&Value::from(3), None), "{a}");
    assert!(a["text"] != "mine" && lines.len() == 4, "{text}");
}

#[test]
fn nobody_has_to_read_what_is_told() {
    let pictures = Pictures::new();
    let mut program = glimpse();
    program
        .args(["caption", "--max-new-tokens", "6", "--model", pictures.model.path()])
        .arg(pictures.folder.path())
        .env("GLIMPSE_LOG", "info")
        .stderr(std::process::Stdio::piped());
    let mut running = program.spawn().expect("the program starts");
    drop(running.stderr.take());
    let ended = running.wait().expect("it ends");
    assert_eq!(ended.code(), Some(1), "broken.jpg has none");
    assert!(pictures.read("inner/more/d.txt").is_some());
}

#[test]
fn what_makes_no_line_is_refused() {
    let pictures = Pictures::new();
    for (wrong, said) in [
        (&["--prepend", "a\nb"][..], "--prepend"),
        (&["--n", "2", "--num-return-sequences", "3"], "Give one of them"),
    ] {
        let output = pictures.caption(wrong);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}
