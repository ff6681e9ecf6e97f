//! Folders that a Glimpse from before the database wrote (`older/`).

use std::path::PathBuf;

use super::*;
use crate::processor::{Picture, PictureLimits};

const ID: &str = "0765e9d1d70629de3fd989e9e7bf9b2c";

/// Copies the folder that was kept, under an id.
fn put_into(folder: &Path, id: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/store/sqlite/tests/older")
        .join(ID);
    let to = folder.join(id);
    std::fs::create_dir_all(&to).expect("it is ours");
    for name in ["conversation.json", "picture.png", "preview.jpg"] {
        std::fs::copy(from.join(name), to.join(name)).expect("it is part of the source");
    }
    to
}

fn id(text: &str) -> ConversationId {
    ConversationId::parse(text).expect("it is one")
}

/// Folders in which imported ones are kept.
fn kept(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("it is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    paths
        .filter(|path| path.to_string_lossy().contains("/imported-2"))
        .collect()
}

#[tokio::test]
async fn conversations_of_an_older_glimpse_are_imported_once_and_kept() {
    let folder = folder();
    let older = put_into(folder.path(), ID);
    let file = std::fs::read(older.join("picture.png")).expect("it is there");
    let preview = std::fs::read(older.join("preview.jpg")).expect("it is there");
    let store = open(folder.path()).await;
    let imported = store.conversation(&id(ID)).await.expect("it was imported");
    assert_eq!(imported.owner, VisitorId::NOBODY);
    assert_eq!((imported.picture.width, imported.picture.height), (40, 30));
    let pixels = Picture::decode(&file, &PictureLimits::default()).expect("it is a picture");
    assert_eq!(imported.picture.id.0, pixels.pixel_hash());
    assert_eq!(store.picture(&imported.picture.id).await.expect("it is kept"), file);
    assert_eq!(
        store.preview(&imported.picture.preview).await.expect("it is kept"),
        preview
    );

    let said = imported.turns.iter().map(|turn| {
        let answer = &turn.answers[0];
        (turn.question.as_str(), answer.text.as_str(), answer.state.clone())
    });
    let expected = [
        ("what is \"this\"?", "a crown", FinishReason::Stop),
        (
            "",
            "a donut, a flower, a blue rectangle, two purple rectangles and two teal rectangles",
            FinishReason::Stop,
        ),
        ("and what colour?", "red", FinishReason::Length),
        ("how many?", "0", FinishReason::Stop),
    ];
    let expected = expected.map(|(question, text, reason)| (question, text, AnswerState::Done(reason)));
    assert_eq!(said.collect::<Vec<_>>(), expected);
    let parents: Vec<_> = imported.turns.iter().skip(1).map(|turn| turn.parent.clone()).collect();
    let before: Vec<_> = imported
        .turns
        .iter()
        .take(3)
        .map(|turn| Some(turn.id.clone()))
        .collect();
    assert_eq!((parents, &imported.turns[0].parent), (before, &None));
    let last = &imported.turns[3].answers[0];
    assert_eq!(
        (last.seed, &last.further_texts[..]),
        (Some(7), &["0".to_owned(), "0".to_owned()][..])
    );
    assert_eq!(
        imported.turns[0].answers[0].prompt.as_deref(),
        Some("Question: what is \"this\"? Answer:")
    );

    assert!(!older.exists());
    let kept = kept(folder.path());
    assert_eq!(kept.len(), 1);
    assert_eq!(
        std::fs::read(kept[0].join(ID).join("picture.png")).expect("it is kept"),
        file
    );
    store.close().await;
    drop(store);

    let store = open(folder.path()).await;
    assert_eq!(store.conversation(&id(ID)).await.expect("it was imported"), imported);
    let owner = visitor();
    store.adopt(&id(ID), &owner).await.expect("it is nobody's");
    store.close().await;
}

#[tokio::test]
async fn an_import_that_was_cut_short_goes_on() {
    let folder = folder();
    put_into(folder.path(), ID);
    let store = open(folder.path()).await;
    let imported = store.conversation(&id(ID)).await.expect("it was imported");
    store.close().await;
    drop(store);
    // As if the process had been killed before the folder was moved.
    let kept = kept(folder.path()).remove(0).join(ID);
    std::fs::rename(&kept, folder.path().join(ID)).expect("it is ours");
    let store = open(folder.path()).await;
    assert_eq!(store.conversation(&id(ID)).await.expect("it is kept"), imported);
    assert!(kept.exists() && !folder.path().join(ID).exists());
    store.close().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_left_and_the_rest_is_imported() {
    let folder = folder();
    put_into(folder.path(), ID);
    let (cut, payload, empty) = ("1".repeat(32), "2".repeat(32), "3".repeat(32));
    let json = put_into(folder.path(), &cut).join("conversation.json");
    std::fs::write(&json, &std::fs::read(&json).expect("it is there")[..99]).expect("it is ours");
    std::fs::write(put_into(folder.path(), &payload).join("preview.jpg"), "<script>").expect("it is ours");
    std::fs::create_dir(folder.path().join(&empty)).expect("it is ours");
    let store = open(folder.path()).await;
    assert!(is_kept(&store, &id(ID)).await);
    for damaged in [&cut, &payload, &empty] {
        assert!(!is_kept(&store, &id(damaged)).await);
        assert!(folder.path().join(damaged).exists());
    }
    store.close().await;
}

#[tokio::test]
async fn what_an_older_answer_came_to_is_said_in_a_code() {
    let folder = folder();
    let json = put_into(folder.path(), ID).join("conversation.json");
    let turns = [
        r#"{"question": "1", "answer": "tw", "state": "answering"}"#,
        r#"{"question": "2", "answer": "", "state": "done", "finish_reason": "interrupted"}"#,
        r#"{"question": "3", "answer": "", "state": "failed", "error": {"kind": "overloaded", "message": "The answer took longer than the 600 seconds that it may (--max-answer-seconds). Try again later."}}"#,
        r#"{"question": "4", "answer": "", "state": "failed", "error": {"kind": "internal", "message": "The model failed."}}"#,
        r#"{"question": "5", "answer": "", "state": "failed", "error": {"kind": "question_refused", "message": "It is too long."}}"#,
    ];
    let text = format!(r#"{{"width": 40, "height": 30, "turns": [{}]}}"#, turns.join(", "));
    std::fs::write(json, text).expect("it is ours");
    let store = open(folder.path()).await;
    let imported = store.conversation(&id(ID)).await.expect("it was imported");
    let states: Vec<_> = imported
        .turns
        .iter()
        .map(|turn| turn.answers[0].state.clone())
        .collect();
    let expected = [
        AnswerState::Done(FinishReason::Interrupted),
        AnswerState::Done(FinishReason::Interrupted),
        AnswerState::Failed(Error::TooSlow { seconds: 600 }),
        AnswerState::Failed(Error::model_failed()),
        AnswerState::Failed(Error::QuestionRefused {
            detail: "It is too long.".to_owned().into(),
        }),
    ];
    assert_eq!(states, expected);
    store.close().await;
}
