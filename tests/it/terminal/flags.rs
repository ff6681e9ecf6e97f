//! Flags that are wrong by themselves or beside each other: exit status 2, and what may be.

use crate::support::{glimpse, stderr};

/// What is said of this usage, which is wrong.
fn wrong(arguments: &[&str]) -> String {
    let output = glimpse().args(arguments).output().expect("the program starts");
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    message
}

#[test]
fn wrong_usage_is_exit_status_2() {
    for arguments in [
        &["ask"][..],
        &["ask", "a.png", "--device", "toaster"],
        &["ask", "a.png", "--dtype", "f8"],
        &["ask", "a.png", "--model", ""],
        &["ask", "a.png", "--max-memory", "much"],
        &["fetch", ""],
        &["fetch"],
        &["serve", "--addr", "here"],
    ] {
        wrong(arguments);
    }
}

/// Flags with what else they need, values that they refuse, and the range that is told.
type Range = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
);

const NO_NUMBER: [&str; 4] = ["", "many", "1e999999", "99999999999999999999999999"];

#[test]
fn a_value_of_a_decoding_flag_that_is_out_of_range_is_refused_with_the_range() {
    let sampled = &["--do-sample"][..];
    let beams = &["--num-beams", "2"][..];
    let ranges: [Range; 11] = [
        (
            "--max-new-tokens",
            &[],
            &["0", "4097", "-1", "1.5"],
            "whole number from 1 to 4096",
        ),
        (
            "--min-new-tokens",
            &[],
            &["4097", "-1", "1.5"],
            "whole number from 0 to 4096",
        ),
        (
            "--num-beams",
            &[],
            &["0", "11", "-1", "2.5"],
            "whole number from 1 to 10",
        ),
        (
            "--num-return-sequences",
            sampled,
            &["0", "11", "-1"],
            "whole number from 1 to 10",
        ),
        (
            "--temperature",
            sampled,
            &["0", "-1", "0.009", "101", "NaN", "inf"],
            "number from 0.01 to 100",
        ),
        (
            "--top-k",
            sampled,
            &["-1", "0.5", "1000001"],
            "whole number from 0 to 1000000",
        ),
        ("--top-p", sampled, &["1.5", "-0.1", "NaN", "inf"], "number from 0 to 1"),
        (
            "--seed",
            sampled,
            &["-1", "0.5"],
            "whole number from 0 to 18446744073709551615",
        ),
        (
            "--length-penalty",
            beams,
            &["-11", "10.5", "NaN", "inf"],
            "number from -10 to 10",
        ),
        (
            "--repetition-penalty",
            &[],
            &["0", "-1", "101", "NaN"],
            "number from 0.01 to 100",
        ),
        (
            "--no-repeat-ngram-size",
            &[],
            &["-1", "2.5", "4097"],
            "whole number from 0 to 4096",
        ),
    ];
    for (flag, others, values, range) in ranges {
        for value in values.iter().chain(&NO_NUMBER) {
            let message = wrong(&[&["ask", "nowhere.png", flag, value], others].concat());
            for word in [flag, range] {
                assert!(
                    message.contains(word),
                    "{flag} {value:?}: {word:?} is not in: {message}"
                );
            }
        }
    }
}

#[test]
fn the_last_values_of_a_range_are_accepted() {
    for flags in [
        &["--num-beams", "1"][..],
        &[
            "--num-beams",
            "10",
            "--length-penalty",
            "-10",
            "--num-return-sequences",
            "10",
        ],
        &[
            "--do-sample",
            "--temperature",
            "0.01",
            "--top-p",
            "0",
            "--top-k",
            "0",
            "--seed",
            "0",
        ],
        &[
            "--do-sample",
            "--temperature",
            "100",
            "--top-p",
            "1",
            "--seed",
            "18446744073709551615",
        ],
        &[
            "--max-new-tokens",
            "4096",
            "--min-new-tokens",
            "4096",
            "--repetition-penalty",
            "0.01",
        ],
    ] {
        let output = glimpse().args(["ask", "nowhere.png"]).args(flags).output();
        let output = output.expect("the program starts");
        // The flags are in order: it is the picture that is not there.
        assert_eq!(output.status.code(), Some(1), "{flags:?}: {}", stderr(&output));
    }
}

#[test]
fn decoding_flags_that_contradict_each_other_are_named() {
    let contradictions: [(&[&str], &[&str]); 13] = [
        (&["--temperature", "0.7"], &["--temperature", "--do-sample"]),
        (&["--top-k", "3"], &["--top-k", "--do-sample"]),
        (&["--top-p", "0.5"], &["--top-p", "--do-sample"]),
        (&["--seed", "1"], &["--seed", "--do-sample"]),
        (&["--num-beams", "2", "--seed", "1"], &["--seed", "--do-sample"]),
        (&["--length-penalty", "2"], &["--length-penalty", "--num-beams"]),
        (
            &["--do-sample", "--length-penalty", "2"],
            &["--length-penalty", "--num-beams"],
        ),
        (&["--early-stopping", "never"], &["--early-stopping", "--num-beams"]),
        (&["--early-stopping", "true"], &["--early-stopping", "--num-beams"]),
        (
            &["--num-return-sequences", "3"],
            &["--num-return-sequences 3", "greedy"],
        ),
        (&["--num-beams", "2", "--num-return-sequences", "3"], &["--num-beams 2"]),
        (
            &["--min-new-tokens", "60"],
            &["--min-new-tokens 60", "--max-new-tokens 50"],
        ),
        (
            &["--do-sample", "--num-beams", "2", "--num-return-sequences", "3"],
            &["--num-beams 2"],
        ),
    ];
    for (flags, words) in contradictions {
        let message = wrong(&[&["ask", "nowhere.png"], flags].concat());
        assert_eq!(message.lines().count(), 1, "{message}");
        for word in words {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
    }
}

#[test]
fn a_setting_that_is_none_of_its_words_is_refused_with_the_words() {
    let message = wrong(&["ask", "nowhere.png", "--num-beams", "2", "--early-stopping", "maybe"]);
    assert!(message.contains("false, true, never"), "{message}");
    assert!(wrong(&["ask", "nowhere.png", "--stop-strings", ""]).contains("--stop-strings"));
}

#[test]
fn a_limit_of_the_server_that_is_out_of_range_is_refused_with_the_range() {
    for (flag, value, range) in [
        ("--max-upload-bytes", "0", "from 1 to"),
        ("--max-waiting", "-1", "from 1 to 65535"),
        ("--max-fetch-seconds", "soon", "from 1 to 65535"),
        ("--max-connections", "1000001", "from 1 to 1000000"),
    ] {
        let message = wrong(&["serve", flag, value]);
        assert!(message.contains(flag) && message.contains(range), "{message}");
    }
}

#[test]
fn cargo_leptos_starts_the_server_without_arguments() {
    let output = glimpse()
        .env("LEPTOS_OUTPUT_NAME", "glimpse")
        .env("GLIMPSE_ADDR", "nowhere:x")
        .output()
        .expect("the program starts");
    let message = stderr(&output);
    assert!(message.contains("'nowhere:x' for 'GLIMPSE_ADDR'"), "{message}");
}
