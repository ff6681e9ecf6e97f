//! `ask --attention`: what an answer looked at, in a file.

use candle_core::{Device, Tensor};
use serde_json::Value;

use crate::support::{PictureFile, TinyCheckpoint, ask, glimpse, stderr};

/// The sums of the last dimension are shares of a whole.
fn are_shares(tensor: &Tensor) -> candle_core::Result<bool> {
    let sums: Vec<f32> = tensor.sum(tensor.rank() - 1)?.flatten_all()?.to_vec1()?;
    Ok(sums.iter().all(|sum| *sum > 0.0 && *sum < 1.0 + 1e-4))
}

#[test]
fn what_an_answer_looked_at_is_written_beside_it() -> Result<(), Box<dyn std::error::Error>> {
    let (model, picture) = (TinyCheckpoint::new(), PictureFile::new());
    let file = picture.beside("looked.safetensors", []);
    let output = ask([
        "--model",
        model.path(),
        "--json",
        "--attention",
        &file,
        picture.path(),
        "what is it?",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let tokens = answer["token_ids"].as_array().map_or(0, Vec::len);
    let tensors = candle_core::safetensors::load(&file, &Device::Cpu)?;
    let (heads, queries, positions) = tensors["layer.0"].dims3()?;
    let (rows, columns) = (tensors["maps"].dim(1)?, tensors["maps"].dim(2)?);
    assert!(heads > 0 && rows * columns + 1 == positions);
    assert_eq!(tensors["weights"].dims(), [tokens, queries]);
    assert_eq!(tensors["maps"].dims(), [tokens, rows, columns]);
    assert!(are_shares(&tensors["layer.0"])? && are_shares(&tensors["weights"])?);
    assert!(are_shares(&tensors["maps"].flatten_from(1)?)?);
    Ok(())
}

#[test]
fn what_is_printed_is_the_same_with_it() {
    let (model, picture) = (TinyCheckpoint::new(), PictureFile::new());
    let file = picture.beside("looked.safetensors", []);
    let printed = |more: &[&str]| {
        let asked = ["--model", model.path(), "--json", "--question", "what is it?"];
        let asked = asked.iter().chain(more);
        let output = glimpse().arg("ask").args(asked).arg(picture.path()).output();
        let output = output.expect("it starts");
        let mut answer: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        answer["timings_ms"].take();
        answer
    };
    let with = printed(&["--attention", &file]);
    assert_eq!(with, printed(&[]));
    assert_eq!(with["picture"], picture.path());
}

#[test]
fn a_file_of_another_kind_and_several_answers_are_refused_before_anything_is_asked() {
    let picture = PictureFile::new();
    let refused = |arguments: &[&str]| {
        let output = glimpse().arg("ask").args(arguments).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        stderr(&output)
    };
    let said = refused(&["--attention", picture.path(), picture.path()]);
    assert!(said.contains(".safetensors"), "{said}");
    let nowhere = picture.beside("nowhere", []) + "/a.safetensors";
    let said = refused(&["--attention", &nowhere, picture.path()]);
    assert!(said.contains("no such folder"), "{said}");
    let two = [
        "--attention",
        "a.safetensors",
        "--question",
        "what?",
        picture.path(),
        picture.path(),
    ];
    let said = refused(&two);
    assert!(said.contains("one picture"), "{said}");
}
