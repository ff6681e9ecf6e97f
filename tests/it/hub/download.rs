//! Transfers: broken, resumed, checked, and sent with the right to read.

use std::process::{Command, Stdio};

use super::server::{Access, Fault, Hub, ID, sha256};
use super::{User, refused, setting, succeeded, weights};
use crate::support::{TinyCheckpoint, stderr};

#[test]
fn a_download_that_breaks_goes_on_where_it_stopped() {
    let (_checkpoint, hub, user) = setting();
    hub.fail(Fault::BreaksAfter(1000), 3);
    succeeded(&user.fetch());
    let ranges: Vec<_> = hub
        .requests()
        .into_iter()
        .filter(|request| request.of_cdn)
        .map(|request| request.range)
        .collect();
    // The tokenizer is the first file that comes from there.
    let expected = [None, Some("bytes=1000-"), Some("bytes=2000-"), Some("bytes=3000-")];
    let found: Vec<_> = ranges.iter().take(4).map(Option::as_deref).collect();
    assert_eq!(found, expected);
}

#[test]
fn an_interrupted_download_goes_on_in_the_next_run() {
    let (checkpoint, hub, user) = setting();
    let bytes = weights(&checkpoint);
    user.leave_partial(&bytes, &bytes[..5000]);
    hub.fail(Fault::BreaksAfter(0), 100);
    refused(
        &user.fetch(),
        &["tokenizer.json", "broke off", "goes on where it stopped"],
    );
    hub.mend();
    hub.requests();
    succeeded(&user.fetch());
    let ranges: Vec<_> = hub.requests().into_iter().filter_map(|request| request.range).collect();
    assert!(ranges.contains(&"bytes=5000-".to_string()), "{ranges:?}");
    assert!(!user.partial(&bytes).exists());
    assert_eq!(std::fs::read(user.file("model.safetensors")).ok(), Some(bytes));
}

#[test]
fn a_download_that_was_complete_but_for_its_name_is_not_sent_again() {
    let (checkpoint, hub, user) = setting();
    let bytes = weights(&checkpoint);
    user.leave_partial(&bytes, &bytes);
    succeeded(&user.fetch());
    assert_eq!(hub.transfers_of(&bytes), 0);
    assert_eq!(std::fs::read(user.file("model.safetensors")).ok(), Some(bytes));
}

#[test]
fn a_part_that_reaches_beyond_a_file_of_unknown_size_is_thrown_away() {
    let (checkpoint, hub, user) = setting();
    let bytes = weights(&checkpoint);
    user.leave_partial(&bytes, &[bytes.as_slice(), b"more"].concat());
    hub.fail(Fault::Sizeless, 100);
    hub.fail(Fault::BreaksAfter(1000), 1);
    succeeded(&user.fetch());
    assert_eq!(std::fs::read(user.file("model.safetensors")).ok(), Some(bytes));
}

#[test]
fn two_programs_at_the_same_time_download_a_file_once() {
    let (checkpoint, hub, user) = setting();
    hub.fail(Fault::Slow(500), 2);
    let start = || {
        user.command(["fetch", ID])
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
    };
    let programs = [start(), start()].map(|program| program.expect("the program starts"));
    for program in programs {
        succeeded(&program.wait_with_output().expect("it ends"));
    }
    assert_eq!(hub.transfers_of(&weights(&checkpoint)), 1);
}

/// A limit on a file's size stands for a full disk: both fail in the middle of a write.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full_is_told_and_what_is_there_is_kept() {
    let (checkpoint, _hub, user) = setting();
    let bytes = weights(&checkpoint);
    let fetch = user.command(["fetch", ID]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$0\" \"$@\""]);
    limited.arg(fetch.get_program()).args(fetch.get_args());
    for (name, value) in fetch.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    refused(
        &limited.output().expect("it starts"),
        &["cannot be written", "Make room", "HF_HUB_CACHE"],
    );
    let kept = std::fs::metadata(user.partial(&bytes)).map(|file| file.len());
    assert!(kept.is_ok_and(|bytes| bytes > 0));
    succeeded(&user.fetch());
}

#[test]
fn a_hub_without_ranges_sends_it_all_again() {
    let checkpoint = TinyCheckpoint::new();
    let hub = Hub::serving(checkpoint.folder.path());
    hub.fail(Fault::BreaksAfter(1000), 2);
    hub.fail(Fault::IgnoresRanges, 100);
    let user = User::of(&hub);
    succeeded(&user.fetch());
    assert!(user.list("blobs").contains(&sha256(&weights(&checkpoint))));
}

#[test]
fn a_wrong_part_a_wrong_checksum_and_a_wrong_size_are_found_and_thrown_away() {
    let (checkpoint, hub, user) = setting();
    hub.fail(Fault::Corrupts, 1);
    refused(&user.fetch(), &["tokenizer.json", "checksum", "run the command again"]);
    assert!(
        user.list("blobs").iter().all(|blob| !blob.ends_with(".incomplete")),
        "{:?}",
        user.list("blobs")
    );
    succeeded(&user.fetch());

    let user = User::of(&hub);
    hub.fail(Fault::Lengthens, 1);
    let output = user.fetch();
    refused(&output, &["tokenizer.json", "bytes", "run the command again"]);
    let said = stderr(&output);
    let found = said.split("came with ").nth(1).and_then(|rest| rest.split(' ').next());
    let found: u64 = found.and_then(|bytes| bytes.parse().ok()).expect("it is told");
    assert!(found < 5_000_000, "the rest of fifty million bytes was left: {found}");
    succeeded(&user.fetch());

    // More than the whole is there already.
    let user = User::of(&hub);
    let bytes = weights(&checkpoint);
    user.leave_partial(&bytes, &[bytes.as_slice(), b"more"].concat());
    succeeded(&user.fetch());
}

#[test]
fn a_busy_hub_is_asked_again_when_it_says_so() {
    let (_checkpoint, hub, user) = setting();
    hub.fail(Fault::TooMany(1), 1);
    hub.fail(Fault::RateLimited(1), 1);
    hub.fail(Fault::Unavailable, 1);
    succeeded(&user.fetch());
    for fault in [Fault::TooMany(3600), Fault::RateLimited(3600)] {
        hub.fail(fault, 1);
        refused(&User::of(&hub).fetch(), &["429", "3600 seconds", "HF_TOKEN"]);
    }
}

#[test]
fn the_token_is_for_the_hub_and_for_nobody_else() {
    let checkpoint = TinyCheckpoint::new();
    let hub = Hub::serving(checkpoint.folder.path());
    hub.allow(Access::Token("hf_right"));
    let by_variable = User::of(&hub);
    succeeded(&by_variable.run_with([("HF_TOKEN", "hf_right\n")], ["fetch", ID]));
    let by_file = User::of(&hub);
    std::fs::write(by_file.home.path().join("token"), "hf_right\n").expect("the folder is ours");
    succeeded(&by_file.fetch());
    let requests = hub.requests();
    assert!(requests.iter().any(|request| request.of_cdn && request.method == "GET"));
    for request in requests {
        assert_eq!(request.authorization.is_some(), !request.of_cdn, "{request:?}");
    }
}

#[test]
fn the_token_is_in_no_log() {
    let (_checkpoint, _hub, user) = setting();
    let output = user.run_with([("HF_TOKEN", "hf_secret"), ("GLIMPSE_LOG", "trace")], ["fetch", ID]);
    succeeded(&output);
    let said = stderr(&output);
    assert!(said.contains("DEBUG") && !said.contains("hf_"), "{said}");
}

#[test]
fn weights_as_torch_saves_them_and_words_alone_serve_where_there_is_nothing_else() {
    let hub = Hub::serving(std::path::Path::new("tests/golden/blip/05"));
    let user = User::of(&hub);
    succeeded(&user.fetch());
    for file in ["pytorch_model.bin", "vocab.txt"] {
        assert!(user.file(file).is_file(), "{file}");
    }
}
