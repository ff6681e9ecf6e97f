//! The small captioner and matcher of `demo-model/` see the drawn world that they were made for.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::support::{glimpse, stderr};

/// Example pictures of at most four things, with what they show.
const PICTURES: [(&str, &str); 5] = [
    ("2.png", "an orange circle, a moon and a rocket on a bright ground"),
    (
        "4.png",
        "a butterfly, a purple circle, a pineapple and a gray triangle on a bright ground",
    ),
    ("5.png", "a banana, a bicycle and an umbrella on a bright ground"),
    ("6.png", "an airplane, a boat, a car and a flower on a bright ground"),
    ("7.png", "an apple, a donut and a pizza on a bright ground"),
];

/// Texts that say one thing wrong about the first picture, or all.
const WRONG: [&str; 4] = [
    "a purple circle, a moon and a rocket on a bright ground",
    "an orange circle, a moon and a rocket on a dark ground",
    "a cat and three red stars on a bright ground",
    "a surfer riding a wave at sunset",
];

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn run(command: &str, model: &str, picture: &str, more: &[&str]) -> Output {
    let mut program = glimpse();
    program.args([command, "--json", "--dtype", "f32", "--model"]);
    program.arg(path(&format!("demo-model/{model}")));
    program.arg(path(&format!("public/examples/{picture}")));
    program.args(more).output().expect("the program starts")
}

fn object(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

/// The matching probabilities of texts.
fn matches(picture: &str, texts: &[&str]) -> Vec<f64> {
    let more: Vec<&str> = texts.iter().flat_map(|text| ["--text", text]).collect();
    let told = object(&run("match", "matcher", picture, &more));
    let scores = told["scores"].as_array().expect("it is a list");
    let probability = |score: &Value| score["match"].as_f64().expect("it is a number");
    scores.iter().map(probability).collect()
}

#[test]
fn the_small_captioner_says_what_the_examples_show() {
    for (picture, right) in PICTURES {
        let told = object(&run("ask", "captioner", picture, &[]));
        assert_eq!(told["answer"], right, "{picture}");
        let told = object(&run("ask", "captioner", picture, &["--prefix", "a picture of"]));
        let answer = told["answer"].as_str().expect("it is a text");
        assert!(answer.ends_with(right), "{picture}: {answer}");
    }
}

#[test]
fn the_small_matcher_tells_right_texts_from_wrong_ones() {
    let texts = PICTURES.map(|(_, text)| text);
    for (place, (picture, _)) in PICTURES.into_iter().enumerate() {
        for (other, probability) in matches(picture, &texts).into_iter().enumerate() {
            let fits = probability >= 0.5;
            assert_eq!(fits, other == place, "{picture}, {}: {probability}", texts[other]);
        }
    }
    let (picture, _) = PICTURES[0];
    for (text, probability) in WRONG.iter().zip(matches(picture, &WRONG)) {
        assert!(probability < 0.5, "{picture}, {text}: {probability}");
    }
}
