//! The ways of decoding, as flags and as environment variables.

use serde_json::Value;

use super::{object, record};
use crate::support::{PictureFile, TinyCheckpoint, glimpse};

/// As [`record`], of forty tokens, with these flags.
fn generated(model: &TinyCheckpoint, flags: &[&str]) -> Value {
    record(model, &[flags, &["--max-new-tokens", "40", "hi"]].concat())
}

#[test]
fn beams_have_a_score_and_several_answers_stand_in_a_list() {
    let model = TinyCheckpoint::new();
    let greedy = generated(&model, &[]);
    assert!(greedy.get("sequence_score").is_none() && greedy.get("answers").is_none() && greedy.get("seed").is_none());
    let beams = generated(
        &model,
        &[
            "--num-beams",
            "4",
            "--num-return-sequences",
            "3",
            "--length-penalty",
            "-0.5",
        ],
    );
    let answers = beams["answers"].as_array().expect("there are several");
    let scores: Vec<f64> = answers
        .iter()
        .filter_map(|answer| answer["sequence_score"].as_f64())
        .collect();
    assert_eq!(scores.len(), 3);
    assert!(scores[0] >= scores[1] && scores[1] >= scores[2], "{scores:?}");
    for field in ["answer", "token_ids", "logprobs", "finish_reason", "sequence_score"] {
        assert_eq!(
            beams[field], answers[0][field],
            "the first answer's fields stand outside as well"
        );
    }
    assert_ne!(answers[0]["token_ids"], answers[1]["token_ids"]);
}

#[test]
fn a_seed_repeats_what_was_drawn() {
    let model = TinyCheckpoint::new();
    let drawn = |seed| {
        generated(
            &model,
            &["--do-sample", "--top-k", "0", "--temperature", "2", "--seed", seed],
        )
    };
    assert_eq!(drawn("5")["token_ids"], drawn("5")["token_ids"]);
    assert_ne!(drawn("5")["token_ids"], drawn("6")["token_ids"]);
    let unseeded = generated(&model, &["--do-sample"]);
    let seed = unseeded["seed"].to_string();
    let again = generated(&model, &["--do-sample", "--seed", &seed]);
    assert_eq!(again["token_ids"], unseeded["token_ids"], "the seed that was told");
}

#[test]
fn a_stop_string_ends_the_answer_behind_it() {
    let model = TinyCheckpoint::new();
    // Drawn from all bytes, so that there are letters among them; one token a byte, behind three special ones.
    let drawn = ["--do-sample", "--top-k", "0", "--temperature", "3", "--seed", "1"];
    let whole = generated(&model, &drawn);
    let ids: Vec<u64> = whole["token_ids"]
        .as_array()
        .expect("it is a list")
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    let is_letter = |id: u64| (u64::from(b'!')..u64::from(b'~')).contains(&(id - 3));
    let is_new = |place: &usize| *place > 0 && is_letter(ids[*place]) && !ids[..*place].contains(&ids[*place]);
    let place = (0..ids.len()).find(is_new).expect("forty tokens have a letter");
    let letter = char::from((ids[place] - 3) as u8).to_string();
    let stopped = generated(
        &model,
        &[&drawn[..], &["--stop-strings", "never said", "--stop-strings", &letter]].concat(),
    );
    assert_eq!(stopped["token_ids"], serde_json::json!(ids[..=place]));
    assert_eq!(stopped["finish_reason"], "stop");
    assert!(
        stopped["answer"]
            .as_str()
            .is_some_and(|answer| answer.ends_with(&letter))
    );
    assert_eq!(whole["finish_reason"], "length");
}

#[test]
fn every_setting_has_an_environment_variable() {
    let model = TinyCheckpoint::new();
    let picture = PictureFile::new();
    let output = glimpse()
        .env("GLIMPSE_NUM_BEAMS", "3")
        .env("GLIMPSE_EARLY_STOPPING", "never")
        .env("GLIMPSE_DO_SAMPLE", "1")
        .env("GLIMPSE_SEED", "4")
        .args(["ask", "--json", "--model", model.path(), picture.path()])
        .output();
    let record = object(&output.expect("the program starts"));
    assert!(record["sequence_score"].is_number());
    assert_eq!(record["seed"], 4);
}
