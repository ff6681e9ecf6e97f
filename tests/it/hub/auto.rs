//! `--model auto`: the best of the cache; where there is none the demo model, and a word on what to fetch.

use super::server::{Hub, ID};
use super::{User, setting, succeeded, weights};
use crate::support::{PictureFile, stderr};

/// What fits into the memory that [`ask`] allows, of the published models.
const BEST: &str = "Salesforce/blip-vqa-capfilt-large";

fn ask(user: &User) -> (String, String) {
    ask_for(user, &["what?"])
}

/// Asks about a picture what stands behind its name on the command line.
fn ask_for(user: &User, more: &[&str]) -> (String, String) {
    let picture = PictureFile::new();
    let auto = ["ask", "--model", "auto", "--device", "cpu", "--max-memory", "2GB"];
    let mut command = user.command(auto);
    let output = command
        .args(["--max-new-tokens", "3", picture.path()])
        .args(more)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the program starts");
    succeeded(&output);
    (
        String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        stderr(&output),
    )
}

#[test]
fn the_best_of_the_cache_answers_and_no_hub_is_asked() {
    let (_checkpoint, hub, user) = setting();
    succeeded(&user.fetch());
    hub.requests();
    let (_, said) = ask(&user);
    assert!(said.contains(&format!("loading {ID}")), "{said}");
    std::fs::remove_file(user.file("model.safetensors")).expect("it is there");
    let (_, said) = ask(&user);
    assert!(
        !said.contains(&format!("loading {ID}")),
        "it is there in part alone: {said}"
    );
}

#[test]
fn without_one_the_demo_model_answers_and_it_is_said_what_to_type() {
    let (checkpoint, hub, user) = setting();
    hub.rename(BEST);
    let (answer, said) = ask(&user);
    assert!(!answer.is_empty() && said.contains("loading the demo model"), "{said}");
    for words in [&format!("`glimpse fetch {BEST}`"), "GB to download", "BSD 3-Clause"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(
        hub.transfers_of(&weights(&checkpoint)),
        0,
        "nothing is downloaded silently"
    );
}

#[test]
fn a_caption_is_asked_of_a_model_that_writes_captions() {
    let user = User::of(&Hub::empty());
    for more in [&[][..], &["--prefix", "a photo of"]] {
        let (caption, said) = ask_for(&user, more);
        assert!(!caption.is_empty() && said.contains("loading the demo model"), "{said}");
        assert!(said.contains("Salesforce/blip-image-captioning-"), "{said}");
        assert!(
            !said.contains(BEST),
            "it answers questions and writes no captions: {said}"
        );
    }
}

#[test]
fn where_no_hub_can_be_reached_the_demo_model_answers() {
    let user = User::of(&Hub::empty());
    let (answer, said) = ask(&user);
    assert!(!answer.is_empty() && said.contains("cannot be reached"), "{said}");
    assert!(said.contains(BEST), "{said}");
}
