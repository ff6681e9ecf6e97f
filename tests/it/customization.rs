//! The page as its host wants it: name, words, colour and examples, by flags.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::page::{ask, call, get, post_form, question};
use crate::support::{Server, TinyCheckpoint, glimpse, png, stderr};

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("there is a folder for tests");
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).expect("the folder is ours");
    }
    folder
}

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().expect("temporary folders have plain names")
}

/// The page, and the policy that it came with.
fn page(server: &Server) -> (String, String) {
    let mut response = ureq::get(&server.address).call().expect("the page is there");
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .expect("it is plain");
    let policy = policy.to_owned();
    (response.body_mut().read_to_string().expect("it is text"), policy)
}

#[test]
fn the_page_is_called_says_and_looks_as_its_host_wants() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&[
        "--model",
        model.path(),
        "--title",
        "Birds & <b>bees</b>",
        "--description",
        "Ask about \"our\" birds.",
        "--notice",
        "Pictures are deleted <i>every</i> night.",
        "--accent",
        "rebeccapurple",
    ]);
    let (page, policy) = page(&server);
    for words in [
        "<title>Birds &amp; &lt;b&gt;bees&lt;/b&gt;</title>",
        "<span>Birds &amp; &lt;b>bees&lt;/b></span>",
        "name=\"description\" content=\"Ask about &quot;our&quot; birds.\"",
        "Ask about \"our\" birds.</p>",
        "Pictures are deleted &lt;i&gt;every&lt;/i&gt; night.</p>",
        "--fill:#663399;",
        "--on-accent:#ffffff",
    ] {
        assert!(page.contains(words), "{words} is not in\n{page}");
    }
    assert!(!page.contains("<b>bees") && !page.contains("<i>every"), "{page}");
    let style = page.split("<style nonce=\"").nth(1).expect("the page has a style");
    let nonce = style.split('"').next().expect("it is quoted");
    assert!(
        policy.contains(&format!("style-src 'self' 'nonce-{nonce}'")),
        "{policy}"
    );
    assert!(!policy.contains("unsafe-inline"), "{policy}");
}

#[test]
fn a_page_nobody_has_changed_is_glimpse_and_has_no_style_of_its_own() {
    let model = TinyCheckpoint::new();
    let server = Server::start(&["--model", model.path()]);
    let (page, policy) = page(&server);
    assert!(
        page.contains("<title>Glimpse</title>") && page.contains("and BLIP-2 answers."),
        "{page}"
    );
    assert!(!page.contains("<style") && !page.contains("class=\"notice\""), "{page}");
    assert!(policy.contains("style-src 'self';"), "{policy}");
}

#[test]
fn a_folder_of_pictures_is_what_there_is_to_try() {
    let model = TinyCheckpoint::new();
    let pictures = folder(&[
        ("What_is_this.png", &png([200, 0, 0])),
        ("cat.png", &png([0, 200, 0])),
        (".hidden.png", b"nothing"),
        ("notes.txt", b"nothing"),
    ]);
    let server = Server::start(&["--model", model.path(), "--examples", path(&pictures)]);
    let state = call(&server, "state", &json!({"conversation": null})).1;
    let examples = state["examples"].as_array().expect("it is a list");
    let asked: Vec<_> = examples
        .iter()
        .map(|example| [&example["question"], &example["alt"]])
        .collect();
    assert_eq!(asked, [["What is this?", "What is this"], ["", "cat"]]);
    for example in examples {
        let url = example["url"].as_str().expect("it is an address");
        let mut response = ureq::get(format!("{}{url}", server.address))
            .call()
            .expect("it is there");
        assert_eq!(response.headers()["content-type"], "image/jpeg");
        assert!(
            response.headers()["cache-control"]
                .to_str()
                .is_ok_and(|said| said.contains("immutable"))
        );
        assert!(
            response
                .body_mut()
                .read_to_vec()
                .is_ok_and(|bytes| bytes.starts_with(&[0xff, 0xd8]))
        );
    }
    let (status, conversation) = call(&server, "example", &json!({"index": 1}));
    assert_eq!(status, 200, "{conversation}");
    assert_eq!(conversation["picture"]["width"], 40);
    let id = conversation["id"].as_str().expect("it has one");
    assert!(ask(&server, &question(id, 3)).count() > 1);
    let (status, page) = post_form(&server, &[("example", "", b"0")]);
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("What is this?"), "{page}");
    assert_eq!(call(&server, "example", &json!({"index": 2})).0, 404);
    let missing = ureq::get(format!("{}/examples/own/2.jpg", server.address)).call();
    assert!(matches!(missing, Err(ureq::Error::StatusCode(404))));
}

#[test]
fn a_list_in_the_folder_says_more() {
    let model = TinyCheckpoint::new();
    let list = json!([
        {"file": "b.png", "question": "How many?", "alt": "Two birds.", "answer": "2"},
        {"file": "a.png", "alt": "A fox."},
    ]);
    let pictures = folder(&[
        ("a.png", &png([200, 0, 0])),
        ("b.png", &png([0, 200, 0])),
        ("not-listed.png", b"nothing"),
        ("examples.json", list.to_string().as_bytes()),
    ]);
    let server = Server::start(&["--model", model.path(), "--examples", path(&pictures)]);
    let state = call(&server, "state", &json!({"conversation": null})).1;
    let of = |key: &str| -> Vec<Value> {
        let examples = state["examples"].as_array().expect("it is a list");
        examples.iter().map(|example| example[key].clone()).collect()
    };
    assert_eq!(of("alt"), ["Two birds.", "A fox."]);
    assert_eq!(of("question"), ["How many?", ""]);
    assert!(get(&server, "").to_string().contains("How many?"));
}

#[test]
fn what_cannot_be_shown_is_told_in_a_sentence_at_the_start() {
    let good = png([1, 2, 3]);
    let many: Vec<String> = (0..25).map(|number| format!("{number}.png")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), good.as_slice())).collect();
    let cases: [(TempDir, &[&str]); 7] = [
        (folder(&[]), &["no picture in it"]),
        (folder(&[("a.png", b"text")]), &["a.png", "not a picture"]),
        (folder(&[("a.png", &good[..60])]), &["a.png", "too early"]),
        (
            folder(&[("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0heicmif1")]),
            &["a.heic", "HEIC"],
        ),
        (
            folder(&[("examples.json", br#"[{"file": "gone.png"}]"#)]),
            &["gone.png", "cannot be read"],
        ),
        (
            folder(&[("examples.json", br#"[{"file": "../a.png"}]"#)]),
            &["../a.png", "name alone"],
        ),
        (folder(&many), &["25 pictures", "at most 24"]),
    ];
    for (pictures, words) in &cases {
        let output = glimpse()
            .args(["serve", "--addr", "127.0.0.1:0", "--examples", path(pictures)])
            .output()
            .expect("the program starts");
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(
            message.contains("--examples") && message.lines().count() == 1,
            "{message}"
        );
        for word in *words {
            assert!(message.contains(word), "{word}: {message}");
        }
    }
}

#[test]
fn words_and_colours_that_cannot_be_shown_are_refused() {
    let long = "a".repeat(61);
    for (flag, value, words) in [
        ("--accent", "red;}body{display:none", "#0f6f68"),
        ("--accent", "#0f6f6880", "not solid"),
        ("--accent", "nocolour", "write a colour"),
        ("--title", &long, "at most 60"),
        ("--notice", "a\nb", "one line"),
        ("--description", " ", "write some words"),
    ] {
        let output = glimpse()
            .args(["serve", flag, value])
            .output()
            .expect("the program starts");
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(flag) && message.contains(words), "{message}");
    }
}
