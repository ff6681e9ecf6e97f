//! Answers: as text, as JSON, to every kind of prompt.

use std::io::Write;
use std::process::Stdio;

use super::{count, record};
use crate::support::{PictureFile, TinyCheckpoint, ask, glimpse, png, stderr};

#[test]
fn json_has_what_scripts_need() {
    let record = record(&TinyCheckpoint::new(), &["--max-new-tokens", "7", "hi"]);
    assert_eq!((count(&record, "token_ids"), count(&record, "logprobs")), (7, 7));
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
    let prompt = |arguments: &[&str]| count(&record(&model, arguments), "prompt_ids");
    assert_eq!(prompt(&["--raw", "hi"]), 2 + 1 + "hi".len());
    assert_eq!(prompt(&[]), 2 + 1);
}

#[test]
fn a_literal_picture_token_is_text() {
    let record = record(&TinyCheckpoint::new(), &["--raw", "<image>"]);
    assert_eq!(count(&record, "prompt_ids"), 2 + 1 + "<image>".len());
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

/// The program, started by a shell with its standard output as this says.
#[cfg(target_os = "linux")]
fn with_output(to: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new("sh")
        .args(["-c", &format!("exec \"$0\" \"$@\" {to}")])
        .arg(glimpse().get_program())
        .args(arguments)
        .env("GLIMPSE_LOG", "error")
        .output()
        .expect("there is a shell");
    (output.status.code(), stderr(&output))
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_lost_on_its_way_to_standard_output_is_told() {
    let model = TinyCheckpoint::new();
    let picture = PictureFile::new();
    let asking = ["ask", "--max-new-tokens", "1", "--model", model.path(), picture.path()];
    for arguments in [
        &asking[..],
        &["models"],
        &["--help"],
        &["ask", "--help"],
        &["--version"],
    ] {
        for to in [">/dev/full", ">&-"] {
            if to == ">&-" && !cfg!(target_env = "gnu") {
                continue;
            }
            let (status, said) = with_output(to, arguments);
            assert_eq!(
                (status, said.lines().count()),
                (Some(1), 1),
                "{arguments:?} {to}: {said}"
            );
        }
        let (status, said) = with_output(">/dev/null", arguments);
        assert_eq!(status, Some(0), "{arguments:?}: {said}");
    }
}
