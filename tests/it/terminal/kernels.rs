//! What computes the model, which the environment may choose.

use super::object;
use crate::support::{PictureFile, glimpse, stderr};

#[test]
fn whatever_computes_the_demo_model_its_answer_is_the_same() {
    let picture = PictureFile::new();
    let answer = |variables: &[(&str, &str)]| {
        let output = glimpse()
            .args(["ask", "--json", picture.path(), "what is it?"])
            .envs(variables.iter().copied())
            .output()
            .expect("the program starts");
        object(&output)["token_ids"].clone()
    };
    let usual = answer(&[]);
    assert_eq!(answer(&[("GLIMPSE_ISA", "baseline")]), usual);
    assert_eq!(answer(&[("GLIMPSE_KERNELS", "candle")]), usual);
    assert_eq!(answer(&[("GLIMPSE_KERNELS", "OWN"), ("GLIMPSE_ISA", "")]), usual);
}

#[test]
fn what_there_is_not_is_refused_in_a_sentence_before_anything_is_done() {
    for (variable, value, words) in [
        ("GLIMPSE_ISA", "sse9", "no instruction set that Glimpse knows"),
        ("GLIMPSE_KERNELS", "fast", "own or candle"),
    ] {
        let output = glimpse()
            .args(["models"])
            .env(variable, value)
            .output()
            .expect("the program starts");
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(output.stdout.is_empty());
        assert_eq!(message.lines().count(), 1, "{message}");
        for word in [variable, value, words, "unset it"] {
            assert!(
                message.to_lowercase().contains(&word.to_lowercase()),
                "{word}: {message}"
            );
        }
    }
}

#[test]
fn a_log_that_is_not_understood_is_told() {
    let told = |asked| {
        let output = glimpse()
            .args(["models"])
            .env("GLIMPSE_LOG", asked)
            .output()
            .expect("the program starts");
        let message = stderr(&output);
        assert!(output.status.success(), "{message}");
        message
    };
    for asked in ["foo=bar=baz", "verbose", "warn,loud"] {
        let message = told(asked);
        assert!(message.contains("GLIMPSE_LOG is not read"), "{asked}: {message}");
        assert!(
            message.contains("error, warn, info, debug or trace"),
            "{asked}: {message}"
        );
    }
    for asked in ["", "error", "glimpse=error"] {
        assert_eq!(told(asked), "", "{asked}");
    }
}

#[test]
fn the_help_names_what_the_environment_alone_says() {
    let output = glimpse().arg("--help").output().expect("the program starts");
    let help = String::from_utf8_lossy(&output.stdout);
    for variable in ["GLIMPSE_LOG", "GLIMPSE_ISA", "GLIMPSE_KERNELS", "HF_TOKEN"] {
        assert!(help.contains(variable), "{variable}: {help}");
    }
}
