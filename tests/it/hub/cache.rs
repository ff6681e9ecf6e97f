//! What is kept, and when the hub is asked again.

use std::path::Path;

use super::server::{COMMIT, ID, sha256};
use super::{User, golden, refused, setting, succeeded, weights};

#[test]
fn the_cache_is_laid_out_as_pythons() {
    let (checkpoint, hub, user) = setting();
    hub.put("README.md", b"not needed".to_vec());
    hub.put("pytorch_model.bin", b"not needed either".to_vec());
    let output = user.fetch();
    succeeded(&output);
    let snapshot = user.repository().join("snapshots").join(COMMIT);
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_string();
    assert_eq!(Path::new(&printed), snapshot);
    let main = std::fs::read_to_string(user.repository().join("refs/main"));
    assert_eq!(main.ok().as_deref(), Some(COMMIT));
    let expected = [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
    ];
    assert_eq!(user.list(&format!("snapshots/{COMMIT}")), expected);
    let sum = sha256(&weights(&checkpoint));
    let link = std::fs::read_link(user.file("model.safetensors")).expect("it is a link");
    assert_eq!(link, Path::new("../../blobs").join(&sum));
    assert!(user.list("blobs").contains(&sum));
    // What is not there is remembered as Python remembers it.
    let absent = user.list(&format!(".no_exist/{COMMIT}"));
    assert!(absent.contains(&"processor_config.json".to_string()), "{absent:?}");
}

#[test]
fn what_is_in_the_cache_needs_the_hub_for_one_question_and_offline_for_none() {
    let hub = super::Hub::serving(&golden("02"));
    let user = User::of(&hub);
    succeeded(&user.fetch());
    hub.requests();
    succeeded(&user.fetch());
    let requests = hub.requests();
    let questions = requests.iter().filter(|request| request.path.contains("/resolve/"));
    assert_eq!(questions.count(), 1, "{requests:?}");
    assert!(requests.iter().all(|request| request.method == "HEAD"), "{requests:?}");
    succeeded(&user.run(["fetch", &format!("{ID}@{COMMIT}")]));
    for value in ["1", "true", "YES", "On"] {
        succeeded(&user.run_with([("HF_HUB_OFFLINE", value)], ["fetch", ID]));
    }
    assert!(hub.requests().is_empty(), "a commit and an offline user ask nothing");
    succeeded(&user.run_with([("HF_HUB_OFFLINE", "0")], ["fetch", ID]));
    assert_eq!(hub.requests().len(), 2, "it may be asked, and leads on once");
}

#[test]
fn a_file_of_the_cache_that_is_gone_is_downloaded_again() {
    let (checkpoint, _hub, user) = setting();
    succeeded(&user.fetch());
    let bytes = weights(&checkpoint);
    // A link is left, and leads nowhere.
    let blob = user.repository().join("blobs").join(sha256(&bytes));
    std::fs::remove_file(blob).expect("it is there");
    refused(
        &user.fetch_offline(),
        &["model.safetensors is missing", "HF_HUB_OFFLINE"],
    );
    succeeded(&user.fetch());
    assert_eq!(std::fs::read(user.file("model.safetensors")).ok(), Some(bytes));
    succeeded(&user.fetch_offline());
}

#[test]
fn what_is_damaged_in_the_cache_is_downloaded_again() {
    let (_checkpoint, _hub, user) = setting();
    succeeded(&user.fetch());
    for (file, damage) in [("tokenizer.json", &b"{"[..]), ("model.safetensors", b"cut off")] {
        let blob = user.file(file).canonicalize().expect("it is a link");
        std::fs::write(&blob, damage).expect("the cache is ours");
        assert!(!user.fetch_offline().status.success(), "{file} is damaged");
        succeeded(&user.fetch());
        succeeded(&user.fetch_offline());
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_told() {
    let (_checkpoint, _hub, user) = setting();
    let file = user.home.path().join("a-file");
    std::fs::write(&file, "no folder").expect("the folder is ours");
    let file = file.to_str().expect("temporary folders have plain names");
    refused(
        &user.run_with([("HF_HUB_CACHE", file)], ["fetch", ID]),
        &[file, "cannot be written", "HF_HUB_CACHE"],
    );
}
