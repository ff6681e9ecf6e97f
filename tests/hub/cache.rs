//! What is kept, where, and when the hub is asked again.

use std::path::Path;

use serde_json::Value;

use crate::server::{COMMIT, Hub, ID, sha256};
use crate::support::{PictureFile, TinyCheckpoint, stderr};
use crate::{User, golden, refused, succeeded, weights};

#[test]
fn an_id_answers_as_its_folder_does() {
    let picture = PictureFile::new();
    let folder = golden("02");
    let hub = Hub::serving(&folder);
    let user = User::of(&hub);
    let tokens = |model: &str| {
        let output = user.run(["ask", "--json", "--model", model, picture.path(), "what?"]);
        succeeded(&output);
        let record: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        (record["token_ids"].clone(), record["logprobs"].clone())
    };
    // In shards, by a branch, a tag, a commit, and a branch with a slash.
    let expected = tokens(folder.to_str().expect("it is text"));
    assert_eq!(tokens(ID), expected);
    for revision in ["v1", COMMIT, "refs/pr/1"] {
        assert_eq!(tokens(&format!("{ID}@{revision}")), expected);
    }
}

#[test]
fn the_cache_is_laid_out_as_pythons() {
    let checkpoint = TinyCheckpoint::new();
    let hub = Hub::serving(checkpoint.folder.path());
    hub.put("README.md", b"not needed".to_vec());
    hub.put("pytorch_model.bin", b"not needed either".to_vec());
    let user = User::of(&hub);
    let output = user.fetch();
    succeeded(&output);
    let snapshot = user.repository().join("snapshots").join(COMMIT);
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_string();
    assert_eq!(Path::new(&printed), snapshot);
    assert_eq!(
        std::fs::read_to_string(user.repository().join("refs/main"))
            .ok()
            .as_deref(),
        Some(COMMIT)
    );
    let expected = [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
    ];
    assert_eq!(user.list(&format!("snapshots/{COMMIT}")), expected);
    let link = std::fs::read_link(snapshot.join("model.safetensors")).expect("it is a link");
    let sum = sha256(&weights(&checkpoint));
    assert_eq!(link, Path::new("../../blobs").join(&sum));
    assert!(user.list("blobs").contains(&sum));
    // What is not there is remembered as Python remembers it.
    let absent = user.list(&format!(".no_exist/{COMMIT}"));
    assert!(absent.contains(&"processor_config.json".to_string()), "{absent:?}");
}

#[test]
fn what_is_in_the_cache_needs_the_hub_for_one_question_and_offline_for_none() {
    let hub = Hub::serving(&golden("02"));
    let user = User::of(&hub);
    succeeded(&user.fetch());
    hub.requests();
    succeeded(&user.fetch());
    let requests = hub.requests();
    assert_eq!(
        requests
            .iter()
            .filter(|request| request.path.contains("/resolve/"))
            .count(),
        1,
        "{requests:?}"
    );
    assert!(requests.iter().all(|request| request.method == "HEAD"), "{requests:?}");
    let commit = format!("{ID}@{COMMIT}");
    succeeded(&user.run(["fetch", &commit]));
    for value in ["1", "true", "YES"] {
        let output = user
            .command(["fetch", ID])
            .env("HF_HUB_OFFLINE", value)
            .output()
            .expect("it starts");
        succeeded(&output);
    }
    assert!(hub.requests().is_empty(), "a commit and an offline user ask nothing");
}

#[test]
fn a_hub_that_is_down_is_done_without() {
    let checkpoint = TinyCheckpoint::new();
    let hub = Hub::serving(checkpoint.folder.path());
    let mut user = User::of(&hub);
    succeeded(&user.fetch());
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    user.endpoint = format!("http://{}", free.expect("loopback has free ports"));
    let output = user.fetch();
    succeeded(&output);
    assert!(
        stderr(&output).contains("Going on with what is in the cache"),
        "{}",
        stderr(&output)
    );
    std::fs::remove_file(
        user.repository()
            .join("snapshots")
            .join(COMMIT)
            .join("model.safetensors"),
    )
    .expect("it is there");
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
    let output = user
        .command(["fetch", ID])
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .expect("it starts");
    refused(&output, &[ID, "config.json", "HF_HUB_OFFLINE"]);
    assert!(hub.requests().is_empty());
}

#[test]
fn the_cache_may_be_elsewhere() {
    let checkpoint = TinyCheckpoint::new();
    let hub = Hub::serving(checkpoint.folder.path());
    let user = User::of(&hub);
    let elsewhere = tempfile::tempdir().expect("there is a folder for tests");
    let output = user
        .command(["fetch", ID])
        .env("HF_HUB_CACHE", elsewhere.path())
        .output()
        .expect("it starts");
    succeeded(&output);
    assert!(elsewhere.path().join("models--Test--tiny/refs/main").is_file());
    assert!(!user.home.path().join("hub").exists());
}

#[test]
fn a_folder_that_exists_wins() {
    let hub = Hub::empty();
    let user = User::of(&hub);
    let here = tempfile::tempdir().expect("there is a folder for tests");
    std::fs::create_dir_all(here.path().join(ID)).expect("the folder is ours");
    let output = user
        .command(["fetch", ID])
        .current_dir(here.path())
        .output()
        .expect("it starts");
    refused(&output, &[ID, "config.json"]);
    assert!(hub.requests().is_empty());
}

#[test]
fn models_lists_what_is_known_what_is_here_and_what_fits() {
    let checkpoint = TinyCheckpoint::new();
    let hub = Hub::serving(checkpoint.folder.path());
    let user = User::of(&hub);
    succeeded(&user.fetch());
    hub.requests();
    let output = user.run(["models", "--json", "--device", "cpu", "--max-memory", "9GB"]);
    succeeded(&output);
    let models: Vec<Value> = serde_json::from_slice(&output.stdout).expect("it is a list");
    let find = |id: &str| {
        models
            .iter()
            .find(|model| model["id"] == id)
            .expect("it is listed")
            .clone()
    };
    let large = find("Salesforce/blip2-opt-2.7b");
    assert_eq!(large["parameters"], 3_744_761_856u64);
    assert_eq!(large["disk_bytes"], 14_979_047_424u64);
    assert_eq!(large["picture_size"], 224);
    assert_eq!(large["downloaded"], "no");
    let fits = large["fits"].as_array().expect("the limit is known");
    assert!(
        fits.contains(&"f16".into()) && !fits.contains(&"f32".into()),
        "{fits:?}"
    );
    assert_eq!(find(ID)["downloaded"], "yes");
    assert_eq!(models[0]["id"], Value::Null, "the demo model comes first");
    std::fs::remove_file(
        user.repository()
            .join("snapshots")
            .join(COMMIT)
            .join("model.safetensors"),
    )
    .expect("it is there");
    let table = user.run(["models", "--device", "cpu"]);
    succeeded(&table);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    let line = |id: &str| table.lines().find(|line| line.starts_with(id)).map(str::to_string);
    assert!(line(ID).is_some_and(|line| line.contains("in part")), "{table}");
    assert!(
        line("Salesforce/blip2-opt-6.7b-coco").is_some_and(|line| line.contains("364 x 364")),
        "{table}"
    );
    assert!(hub.requests().is_empty(), "the list needs no network");
}
