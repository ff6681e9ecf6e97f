//! What engines promise to whoever submits questions, with a script in the model's place and
//! with a small model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use glimpse::engine::scripted::{Failure, Gates, GatesState, Script};
use glimpse::engine::{
    Engine, EngineError, Event, Events, Health, Instruction, QueueLimits, QueueState, ScriptedEngine, Submission,
};
use glimpse::generation::{FinishReason, GenerationOptions};
use glimpse::processor::{Exchange, Picture};
use serde_json::Value;

use crate::decoding::asking;
use crate::support::page::{ask, begin, question};
use crate::support::ports::Port;
use crate::support::script::ScriptControl;
use crate::support::{glimpse, stderr, submission};

/// Longer than anything takes that happens at all.
const PATIENCE: Duration = Duration::from_secs(60);

fn scripted(limits: (usize, usize)) -> (ScriptedEngine, Gates) {
    let gates = Gates::closed();
    let limits = QueueLimits {
        waiting: limits.0,
        waiting_per_client: limits.1,
    };
    let engine = ScriptedEngine::start(Script::default(), limits, gates.clone());
    (engine.expect("there is a thread"), gates)
}

fn submit(engine: &ScriptedEngine, client: u128) -> Events {
    engine.submit(submission(client)).expect("there is a place")
}

fn wait(gates: &Gates, is_it: impl Fn(&GatesState) -> bool) -> GatesState {
    gates.wait_until(PATIENCE, is_it).expect("it comes to be")
}

/// The positions that were told so far, and nothing else was.
fn positions(events: &mut Events) -> Vec<usize> {
    let told = std::iter::from_fn(|| events.try_recv().ok());
    told.map(|event| match event {
        Event::Queued { position, .. } => position,
        other => panic!("{other:?}"),
    })
    .collect()
}

/// The events to the end, positions left out: texts, and how it ended.
fn rest(mut events: Events) -> (Vec<String>, Result<glimpse::engine::Summary, EngineError>) {
    let mut texts = Vec::new();
    while let Some(event) = events.blocking_recv() {
        match event {
            Event::Queued { .. } | Event::Loading | Event::Started { .. } | Event::Score(_) => {}
            Event::Token { text, .. } => texts.push(text),
            Event::Done(summary) => return (texts, Ok(summary)),
            Event::Failed(error) => return (texts, Err(error)),
        }
    }
    (texts, Err(EngineError::Gone))
}

#[test]
fn visitors_are_served_in_turn_however_many_questions_one_of_them_has() {
    let (engine, gates) = scripted((9, 9));
    let mut eager = [(); 3].map(|()| submit(&engine, 1));
    let mut other = submit(&engine, 2);
    assert_eq!(eager.each_mut().map(positions), [vec![1], vec![2, 3], vec![3, 4]]);
    assert_eq!(positions(&mut other), [2]);
    let mut order = Vec::new();
    for begun in 1..=4 {
        gates.begin(1);
        order.extend(wait(&gates, |state| state.begun == begun).question);
        gates.release_answer();
        wait(&gates, |state| state.answered == begun);
    }
    assert_eq!(order, ["1", "2", "1", "1"]);
}

#[test]
fn tokens_come_when_they_are_released_and_end_with_the_text() {
    let (engine, gates) = scripted((9, 9));
    let mut events = submit(&engine, 1);
    assert_eq!(positions(&mut events), [1], "nothing begins of itself");
    gates.begin(1);
    let Some(Event::Started {
        prompt, num_beams: 1, ..
    }) = events.blocking_recv()
    else {
        panic!("it has not begun");
    };
    assert_eq!(prompt, "Question: 1 Answer:");
    gates.release(2);
    wait(&gates, |state| state.sent == 2);
    assert_eq!(engine.queue(), QueueState { waiting: 0, running: 1 });
    gates.release(1);
    let (texts, summary) = rest(events);
    let summary = summary.expect("it was answered");
    assert_eq!(texts, ["a", " scripted", " answer"]);
    assert_eq!(summary.answers[0].text, texts.concat());
    assert_eq!(
        (summary.finish_reason, summary.generated_tokens),
        (FinishReason::Stop, 3)
    );
}

#[test]
fn whoever_has_gone_holds_no_place_and_ends_his_answer() {
    let (engine, gates) = scripted((1, 1));
    let running = submit(&engine, 1);
    gates.begin(1);
    wait(&gates, |state| state.running == 1);
    let waiting = submit(&engine, 2);
    let refused = engine.submit(submission(3)).err();
    assert!(
        matches!(refused, Some(EngineError::QueueFull { limit: 1 })),
        "{refused:?}"
    );
    drop(waiting);
    let next = submit(&engine, 3);
    drop(running);
    wait(&gates, |state| state.cancelled == 1);
    gates.open();
    assert!(rest(next).1.is_ok());
}

#[test]
fn a_visitor_has_so_many_questions_waiting_and_others_have_theirs() {
    let (engine, _gates) = scripted((9, 2));
    let _waiting = [submit(&engine, 1), submit(&engine, 1)];
    let refused = engine.submit(submission(1)).err();
    assert!(
        matches!(refused, Some(EngineError::ClientQueueFull { limit: 2 })),
        "{refused:?}"
    );
    submit(&engine, 2);
}

#[test]
fn what_has_not_begun_in_time_fails_and_what_has_goes_on() {
    let (engine, gates) = scripted((9, 9));
    let in_time = submit(&engine, 1);
    gates.begin(1);
    wait(&gates, |state| state.running == 1);
    let late = Submission {
        deadline: Some(Instant::now()),
        ..submission(2)
    };
    let late = engine.submit(late).expect("there is a place");
    assert!(matches!(rest(late), (_, Err(EngineError::Deadline))));
    gates.open();
    assert!(rest(in_time).1.is_ok());
}

#[test]
fn beams_come_all_at_once_and_other_answers_at_the_end() {
    let (engine, gates) = scripted((9, 9));
    let mut search = submission(1);
    search.options.num_beams = 3;
    search.options.num_return_sequences = 2;
    search.options.max_new_tokens = 2;
    let mut events = engine.submit(search).expect("there is a place");
    gates.begin(1);
    gates.release(1);
    wait(&gates, |state| state.sent == 1);
    let so_far: Vec<Event> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    assert!(
        matches!(so_far[..], [Event::Queued { .. }, Event::Started { num_beams: 3, .. }]),
        "{so_far:?}"
    );
    gates.release(1);
    let (texts, summary) = rest(events);
    let summary = summary.expect("it was answered");
    assert_eq!(texts, ["a", " scripted"]);
    let answers: Vec<&str> = summary.answers.iter().map(|answer| answer.text.as_str()).collect();
    assert_eq!(answers, ["a scripted", "a scripted (2)"]);
    assert_eq!(summary.finish_reason, FinishReason::Length);
}

#[test]
fn a_failure_is_one_questions_and_a_broken_device_is_everybodys() {
    let (engine, gates) = scripted((9, 9));
    let [failing, next] = [submit(&engine, 1), submit(&engine, 2)];
    gates.begin(2);
    gates.fail(Failure::Panicked);
    assert!(matches!(rest(failing), (_, Err(EngineError::Panicked))));
    assert_eq!(engine.health(), Health::Ready);
    gates.release_answer();
    assert!(rest(next).1.is_ok());
    gates.break_device();
    assert!(matches!(engine.health(), Health::Failed(_)));
    let refused = engine.submit(submission(1)).err();
    assert!(matches!(refused, Some(EngineError::DeviceFailed)), "{refused:?}");
}

#[test]
fn a_question_that_the_model_cannot_answer_leaves_the_next_one_to_be_answered() {
    let (engine, _checkpoint) = asking::engine(9).expect("it is a sound checkpoint");
    let options = GenerationOptions {
        max_new_tokens: 2,
        ..GenerationOptions::default()
    };
    let mut broken = asking::question(1, options.clone());
    broken.picture = Arc::new(Picture {
        width: 16,
        height: 16,
        rgb: vec![0; 5],
    });
    let broken = engine.submit(broken).expect("there is a place");
    assert!(matches!(
        rest(broken),
        (_, Err(EngineError::Generation(_) | EngineError::Panicked))
    ));
    let next = asking::submit(&engine, asking::question(1, options)).expect("there is a place");
    assert!(rest(next).1.is_ok());
    assert_eq!(engine.health(), Health::Ready);
}

#[test]
fn earlier_turns_and_stop_strings_are_the_engines_to_read() {
    let (engine, _checkpoint) = asking::engine(9).expect("it is a sound checkpoint");
    let exchange = |number: usize| Exchange {
        question: format!("{number}?"),
        answer: "yes".into(),
    };
    let asked = |context_turns, stop_strings: Vec<String>| {
        let options = GenerationOptions {
            max_new_tokens: 40,
            ..GenerationOptions::default()
        };
        let mut question = asking::question(1, options);
        question.instruction = Instruction::Question {
            question: "last?".into(),
            earlier: (1..=3).map(exchange).collect(),
            context_turns,
        };
        question.stop_strings = stop_strings;
        asking::submit(&engine, question).expect("there is a place")
    };
    let mut events = asked(Some(1), Vec::new());
    let prompt = loop {
        match events.blocking_recv() {
            Some(Event::Started { prompt, .. }) => break prompt,
            Some(Event::Queued { .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(prompt, "Question: 3? Answer: yes Question: last? Answer:");
    let (texts, whole) = rest(events);
    assert_eq!(whole.expect("it was answered").finish_reason, FinishReason::Length);
    // The model says any byte: a letter is a text that is sure to be whole.
    let letter = texts.iter().find(|text| text.chars().any(char::is_alphanumeric));
    let letter = letter.expect("it says a letter").clone();
    let (texts, stopped) = rest(asked(Some(1), vec![letter.clone()]));
    let stopped = stopped.expect("it was answered");
    assert_eq!(stopped.finish_reason, FinishReason::Stop);
    assert!(texts.concat().ends_with(&letter), "{texts:?}");
    assert_eq!(stopped.answers.len(), 1);
}

#[test]
fn a_server_with_a_script_answers_when_its_control_says_so() {
    let (server, script) = ScriptControl::start(&[]);
    script.answer("hi", &["two", " circles", " at", " least"]);
    let mut events = ask(&server, &question(&begin(&server), 9));
    assert_eq!(events.next().map(|event| event["event"].clone()), Some("queued".into()));
    script.post("begin");
    assert_eq!(script.wait("begun=1")["question"], "hi");
    script.post("release?tokens=2");
    let text = |event: Value| event["text"].as_str().map(str::to_owned);
    let texts: Vec<String> = events.by_ref().filter_map(text).take(2).collect();
    assert_eq!(texts, ["two", " circles"]);
    script.post("fail?error=panicked");
    let last = events.last().expect("it ends");
    assert_eq!(last["event"], "error", "{last}");
    assert_eq!(script.wait("failed=1")["answered"], 0);
}

#[test]
fn a_script_is_controlled_from_this_machine_alone_and_only_where_it_is_chosen() {
    for (arguments, words) in [
        (
            &["--engine", "scripted", "--script-control", "0.0.0.0:0"][..],
            "not on this machine alone",
        ),
        (&["--script-control", "127.0.0.1:0"], "--engine scripted"),
        (&["--engine", "wishful"], "local, scripted"),
        (&["--engine", "scripted:/nowhere/script.json"], "/nowhere/script.json"),
    ] {
        let port = Port::reserve();
        let address = format!("127.0.0.1:{}", port.number);
        let serve = ["serve", "--addr", &address];
        let output = glimpse().args(serve).args(arguments).output();
        let output = output.expect("the program starts");
        assert!(!output.status.success(), "{arguments:?}");
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}
