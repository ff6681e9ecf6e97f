//! What the terminal promises: answers, and one sentence for everything that goes wrong.
#![cfg(feature = "ssr")]

mod support;

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;
use support::{PictureFile, TinyCheckpoint, ask, glimpse, png, stderr};

/// One sentence or two on standard error, with these words, and exit status 1.
fn refused(output: &std::process::Output, words: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(output.stdout.is_empty(), "nothing but answers goes to standard output");
    assert_eq!(message.lines().count(), 1, "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

#[test]
fn json_has_what_scripts_need() {
    let model = TinyCheckpoint::new();
    let picture = PictureFile::new();
    let output = ask([
        "--model",
        model.path(),
        "--json",
        "--max-new-tokens",
        "7",
        picture.path(),
        "hi",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let record: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(record["token_ids"].as_array().map(Vec::len), Some(7));
    assert_eq!(record["logprobs"].as_array().map(Vec::len), Some(7));
    assert!(record["logprobs"][0].as_f64().is_some_and(|logprob| logprob < 0.0));
    assert_eq!(record["finish_reason"], "length");
    // Two picture tokens, the begin-of-text token, and a token a letter.
    let prompt = "Question: hi Answer:";
    let prompt_ids = record["prompt_ids"].as_array().expect("it is a list");
    assert_eq!(prompt_ids.len(), 2 + 1 + prompt.len());
    assert_eq!(prompt_ids[..3], [2, 2, 0]);
    for part in ["load", "image", "prefill", "decode", "total"] {
        assert!(record["timings_ms"][part].is_number(), "{part}");
    }
}

#[test]
fn raw_sends_the_text_as_it_is_and_no_text_asks_for_a_caption() {
    let model = TinyCheckpoint::new();
    let picture = PictureFile::new();
    let prompt_length = |output: std::process::Output| {
        let record: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        record["prompt_ids"].as_array().map(Vec::len)
    };
    let base = ["--model", model.path(), "--json", "--max-new-tokens", "1"];
    assert_eq!(
        prompt_length(
            glimpse()
                .arg("ask")
                .args(base)
                .args(["--raw", picture.path(), "hi"])
                .output()
                .unwrap()
        ),
        Some(5)
    );
    assert_eq!(
        prompt_length(glimpse().arg("ask").args(base).arg(picture.path()).output().unwrap()),
        Some(3)
    );
}

#[test]
fn a_picture_may_come_through_standard_input() {
    let model = TinyCheckpoint::new();
    let mut child = glimpse()
        .args(["ask", "--model", model.path(), "--max-new-tokens", "3", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child
        .stdin
        .take()
        .expect("it is piped")
        .write_all(&png([0, 0, 200]))
        .expect("it reads");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_batch_answers_in_order_and_a_bad_line_in_its_place() {
    let model = TinyCheckpoint::new();
    let picture = PictureFile::new();
    let line = |question: &str| serde_json::json!({"picture": picture.path(), "question": question}).to_string();
    let missing = serde_json::json!({"picture": "nowhere.png"}).to_string();
    let file = picture.beside(
        "questions.jsonl",
        [line("a"), "{oops".into(), missing, line("abc")].join("\n"),
    );
    let output = ask(["--model", model.path(), "--max-new-tokens", "2", "--batch", &file]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    assert_eq!(lines.len(), 4);
    let prompt = |index: usize| lines[index]["prompt_ids"].as_array().map(Vec::len);
    assert_eq!(prompt(3).zip(prompt(0)).map(|(long, short)| long - short), Some(2));
    assert!(
        lines[1]["error"]
            .as_str()
            .is_some_and(|error| error.starts_with("line 2"))
    );
    assert!(
        lines[2]["error"]
            .as_str()
            .is_some_and(|error| error.contains("nowhere.png"))
    );
}

#[test]
fn bad_pictures_get_a_sentence() {
    let folder = PictureFile::new();
    let refuse = |name: &str, bytes: &[u8], words: &[&str]| {
        refused(&ask([&folder.beside(name, bytes), "what?"]), words);
    };
    refuse("notes.txt", b"no picture at all", &["notes.txt", "not a picture"]);
    refuse("empty.png", b"", &["empty.png", "empty"]);
    let whole = png([1, 2, 3]);
    refuse("half.png", &whole[..whole.len() / 2], &["half.png"]);
    refuse(
        "bomb.png",
        &declared_size(&whole, 40_000, 40_000),
        &["40000 x 40000", "1600000000"],
    );
    refuse(
        "thin.png",
        &declared_size(&whole, 90_000_000, 1),
        &["90000000 x 1", "65535"],
    );
    refuse("huge.bmp", &vec![b'B'; 100 << 20], &["bytes", "accepted"]);
    refused(&ask(["nowhere.png", "what?"]), &["nowhere.png"]);
    refused(
        &ask(["https://pictures.invalid/cat.jpg"]),
        &["https://pictures.invalid/cat.jpg"],
    );
}

/// A PNG that says it is of another size, with its checksum put right.
fn declared_size(png: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png.to_vec();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = bytes[12..29].iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1)))
    });
    bytes[29..33].copy_from_slice(&(!checksum).to_be_bytes());
    bytes
}

#[test]
fn bad_questions_get_a_sentence() {
    let model = TinyCheckpoint::new();
    let picture = PictureFile::new();
    let empty = ask(["--model", model.path(), picture.path(), "  "]);
    assert_eq!(empty.status.code(), Some(2));
    assert!(stderr(&empty).contains("question is empty"));
    let long = "x".repeat(100_000);
    refused(
        &ask(["--model", model.path(), picture.path(), &long]),
        &["tokens", "8191"],
    );
}

#[test]
fn wrong_usage_is_exit_status_2() {
    for arguments in [
        &["ask"][..],
        &["ask", "a.png", "--device", "toaster"],
        &["ask", "a.png", "--max-new-tokens", "0"],
    ] {
        let output = glimpse().args(arguments).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
    }
}

/// What `glimpse ask --json` prints with these further flags.
fn record(model: &TinyCheckpoint, flags: &[&str]) -> Value {
    let picture = PictureFile::new();
    let output = glimpse()
        .args(["ask", "--json", "--max-new-tokens", "40", "--model", model.path()])
        .args(flags)
        .args([picture.path(), "hi"])
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{flags:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

#[test]
fn beams_have_a_score_and_several_answers_stand_in_a_list() {
    let model = TinyCheckpoint::new();
    let greedy = record(&model, &[]);
    assert!(greedy.get("sequence_score").is_none() && greedy.get("answers").is_none() && greedy.get("seed").is_none());
    let beams = record(
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
        record(
            &model,
            &["--do-sample", "--top-k", "0", "--temperature", "2", "--seed", seed],
        )
    };
    assert_eq!(drawn("5")["token_ids"], drawn("5")["token_ids"]);
    assert_ne!(drawn("5")["token_ids"], drawn("6")["token_ids"]);
    let unseeded = record(&model, &["--do-sample"]);
    let seed = unseeded["seed"].to_string();
    let again = record(&model, &["--do-sample", "--seed", &seed]);
    assert_eq!(again["token_ids"], unseeded["token_ids"], "the seed that was told");
}

#[test]
fn a_stop_string_ends_the_answer_behind_it() {
    let model = TinyCheckpoint::new();
    // Drawn from all bytes, so that there are letters among them; one token a byte, behind three special ones.
    let drawn = ["--do-sample", "--top-k", "0", "--temperature", "3", "--seed", "1"];
    let whole = record(&model, &drawn);
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
    let stopped = record(
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
fn several_answers_stand_each_on_a_line() {
    let model = TinyCheckpoint::new();
    let picture = PictureFile::new();
    let output = ask([
        "--model",
        model.path(),
        "--num-beams",
        "3",
        "--num-return-sequences",
        "3",
        "--max-new-tokens",
        "1",
        picture.path(),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 3);
}

#[test]
fn settings_that_do_not_fit_are_wrong_usage_in_a_sentence() {
    let wrong: [(&[&str], &[&str]); 18] = [
        (&["--num-beams", "11"], &["--num-beams is 11", "1 to 10"]),
        (&["--do-sample", "--temperature", "-1"], &["--temperature is -1"]),
        (&["--num-beams", "0"], &["1 to 10"]),
        (
            &["--do-sample", "--temperature", "0"],
            &["--temperature", "0.01 to 100"],
        ),
        (&["--do-sample", "--top-p", "1.2"], &["--top-p", "0 to 1"]),
        (&["--repetition-penalty", "0"], &["--repetition-penalty", "0.01 to 100"]),
        (
            &["--num-beams", "2", "--length-penalty", "-11"],
            &["--length-penalty", "-10 to 10"],
        ),
        (&["--num-return-sequences", "11", "--do-sample"], &["1 to 10"]),
        (&["--temperature", "0.7"], &["--temperature", "--do-sample"]),
        (&["--top-k", "3"], &["--top-k", "--do-sample"]),
        (&["--top-p", "0.5"], &["--top-p", "--do-sample"]),
        (&["--seed", "1"], &["--seed", "--do-sample"]),
        (&["--length-penalty", "2"], &["--length-penalty", "--num-beams"]),
        (&["--early-stopping", "never"], &["--early-stopping", "--num-beams"]),
        (
            &["--num-return-sequences", "2"],
            &["--num-return-sequences 2", "greedy"],
        ),
        (&["--num-beams", "2", "--num-return-sequences", "3"], &["--num-beams 2"]),
        (
            &["--min-new-tokens", "60"],
            &["--min-new-tokens 60", "--max-new-tokens 50"],
        ),
        (&["--stop-strings", ""], &["--stop-strings"]),
    ];
    for (flags, words) in wrong {
        let output = glimpse()
            .args(["ask", "nowhere.png"])
            .args(flags)
            .output()
            .expect("the program starts");
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {message}");
        for word in words {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
    }
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
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", stderr(&output));
    let record: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert!(record["sequence_score"].is_number());
    assert_eq!(record["seed"], 4);
}

#[test]
fn a_literal_picture_token_is_text() {
    let model = TinyCheckpoint::new();
    let picture = PictureFile::new();
    let output = ask([
        "--model",
        model.path(),
        "--json",
        "--max-new-tokens",
        "1",
        "--raw",
        picture.path(),
        "<image>",
    ]);
    let record: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(
        record["prompt_ids"].as_array().map(Vec::len),
        Some(2 + 1 + "<image>".len())
    );
}

/// What is done to a checkpoint, and the words that must name it.
type Damage = (&'static str, fn(&TinyCheckpoint), &'static [&'static str]);

#[test]
fn a_damaged_checkpoint_is_named() {
    let picture = PictureFile::new();
    let damages: [Damage; 15] = [
        ("no config", |c| c.remove("config.json"), &["config.json"]),
        ("no tokenizer", |c| c.remove("tokenizer.json"), &["tokenizer.json"]),
        (
            "no preprocessor",
            |c| c.remove("preprocessor_config.json"),
            &["preprocessor_config.json"],
        ),
        ("no weights", |c| c.remove("model.safetensors"), &["model.safetensors"]),
        ("config is no JSON", |c| c.write("config.json", "{"), &["config.json"]),
        (
            "another family",
            |c| c.write("config.json", r#"{"model_type":"llava"}"#),
            &["llava", "blip-2"],
        ),
        (
            "tokenizer is no JSON",
            |c| c.write("tokenizer.json", "[]"),
            &["tokenizer.json"],
        ),
        (
            "weights cut off",
            |c| c.write("model.safetensors", "short"),
            &["model.safetensors", "damaged"],
        ),
        (
            "a tensor missing",
            |c| c.save(|t| drop(t.remove("qformer.layernorm.bias"))),
            &["qformer.layernorm.bias"],
        ),
        (
            "a wrong shape",
            |c| {
                c.save(|t| {
                    let wrong = t["language_projection.weight"].narrow(0, 0, 5).expect("it has rows");
                    t.insert("language_projection.weight".into(), wrong);
                });
            },
            &["language_projection.weight", "[5, 32]", "[32, 32]"],
        ),
        (
            "pictures of another size",
            |c| c.write("preprocessor_config.json", r#"{"size": {"height": 32, "width": 32}}"#),
            &["32 x 32", "16 x 16"],
        ),
        (
            "numbers that overflow",
            |c| c.write("config.json", r#"{"text_config":{"vocab_size":9999999999}}"#),
            &["vocab_size"],
        ),
        (
            "weights that are not numbers",
            |c| {
                c.save(|t| {
                    let nan = (&t["query_tokens"] * f64::NAN).expect("it has numbers");
                    t.insert("query_tokens".into(), nan);
                });
            },
            &["not finite"],
        ),
        (
            "index of a missing shard",
            |c| {
                c.remove("model.safetensors");
                c.write(
                    "model.safetensors.index.json",
                    r#"{"weight_map":{"query_tokens":"model-00001.safetensors"}}"#,
                );
            },
            &["model-00001.safetensors"],
        ),
        (
            "index is no index",
            |c| {
                c.remove("model.safetensors");
                c.write("model.safetensors.index.json", r#"{"weights":[]}"#);
            },
            &["model.safetensors.index.json", "damaged"],
        ),
    ];
    for (damage, apply, words) in damages {
        let checkpoint = TinyCheckpoint::new();
        apply(&checkpoint);
        let output = ask(["--model", checkpoint.path(), picture.path()]);
        eprintln!("{damage}: {}", stderr(&output).trim());
        refused(&output, words);
    }
}

#[test]
fn an_index_that_points_to_the_wrong_shard_is_named() {
    let checkpoint = TinyCheckpoint::new();
    std::fs::rename(
        checkpoint.folder.path().join("model.safetensors"),
        checkpoint.folder.path().join("model-1.safetensors"),
    )
    .expect("the folder is ours");
    checkpoint.write(
        "model.safetensors.index.json",
        r#"{"weight_map":{"no.such.tensor":"model-1.safetensors"}}"#,
    );
    refused(&ask(["--model", checkpoint.path(), "-"]), &["empty"]);
    let picture = PictureFile::new();
    let output = ask(["--model", checkpoint.path(), picture.path()]);
    refused(&output, &["no.such.tensor", "model-1.safetensors", "index"]);
}
