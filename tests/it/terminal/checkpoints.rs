//! Checkpoints that cannot be used.

use super::{object, refused};
use crate::support::{PictureFile, TinyCheckpoint, ask, glimpse, stderr};

/// What is done to a checkpoint, and the words that must name it.
type Damage = (&'static str, fn(&TinyCheckpoint), &'static [&'static str]);

#[test]
fn a_damaged_checkpoint_is_named() {
    let picture = PictureFile::new();
    let damages: [Damage; 17] = [
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
            "pictures too large to be any",
            |c| c.write("config.json", r#"{"vision_config":{"image_size":1000000}}"#),
            &["config.json makes no sense", "vision_config.image_size is 1000000"],
        ),
        (
            "division by zero",
            |c| c.write("preprocessor_config.json", r#"{"image_std": [0, 0, 0]}"#),
            &["has to say values other than 0 there"],
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
fn a_checkpoint_from_before_the_picture_had_a_token_answers_the_same() {
    let checkpoint = TinyCheckpoint::new();
    let picture = PictureFile::new();
    let arguments = ["ask", "--json", "--max-new-tokens=9", "--model", checkpoint.path()];
    let answer = || {
        let output = glimpse()
            .args(arguments)
            .args([picture.path(), "what?"])
            .env("GLIMPSE_LOG", "info")
            .output()
            .expect("the program starts");
        (object(&output), stderr(&output))
    };
    let (new, quiet) = answer();
    let read = |file: &str| std::fs::read_to_string(checkpoint.folder.path().join(file)).expect("it is there");
    checkpoint.write(
        "config.json",
        &read("config.json").replace("\"image_token_index\":2,", ""),
    );
    checkpoint.write("tokenizer.json", &read("tokenizer.json").replace("<image>", "<spare>"));
    let (old, log) = answer();
    for field in ["answer", "token_ids", "logprobs"] {
        assert_eq!(old[field], new[field], "{field}");
    }
    let ids = |record: &serde_json::Value| record["prompt_ids"].as_array().expect("it is a list").clone();
    let (old, new) = (ids(&old), ids(&new));
    assert_eq!((old.len(), &old[2..]), (new.len(), &new[2..]));
    assert!(
        log.contains("before transformers 4.46") && !quiet.contains("4.46"),
        "{log}"
    );
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

/// Opening a pipe waits for somebody who writes into it, and nobody does.
#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_a_file_is_refused() {
    let picture = PictureFile::new();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let checkpoint = TinyCheckpoint::new();
        checkpoint.remove(file);
        let made = std::process::Command::new("mkfifo")
            .arg(checkpoint.folder.path().join(file))
            .status();
        assert!(made.is_ok_and(|status| status.success()), "{file}");
        let output = ask(["--model", checkpoint.path(), picture.path()]);
        refused(&output, &[file, "no ordinary file"]);
    }
}

#[test]
fn a_file_in_place_of_its_folder_is_refused_with_the_folder() {
    let checkpoint = TinyCheckpoint::new();
    let picture = PictureFile::new();
    let weights = format!("{}/model.safetensors", checkpoint.path());
    let folder = format!("Name the folder that it lies in, {}.", checkpoint.path());
    refused(&ask(["--model", &weights, picture.path()]), &["is a file", &folder]);
    let gguf = picture.beside("model.gguf", "GGUF");
    refused(&ask(["--model", &gguf, picture.path()]), &["is a GGUF file"]);
}

#[test]
fn tensors_that_the_config_does_not_ask_for_are_named() {
    let checkpoint = TinyCheckpoint::new();
    let picture = PictureFile::new();
    let said = |further: &[&str]| {
        checkpoint.save(|tensors| {
            for name in further {
                let copy = tensors["query_tokens"].clone();
                tensors.insert((*name).into(), copy);
            }
        });
        let output = glimpse()
            .args([
                "ask",
                "--model",
                checkpoint.path(),
                "--max-new-tokens=1",
                picture.path(),
            ])
            .env("GLIMPSE_LOG", "warn")
            .output()
            .expect("the program starts");
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let layer = "language_model.model.decoder.layers.1";
    let (one, other) = (format!("{layer}.fc1.bias"), format!("{layer}.fc2.bias"));
    let log = said(&[&one, &other]);
    assert!(log.contains("2 tensors") && log.contains(&one), "{log}");
    let log = said(&["qformer.embeddings.position_ids"]);
    assert!(!log.contains("tensors"), "{log}");
}
