//! Transfers: broken, resumed, checked, and sent with the right to read.

use crate::server::{Access, Fault, Hub, ID, sha256};
use crate::support::TinyCheckpoint;
use crate::{User, refused, succeeded, weights};

#[test]
fn a_download_that_breaks_goes_on_where_it_stopped() {
    let checkpoint = TinyCheckpoint::new();
    let hub = Hub::serving(checkpoint.folder.path());
    let user = User::of(&hub);
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
    let checkpoint = TinyCheckpoint::new();
    let hub = Hub::serving(checkpoint.folder.path());
    let user = User::of(&hub);
    let bytes = weights(&checkpoint);
    // What an earlier run left.
    let blobs = user.repository().join("blobs");
    std::fs::create_dir_all(&blobs).expect("the folder is ours");
    let partial = blobs.join(format!("{}.incomplete", sha256(&bytes)));
    std::fs::write(&partial, &bytes[..5000]).expect("the folder is ours");
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
    assert!(!partial.exists());
    assert_eq!(std::fs::read(blobs.join(sha256(&bytes))).ok(), Some(bytes));
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
    let checkpoint = TinyCheckpoint::new();
    let hub = Hub::serving(checkpoint.folder.path());
    let user = User::of(&hub);
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
    refused(&user.fetch(), &["tokenizer.json", "bytes", "run the command again"]);
    succeeded(&user.fetch());

    // More than the whole is there already.
    let user = User::of(&hub);
    let bytes = weights(&checkpoint);
    std::fs::create_dir_all(user.repository().join("blobs")).expect("the folder is ours");
    let partial = user
        .repository()
        .join("blobs")
        .join(format!("{}.incomplete", sha256(&bytes)));
    std::fs::write(partial, [bytes.as_slice(), b"more"].concat()).expect("the folder is ours");
    succeeded(&user.fetch());
}

#[test]
fn a_busy_hub_is_asked_again_when_it_says_so() {
    let checkpoint = TinyCheckpoint::new();
    let hub = Hub::serving(checkpoint.folder.path());
    let user = User::of(&hub);
    hub.fail(Fault::TooMany(1), 1);
    hub.fail(Fault::Unavailable, 1);
    succeeded(&user.fetch());
    let user = User::of(&hub);
    hub.fail(Fault::TooMany(3600), 100);
    refused(&user.fetch(), &["429", "3600 seconds", "HF_TOKEN"]);
}

#[test]
fn the_token_is_for_the_hub_and_for_nobody_else() {
    let checkpoint = TinyCheckpoint::new();
    let hub = Hub::serving(checkpoint.folder.path());
    hub.allow(Access::Token("hf_right"));
    let by_variable = User::of(&hub);
    let output = by_variable
        .command(["fetch", ID])
        .env("HF_TOKEN", "hf_right\n")
        .output();
    succeeded(&output.expect("it starts"));
    let by_file = User::of(&hub);
    std::fs::write(by_file.home.path().join("token"), "hf_right\n").expect("the folder is ours");
    succeeded(&by_file.fetch());
    let requests = hub.requests();
    assert!(requests.iter().any(|request| request.of_cdn && request.method == "GET"));
    for request in requests {
        assert_eq!(request.authorization.is_some(), !request.of_cdn, "{request:?}");
    }
}
