//! A matching model behind its queue: the small one that Glimpse brings along.

use std::path::Path;

use super::*;
use crate::checkpoint::Source;
use crate::engine::{BatchLimits, ClientKey, Engine, Events, LocalEngine, QueueLimits, QueueState, Submission};
use crate::models::{self, DtypeChoice, MatchScore, ModelRequest, OpenModel};

const QUEUE: QueueLimits = QueueLimits {
    waiting: 9,
    waiting_per_client: 9,
};

fn matcher() -> OpenModel {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo-model/matcher");
    let source = Source::Folder(folder);
    models::open(ModelRequest::on_cpu(source, DtypeChoice::Auto)).expect("it is part of the source")
}

fn engine() -> LocalEngine {
    LocalEngine::start(matcher(), QUEUE, BatchLimits::default()).expect("there are threads")
}

/// A picture of one colour.
fn picture(colour: [u8; 3]) -> Picture {
    Picture {
        width: 40,
        height: 30,
        rgb: colour.repeat(40 * 30),
    }
}

fn ask(engine: &LocalEngine, instruction: Instruction, deadline: Option<Instant>) -> Events {
    let submission = Submission {
        client: ClientKey::from(1),
        network: None,
        deadline,
        picture: Arc::new(engine.prepare(&picture([200, 30, 30]))),
        instruction,
        options: Default::default(),
        stop_strings: Vec::new(),
    };
    engine.submit(submission).expect("there is room")
}

fn comparing(texts: &[&str]) -> Instruction {
    let texts = texts.iter().map(|text| (*text).to_owned()).collect();
    Instruction::Compare { texts }
}

/// The scores to the end, and how it ended.
fn rest(mut events: Events) -> (Vec<TextScore>, Result<Summary, EngineError>) {
    let mut scores = Vec::new();
    while let Some(event) = events.blocking_recv() {
        match event {
            Event::Queued { .. } | Event::Loading | Event::Started { .. } | Event::Token { .. } => {}
            Event::Score(score) => scores.push(score),
            Event::Done(summary) => return (scores, Ok(summary)),
            Event::Failed(error) => return (scores, Err(error)),
        }
    }
    (scores, Err(EngineError::Gone))
}

const TEXTS: [&str; 3] = ["a red square", "four snails", "a red square"];

#[test]
fn each_text_has_the_score_that_the_model_gives_it_and_a_picture_is_encoded_once() {
    let model = matcher();
    let seen = model.processor.image.resize(&picture([200, 30, 30]));
    let comparer = model.network.comparer().expect("it compares");
    let pixel_values = model.processor.image.pixel_values(&seen).expect("it is a picture");
    let seen = comparer.picture(&pixel_values).expect("it is a picture");
    let expected = TEXTS.map(|text| {
        let ids = model.processor.text.text_ids(text).expect("it is text");
        let text = comparer.text(&ids).expect("it is short");
        comparer.score(&seen, &text).expect("they are its own")
    });
    let engine = engine();
    for _ in 0..2 {
        let (scores, end) = rest(ask(&engine, comparing(&TEXTS), None));
        let found: Vec<MatchScore> = scores
            .iter()
            .map(|score| MatchScore {
                probability: score.probability,
                cosine: score.cosine,
            })
            .collect();
        assert_eq!(found, expected);
        let texts: Vec<&str> = scores.iter().map(|score| score.text.as_str()).collect();
        assert_eq!(texts, TEXTS);
        assert_eq!(end.expect("nothing is wrong").finish_reason, FinishReason::Stop);
    }
    assert_eq!(engine.queue(), QueueState::default());
}

#[test]
fn what_cannot_be_compared_is_refused_in_a_sentence_and_the_next_is_compared() {
    let engine = engine();
    let said = |instruction| {
        let (scores, end) = rest(ask(&engine, instruction, None));
        assert_eq!(scores, []);
        end.expect_err("it is refused").to_string()
    };
    let long = "a dog and a cat ".repeat(200);
    let too_long = said(comparing(&["a dog", &long]));
    assert!(
        too_long.contains("a dog and a cat") && too_long.contains("at most 160"),
        "{too_long}"
    );
    assert!(said(Instruction::question("what?")).contains("compares pictures with texts"));
    assert!(said(Instruction::Caption { prefix: None }).contains("compares pictures with texts"));
    assert_eq!(rest(ask(&engine, comparing(&["a dog"]), None)).0.len(), 1);
}

#[test]
fn whoever_goes_or_comes_too_late_leaves_the_model_to_others() {
    let engine = engine();
    let gone = ask(&engine, comparing(&["a dog"; 999]), None);
    let late = ask(&engine, comparing(&["a dog"]), Some(Instant::now()));
    let last = ask(&engine, comparing(&["a dog"]), None);
    drop(gone);
    assert!(matches!(rest(late).1, Err(EngineError::Deadline)));
    assert_eq!(rest(last).0.len(), 1);
    assert_eq!(engine.queue(), QueueState::default());
}

#[test]
fn pictures_that_are_encoded_ahead_are_compared_as_others() {
    let pictures = [[1, 2, 3], [200, 30, 30], [9, 9, 9]].map(picture).into_iter();
    let ahead = LocalEngine::start_with(matcher(), QUEUE, BatchLimits::default(), pictures).expect("there are threads");
    let scores = |engine: &LocalEngine| rest(ask(engine, comparing(&TEXTS), None)).0;
    assert_eq!(scores(&ahead), scores(&engine()));
    // And once more, when all are ready.
    assert_eq!(scores(&ahead), scores(&engine()));
}
