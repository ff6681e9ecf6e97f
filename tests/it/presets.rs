//! Presets: `glimpse ask --preset` against what the reference's `generate` gives with the arguments that
//! each stands for (`tests/golden/presets.json`, made by `make golden`). What must hold in f32: the same ids.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::page::{ask, begin, call};
use crate::support::{PictureFile, Server, TinyCheckpoint, glimpse, png, stderr};

type AnyResult<T> = Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Expected {
    folder: String,
    picture: String,
    preset: String,
    question: Option<String>,
    prompt_ids: Vec<u32>,
    token_ids: Vec<u32>,
}

fn golden() -> PathBuf {
    std::env::var_os("GLIMPSE_GOLDEN").map_or_else(|| "tests/golden".into(), PathBuf::from)
}

#[test]
fn every_preset_gives_the_ids_of_the_original() -> AnyResult<()> {
    let all: Vec<Expected> = serde_json::from_slice(&std::fs::read(golden().join("presets.json"))?)?;
    let mut runs: BTreeMap<(&str, &str), Vec<&Expected>> = BTreeMap::new();
    for expected in &all {
        let run = (expected.folder.as_str(), expected.preset.as_str());
        runs.entry(run).or_default().push(expected);
    }
    for preset in ["transformers", "blip-demo", "blip2-paper", "space"] {
        let folders = runs.keys().filter(|(_, of)| *of == preset).count();
        assert!(folders >= 8, "{preset}: {folders}");
    }
    for ((name, preset), answers) in runs {
        let folder = golden().join(name);
        let lines: String = answers
            .iter()
            .map(|answer| {
                let picture = folder.join(&answer.picture);
                format!("{}\n", json!({"picture": picture, "question": answer.question}))
            })
            .collect();
        let mut process = glimpse()
            .args(["ask", "--batch", "-", "--dtype", "f32", "--preset", preset, "--model"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        process.stdin.take().ok_or("a pipe")?.write_all(lines.as_bytes())?;
        let output = process.wait_with_output()?;
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        let told = String::from_utf8(output.stdout)?;
        for (line, want) in told.lines().zip(answers) {
            let line: Value = serde_json::from_str(line)?;
            assert_eq!(
                line["token_ids"],
                json!(want.token_ids),
                "{name}, {preset}: {:?}",
                want.question
            );
            assert_eq!(line["prompt_ids"], json!(want.prompt_ids), "{name}, {preset}");
        }
    }
    Ok(())
}

#[test]
fn what_is_typed_wins_over_a_preset() -> AnyResult<()> {
    let (model, picture) = (TinyCheckpoint::new(), PictureFile::new());
    let asked = |more: &[&str]| -> AnyResult<Value> {
        let common = ["ask", "--json", "--model", model.path(), picture.path()];
        let output = glimpse().args(common).args(more).output()?;
        assert!(output.status.success(), "{}", stderr(&output));
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let count = |answer: &Value| answer["token_ids"].as_array().map(Vec::len);
    // The checkpoint says no end token: an answer is as long as it may be.
    let paper = asked(&["--preset", "blip2-paper"])?;
    assert_eq!((count(&paper), paper["sequence_score"].is_number()), (Some(30), true));
    assert_eq!(count(&asked(&["--preset", "blip2-paper", "hi"])?), Some(10));
    assert_eq!(count(&asked(&["--preset", "transformers", "hi"])?), Some(20));
    let typed = asked(&["--preset", "space", "--num-beams", "1", "--max-new-tokens", "4"])?;
    assert_eq!((count(&typed), typed.get("sequence_score")), (Some(4), None));
    assert_eq!(
        typed["token_ids"],
        asked(&["--max-new-tokens", "4", "--repetition-penalty", "1.5"])?["token_ids"]
    );
    Ok(())
}

#[test]
fn help_names_the_presets_and_what_each_sets() -> AnyResult<()> {
    let output = glimpse().args(["ask", "--help"]).output()?;
    let help = String::from_utf8(output.stdout)?;
    for words in [
        "blip-demo",
        "a picture of",
        "blip2-paper",
        "length penalty -1",
        "space:",
        "1.5",
    ] {
        assert!(help.contains(words), "{words:?} is not in: {help}");
    }
    let wrong = glimpse().args(["ask", "a.png", "--preset", "mine"]).output()?;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("blip-demo"));
    Ok(())
}

/// What `--preset` calls those that the page has.
const PAGE_PRESETS: [(&str, &str); 4] = [
    ("transformers", "transformers"),
    ("BLIP demo", "blip-demo"),
    ("BLIP-2 paper", "blip2-paper"),
    ("BLIP-2 Space", "space"),
];

#[test]
fn the_pages_presets_give_the_answers_of_the_terminal() {
    // One that captions, one that answers, BLIP-2 with OPT and with T5.
    let folders = [
        ("blip/00", 2),
        ("blip/08", 2),
        ("checkpoints/00", 5),
        ("checkpoints/24", 5),
    ];
    for (name, count) in folders {
        let folder = golden().join(name);
        let folder = folder.to_str().expect("it has a plain name");
        let server = Server::start(&["--model", folder, "--dtype", "f32"]);
        let (_, state) = call(&server, "state", &json!({"conversation": null}));
        let presets = state["model"]["presets"].as_array().cloned().unwrap_or_default();
        assert_eq!(presets.len(), count, "{name}: {presets:?}");
        let file = PictureFile::new();
        let picture = file.beside("p.png", png([10, 200, 30]));
        for preset in presets {
            // Nothing was asked before.
            let id = begin(&server);
            let title = preset["name"].as_str().unwrap_or_default();
            let known = PAGE_PRESETS.iter().find(|(page, _)| title.starts_with(page));
            let (_, flag) = known.unwrap_or_else(|| panic!("{name}: {title}"));
            let is_caption = name == "blip/00" || title.ends_with("captions");
            let question = (!is_caption).then_some("what is it?");
            let request = json!({"conversation": id, "question": question, "fields": preset["fields"]});
            let events: Vec<Value> = ask(&server, &json!({"request": request})).collect();
            let text: String = events.iter().filter_map(|event| event["text"].as_str()).collect();
            let mut arguments = vec![
                "ask", "--json", "--model", folder, "--dtype", "f32", "--preset", flag, &picture,
            ];
            arguments.extend(question);
            let output = glimpse().args(&arguments).output().expect("the program starts");
            let line: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
            assert_eq!(line["answer"], text.as_str(), "{name}: {title}");
            let last = events.last().expect("it ends");
            assert_eq!(last["finish_reason"], line["finish_reason"], "{name}: {title}");
            let count = line["token_ids"].as_array().map(Vec::len);
            assert_eq!(
                last["generated_tokens"].as_u64(),
                count.map(|count| count as u64),
                "{name}: {title}"
            );
        }
    }
}
