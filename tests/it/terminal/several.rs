//! Several pictures, and answers that say nothing.

use serde_json::Value;

use crate::support::{PictureFile, TinyCheckpoint, ask, png, stderr};

#[test]
fn a_second_picture_is_refused_with_the_ways_to_ask_about_several() {
    let picture = PictureFile::new();
    let second = picture.beside("b.png", png([0, 0, 9]));
    let output = ask([picture.path(), &second]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(
        message.contains("--question") && message.contains("--batch"),
        "{message}"
    );
}

#[test]
fn one_question_about_several_pictures_is_answered_in_order() {
    let model = TinyCheckpoint::new();
    let picture = PictureFile::new();
    let second = picture.beside("b.png", png([0, 0, 9]));
    let bad = picture.beside("c.png", "none");
    let names = [picture.path(), &bad, &second];
    let arguments = ["--model", model.path(), "--max-new-tokens=2", "--question", "what?"];
    let output = ask([&arguments[..], &names].concat().try_into().unwrap_or([""; 8]));
    assert_eq!(output.status.code(), Some(1), "one of them is no picture");
    assert!(stderr(&output).contains("c.png"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let told: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once('\t')?.0)).collect();
    assert_eq!(told, names);
    let output = ask([&["--json"], &arguments[..], &names]
        .concat()
        .try_into()
        .unwrap_or([""; 9]));
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("it is JSON"))
        .collect();
    assert!(lines.iter().map(|line| &line["picture"]).eq(names));
    assert!(lines[0]["answer"].is_string() && lines[2]["answer"].is_string());
    assert!(lines[1]["error"].as_str().is_some_and(|error| error.contains("c.png")));
}

/// A checkpoint that ends every answer at once.
fn silent() -> TinyCheckpoint {
    let checkpoint = TinyCheckpoint::new();
    let config = std::fs::read_to_string(checkpoint.folder.path().join("config.json")).expect("it is there");
    checkpoint.write(
        "config.json",
        &config.replace("\"eos_token_id\":null", "\"eos_token_id\":0"),
    );
    checkpoint.save(|tensors| {
        let decoder = "language_model.model.decoder";
        let end = tensors[&format!("{decoder}.embed_tokens.weight")]
            .get(0)
            .expect("it has rows");
        // Whatever was read, what comes out is the end token's own embedding.
        let norm = format!("{decoder}.final_layer_norm");
        let nothing = end.zeros_like().expect("it has numbers");
        tensors.insert(format!("{norm}.weight"), nothing);
        tensors.insert(format!("{norm}.bias"), (end * 10.0).expect("it has numbers"));
    });
    checkpoint
}

#[test]
fn an_empty_answer_is_told_beside_the_answers() {
    let (model, picture) = (silent(), PictureFile::new());
    let output = ask(["--model", model.path(), picture.path(), "what?"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(output.stdout, b"\n");
    let message = stderr(&output);
    for word in ["gave no answer", "other words", "--min-new-tokens", "caption"] {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    let output = ask(["--json", "--model", model.path(), picture.path(), "what?"]);
    assert!(stderr(&output).contains("gave no answer"));
    let record: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(record["answer"], "");
}
