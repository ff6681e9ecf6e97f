//! Wrong usage names what was set: the flag, or the environment variable.

use crate::support::{glimpse, stderr};

/// Exit status and message of `glimpse ask` with these variables and flags.
fn refused(variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = glimpse()
        .args(["ask", "nowhere.png"])
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .expect("the program starts");
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    message
}

#[test]
fn a_variable_that_is_wrong_is_named_and_not_its_flag() {
    let message = refused(&[("GLIMPSE_NUM_BEAMS", "11")], &[]);
    assert!(
        message.contains("'11' for 'GLIMPSE_NUM_BEAMS'") && !message.contains("--num-beams"),
        "{message}"
    );
    let message = refused(&[("GLIMPSE_TEMPERATURE", "0.5")], &[]);
    assert!(message.contains("GLIMPSE_TEMPERATURE is for drawing"), "{message}");
    assert!(message.contains("Add --do-sample"), "{message}");
    // A flag goes before its variable.
    let message = refused(&[("GLIMPSE_NUM_BEAMS", "2")], &["--num-beams", "11"]);
    assert!(message.contains("'11' for '--num-beams"), "{message}");
}

#[test]
fn a_variable_that_cannot_be_read_is_named_and_not_its_flag() {
    for (variable, flag) in [
        ("GLIMPSE_NUM_BEAMS", "--num-beams"),
        ("GLIMPSE_MAX_NEW_TOKENS", "--max-new-tokens"),
        ("GLIMPSE_DTYPE", "--dtype"),
        ("GLIMPSE_EARLY_STOPPING", "--early-stopping"),
    ] {
        let message = refused(&[(variable, "plenty")], &[]);
        assert!(message.contains(variable) && !message.contains(flag), "{message}");
        let message = refused(&[(variable, "1")], &[flag, "plenty"]);
        assert!(message.contains(flag) && !message.contains(variable), "{message}");
        let message = refused(&[], &[&format!("{flag}=plenty")]);
        assert!(message.contains(flag), "{message}");
    }
}

#[test]
fn a_variable_that_contradicts_what_was_typed_is_named() {
    let message = refused(&[("GLIMPSE_PREFIX", "a photo of")], &["What is it?"]);
    assert!(message.contains("'GLIMPSE_PREFIX'"), "{message}");
    let message = refused(&[("GLIMPSE_BATCH", "questions.jsonl")], &[]);
    assert!(message.contains("'GLIMPSE_BATCH'"), "{message}");
    let message = refused(&[("GLIMPSE_STOP_STRINGS", "cat")], &["--stop", ""]);
    assert!(message.contains("--stop"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_path_that_is_no_text_is_no_hindrance() {
    use std::os::unix::ffi::OsStrExt;
    let output = glimpse()
        .arg("ask")
        .arg(std::ffi::OsStr::from_bytes(b"caf\xe9.png"))
        .env("GLIMPSE_NUM_BEAMS", "plenty")
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("GLIMPSE_NUM_BEAMS"), "{}", stderr(&output));
}

#[test]
fn raw_without_a_question_is_wrong_usage() {
    let message = refused(&[], &["--raw"]);
    assert!(message.contains("--raw") && message.contains("Add one"), "{message}");
}
