//! What cannot be had or run, and what is said about it.

use super::server::{Access, Hub, ID};
use super::{User, refused, setting, succeeded};
use crate::support::{PictureFile, TinyCheckpoint};

#[test]
fn each_refusal_says_what_to_do() {
    let (_checkpoint, hub, user) = setting();
    refused(
        &user.run(["fetch", "Test/nothing"]),
        &["Test/nothing", "401", "spelling", "HF_TOKEN"],
    );
    refused(&user.run(["fetch", "Test/tiny@v9"]), &["Test/tiny", "no revision v9"]);
    for status in [401, 403] {
        hub.allow(Access::Gated(status));
        let words = ["gated", &status.to_string(), "conditions", &hub.endpoint];
        refused(&user.fetch(), &words);
    }
    hub.allow(Access::Token("hf_right"));
    refused(&user.fetch(), &["401", "HF_TOKEN"]);
    let output = user.run_with([("HF_TOKEN", "hf_wrong")], ["fetch", ID]);
    refused(&output, &["does not accept the token", "HF_TOKEN"]);
    hub.allow(Access::Everybody);
    hub.remove("tokenizer.json");
    refused(&user.fetch(), &["Test/tiny", "no tokenizer.json"]);
    refused(&user.run(["fetch", "no folder and no id"]), &["no folder", "no hub id"]);
}

#[test]
fn weights_are_not_downloaded_for_what_cannot_run() {
    let (_checkpoint, hub, user) = setting();
    let output = user.run(["ask", "--model", ID, "--max-memory", "20kB", PictureFile::new().path()]);
    refused(
        &output,
        &[ID, "in f32", "--max-memory allows 20.0 kB", "raise --max-memory"],
    );
    let user = User::of(&hub);
    hub.put(
        "config.json",
        br#"{"model_type":"blip-2","text_config":{"model_type":"gptj"}}"#.to_vec(),
    );
    refused(&user.fetch(), &["gptj", "opt", "t5", "llama"]);
    let user = User::of(&hub);
    hub.put("config.json", br#"{"model_type":"llava"}"#.to_vec());
    refused(&user.fetch(), &["llava", "blip-2"]);
    let requests = hub.requests();
    assert!(
        !requests.iter().any(|request| request.path.contains("safetensors")),
        "{requests:?}"
    );
}

#[test]
fn what_is_no_checkpoint_is_named_for_what_it_is() {
    for (files, words) in [
        (
            &["adapter_config.json", "adapter_model.safetensors"][..],
            &[ID, "LoRA", "merge_and_unload"][..],
        ),
        (&["README.md", "tiny-Q4_K.gguf"], &[ID, "GGUF", "glimpse models"]),
        (&["README.md"], &[ID, "no config.json"]),
    ] {
        let hub = Hub::empty();
        for file in files {
            hub.put(file, b"{}".to_vec());
        }
        let user = User::of(&hub);
        refused(&user.fetch(), words);
    }
}

#[test]
fn pickled_weights_that_are_none_are_named() {
    let checkpoint = TinyCheckpoint::new();
    let hub = Hub::serving(checkpoint.folder.path());
    hub.remove("model.safetensors");
    hub.put("pytorch_model.bin", vec![0; 100]);
    let user = User::of(&hub);
    refused(&user.fetch(), &["pytorch_model.bin is damaged", "version 1.6"]);
}

#[test]
fn fetch_checks_tensors_against_the_config() {
    let checkpoint = TinyCheckpoint::new();
    checkpoint.save(|tensors| drop(tensors.remove("query_tokens")));
    let hub = Hub::serving(checkpoint.folder.path());
    let user = User::of(&hub);
    refused(&user.fetch(), &[ID, "query_tokens"]);
    // A folder can be checked as well.
    refused(&user.run(["fetch", checkpoint.path()]), &["query_tokens"]);
    checkpoint.save(|_| {});
    succeeded(&user.run(["fetch", checkpoint.path()]));
}
