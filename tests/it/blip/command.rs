//! `glimpse ask` and `glimpse match` with BLIP.

use std::path::Path;

use glimpse::blip::config::Task;
use serde_json::Value;

use super::{AnyResult, Expected, folders};
use crate::support::{ask, glimpse, stderr};

fn path(folder: &Path, file: &str) -> String {
    folder.join(file).to_string_lossy().into_owned()
}

fn expected(folder: &Path) -> AnyResult<Expected> {
    Ok(serde_json::from_slice(&std::fs::read(folder.join("expected.json"))?)?)
}

/// Arguments after those that every question has.
fn asked(folder: &Path, picture: &str, more: &[&str]) -> std::process::Output {
    let model = folder.to_string_lossy();
    let common = [
        "ask",
        "--json",
        "--dtype",
        "f32",
        "--max-new-tokens",
        "12",
        "--model",
        &model,
    ];
    let output = glimpse().args(common).args(more).arg(path(folder, picture)).output();
    output.expect("the program starts")
}

#[test]
fn the_program_captions_from_nothing_and_from_a_beginning() -> AnyResult<()> {
    for folder in &folders(Task::Caption)?[..3] {
        let expected = expected(folder)?;
        let plain = expected
            .answers
            .iter()
            .filter(|answer| answer.options.num_beams.is_none());
        let mut checked = 0;
        for want in plain.filter(|answer| answer.options.min_new_tokens.is_none()).take(7) {
            if want.options.repetition_penalty.is_some() || !want.options.stop_strings.is_empty() {
                continue;
            }
            if want.options.no_repeat_ngram_size.is_some() {
                continue;
            }
            let picture = &expected.pictures[want.picture].file;
            let prefix = want.text.as_deref().map(|text| ["--prefix", text]);
            let output = asked(folder, picture, prefix.as_ref().map_or(&[][..], |prefix| prefix));
            assert!(output.status.success(), "{}", stderr(&output));
            let told: Value = serde_json::from_slice(&output.stdout)?;
            let sequence = &want.sequences[0];
            assert_eq!(told["prompt_ids"], serde_json::json!(want.prompt_ids));
            assert_eq!(told["token_ids"], serde_json::json!(sequence.token_ids));
            assert_eq!(told["answer"], sequence.text.trim());
            checked += 1;
        }
        assert!(checked >= 2, "{checked}");
    }
    Ok(())
}

#[test]
fn what_a_model_is_not_for_is_refused_with_what_it_is_for() -> AnyResult<()> {
    let (captions, questions, matching) = (
        &folders(Task::Caption)?[0],
        &folders(Task::Question)?[0],
        &folders(Task::Match)?[0],
    );
    let said = |folder: &Path, more: &[&str]| {
        let model = folder.to_string_lossy();
        let picture = path(folder, "picture-1.png");
        let output = glimpse().args(["ask", "--model", &model, &picture]).args(more).output();
        let output = output.expect("the program starts");
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(output.stdout.is_empty());
        stderr(&output)
    };
    let error = said(captions, &["what is it?"]);
    assert!(
        error.contains("writes captions") && error.contains("--prefix"),
        "{error}"
    );
    for no_question in [&[][..], &["--prefix", "a photo of"]] {
        let error = said(questions, no_question);
        assert!(
            error.contains("answers questions") && error.contains("Ask a question"),
            "{error}"
        );
    }
    let error = said(matching, &["what is it?"]);
    assert!(error.contains("glimpse match"), "{error}");
    let model = captions.to_string_lossy();
    let picture = path(captions, "picture-1.png");
    let output = glimpse()
        .args(["match", &picture, "--text", "a dog", "--model", &model])
        .output();
    let error = stderr(&output.expect("the program starts"));
    assert!(
        error.contains("writes captions") && error.contains("blip-itm"),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_question_is_sent_as_it_is_and_its_answer_begins_anew() -> AnyResult<()> {
    let folder = &folders(Task::Question)?[0];
    let expected = expected(folder)?;
    let want = expected.answers.first().ok_or("an answer")?;
    let question = want.text.as_deref().ok_or("a question")?;
    let picture = path(folder, &expected.pictures[want.picture].file);
    let model = folder.to_string_lossy();
    for raw in [&["--raw"][..], &[]] {
        let common = ["ask", "--json", "--dtype=f32", "--max-new-tokens=12", "--model", &model];
        let output = glimpse().args(common).args(raw).args([&picture, question]).output()?;
        let told: Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!(told["prompt_ids"], serde_json::json!(want.prompt_ids));
        assert_eq!(want.prompt_ids.len(), 1);
        assert_eq!(told["token_ids"], serde_json::json!(want.sequences[0].token_ids));
    }
    Ok(())
}

#[test]
fn every_picture_is_compared_with_every_text() -> AnyResult<()> {
    for folder in &folders(Task::Match)?[..3] {
        let expected = expected(folder)?;
        let model = folder.to_string_lossy();
        let pictures: Vec<String> = expected
            .pictures
            .iter()
            .map(|picture| path(folder, &picture.file))
            .collect();
        let mut texts: Vec<&str> = expected.scores.iter().map(|score| score.text.as_str()).collect();
        texts.truncate(texts.len() / pictures.len());
        let mut command = glimpse();
        command
            .args(["match", "--dtype", "f32", "--model", &model])
            .args(&pictures);
        for text in &texts {
            command.args(["--text", text]);
        }
        let table = command.output()?;
        let output = command.arg("--json").output()?;
        assert!(output.status.success(), "{}", stderr(&output));
        let lines: Vec<Value> = String::from_utf8(output.stdout)?
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        assert_eq!(lines.len(), pictures.len());
        for want in &expected.scores {
            let line = &lines[want.picture];
            assert_eq!(line["picture"], pictures[want.picture]);
            let scores = line["scores"].as_array().ok_or("scores")?;
            assert_eq!(scores.len(), texts.len());
            let score = scores
                .iter()
                .find(|score| score["text"] == want.text)
                .ok_or("a score")?;
            for (name, want) in [("match", want.matching), ("cosine", want.cosine)] {
                let got = score[name].as_f64().ok_or("a number")? as f32;
                assert!((got - want).abs() <= 1e-4, "{name}: {got} instead of {want}");
            }
        }
        let table = String::from_utf8(table.stdout)?;
        assert_eq!(table.lines().count(), 1 + expected.scores.len(), "{table}");
        let last = expected.scores.last().ok_or("a score")?;
        let line = table.lines().last().ok_or("a line")?;
        let told = line.split_whitespace().find_map(|word| word.parse::<f32>().ok());
        let told = told.ok_or("a probability")?;
        assert!(
            (told - last.matching).abs() <= 2e-4 && line.contains(&last.text),
            "{line}"
        );
    }
    Ok(())
}

#[test]
fn a_picture_that_cannot_be_read_leaves_its_place_and_the_rest_is_compared() -> AnyResult<()> {
    let folder = &folders(Task::Match)?[0];
    let (model, picture) = (folder.to_string_lossy(), path(folder, "picture-1.png"));
    let output = glimpse()
        .args([
            "match", "--json", "--model", &model, "none.png", &picture, "--text", "blue",
        ])
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> = String::from_utf8(output.stdout.clone())?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    assert!(lines[0]["error"].is_string() && lines[1]["scores"][0]["match"].is_number());
    assert!(stderr(&output).contains("1 of 2 pictures"), "{}", stderr(&output));
    let none = glimpse().args(["match", &picture, "--model", &model]).output()?;
    assert_eq!(none.status.code(), Some(2));
    let empty = glimpse()
        .args(["match", &picture, "--text", " ", "--model", &model])
        .output()?;
    assert_eq!(empty.status.code(), Some(2), "{}", stderr(&empty));
    let demo = ask([&picture, "--raw", "--max-new-tokens=1", "a"]);
    assert!(demo.status.success(), "{}", stderr(&demo));
    Ok(())
}
