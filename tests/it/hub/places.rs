//! Which model an id means, and where it comes from.

use serde_json::Value;

use super::server::{COMMIT, Hub, ID, MIRROR, REVISIONS};
use super::{User, golden, refused, setting, succeeded};
use crate::support::{PictureFile, stderr};

#[test]
fn an_id_answers_as_its_folder_does() {
    let picture = PictureFile::new();
    // In shards.
    let folder = golden("02");
    let hub = Hub::serving(&folder);
    let user = User::of(&hub);
    let tokens = |model: &str| {
        let output = user.run(["ask", "--json", "--model", model, picture.path(), "what?"]);
        succeeded(&output);
        let record: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        (record["token_ids"].clone(), record["logprobs"].clone())
    };
    let expected = tokens(folder.to_str().expect("it is text"));
    assert_eq!(tokens(ID), expected);
    for revision in REVISIONS {
        assert_eq!(tokens(&format!("{ID}@{revision}")), expected);
    }
}

#[test]
fn a_revision_is_remembered_under_its_name() {
    let (_checkpoint, _hub, user) = setting();
    for revision in REVISIONS {
        let id = format!("{ID}@{revision}");
        succeeded(&user.run(["fetch", &id]));
        succeeded(&user.run_with([("HF_HUB_OFFLINE", "1")], ["fetch", &id]));
        let remembered = std::fs::read_to_string(user.repository().join("refs").join(revision));
        let expected = (revision != COMMIT).then(|| COMMIT.to_string());
        assert_eq!(remembered.ok(), expected, "{revision}");
    }
    assert_eq!(user.list("snapshots"), [COMMIT]);
}

#[test]
fn a_hub_may_be_below_a_path_of_a_mirror() {
    let (_checkpoint, hub, mut user) = setting();
    user.endpoint = format!("{}{MIRROR}/", hub.endpoint);
    succeeded(&user.fetch());
    assert!(hub.requests()[0].path.starts_with(MIRROR));
}

#[test]
fn a_password_of_the_endpoint_is_not_repeated() {
    let (_checkpoint, hub, mut user) = setting();
    user.endpoint = hub.endpoint.replace("http://", "http://me:secret@");
    let output = user.run_with([("GLIMPSE_LOG", "trace")], ["fetch", "Test/nothing"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!stderr(&output).contains("secret"), "{}", stderr(&output));
}

#[test]
fn a_hub_that_is_down_is_done_without() {
    let (_checkpoint, _hub, mut user) = setting();
    succeeded(&user.fetch());
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    user.endpoint = format!("http://{}", free.expect("loopback has free ports"));
    let output = user.fetch();
    succeeded(&output);
    let said = stderr(&output);
    assert!(said.contains("Going on with what is in the cache"), "{said}");
    std::fs::remove_file(user.file("model.safetensors")).expect("it is there");
    refused(
        &user.fetch(),
        &["model.safetensors is missing", &user.endpoint, "cannot be reached"],
    );
    refused(
        &user.run(["fetch", "Test/other"]),
        &["cannot be reached", "name a folder"],
    );
}

#[test]
fn offline_what_is_not_there_is_said() {
    let hub = Hub::empty();
    let user = User::of(&hub);
    refused(&user.fetch_offline(), &[ID, "config.json", "HF_HUB_OFFLINE"]);
    assert!(hub.requests().is_empty());
}

#[test]
fn the_cache_may_be_elsewhere() {
    let (_checkpoint, _hub, user) = setting();
    let elsewhere = tempfile::tempdir().expect("there is a folder for tests");
    let path = elsewhere.path().to_str().expect("temporary folders have plain names");
    succeeded(&user.run_with([("HF_HUB_CACHE", path)], ["fetch", ID]));
    assert!(elsewhere.path().join("models--Test--tiny/refs/main").is_file());
    assert!(!user.home.path().join("hub").exists());
}

#[test]
fn a_folder_that_exists_wins() {
    let hub = Hub::empty();
    let user = User::of(&hub);
    let here = tempfile::tempdir().expect("there is a folder for tests");
    std::fs::create_dir_all(here.path().join(ID)).expect("the folder is ours");
    let output = user.command(["fetch", ID]).current_dir(here.path()).output();
    refused(&output.expect("the program starts"), &[ID, "config.json"]);
    assert!(hub.requests().is_empty());
}
