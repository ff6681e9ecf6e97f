//! What several models in one memory promise, with scripts in the models' places: each is loaded when it is
//! asked, makes room when it is idle, and never in the middle of an answer.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use glimpse::engine::scripted::{Gates, Script};
use glimpse::engine::{
    Description, Engine, EngineError, Engines, Event, Events, Health, LoadFailure, LoadedModel, ModelLoader,
    PoolLimits, Presence, QueueLimits, QueueState, ScriptedEngine, Submission, start_pool,
};
use glimpse::processor::Picture;

use crate::support::submission;

/// Longer than anything takes that happens at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where models wait until a test says otherwise.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A model that is a script, and is loaded when the test says so.
struct TestModel {
    description: Description,
    bytes: u64,
    limits: QueueLimits,
    gates: Gates,
    may_load: Mutex<bool>,
    changed: Condvar,
    fails: AtomicBool,
    loads: AtomicUsize,
}

impl TestModel {
    fn new(name: &str, bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            description: ScriptedEngine::describe(name),
            bytes,
            limits: LIMITS,
            gates: Gates::opened(),
            may_load: Mutex::new(true),
            changed: Condvar::new(),
            fails: AtomicBool::new(false),
            loads: AtomicUsize::new(0),
        })
    }

    /// Lets it be loaded, or lets its loading wait.
    fn lets_load(&self, may: bool) {
        *self.may_load.lock().expect("no test panics with it") = may;
        self.changed.notify_all();
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

impl ModelLoader for TestModel {
    fn description(&self) -> &Description {
        &self.description
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn prepare(&self, picture: &Picture) -> Picture {
        picture.clone()
    }

    fn load(&self, most_bytes: u64) -> Result<LoadedModel, LoadFailure> {
        assert!(most_bytes >= self.bytes);
        self.loads.fetch_add(1, Ordering::SeqCst);
        let may = self.may_load.lock().expect("no test panics with it");
        drop(self.changed.wait_while(may, |may| !*may));
        if self.fails.load(Ordering::SeqCst) {
            return Err("The disk is gone. Bring it back.".into());
        }
        let engine = ScriptedEngine::start(Script::default(), self.limits, self.gates.clone())?;
        Ok(engine.into())
    }
}

const LIMITS: QueueLimits = QueueLimits {
    waiting: 4,
    waiting_per_client: 3,
};

/// Models of these sizes in a memory of 10; the first is loaded.
fn pool<const N: usize>(sizes: [u64; N], patience: Duration) -> (Engines, [Arc<TestModel>; N]) {
    let mut names = ["a", "b", "c"].into_iter();
    let models = sizes.map(|bytes| TestModel::new(names.next().expect("there are three at most"), bytes));
    let loaders = models.iter().map(|model| Arc::clone(model) as Arc<dyn ModelLoader>);
    let limits = PoolLimits {
        queue: LIMITS,
        memory: 10,
        patience,
    };
    let engines = start_pool(loaders.collect(), 1, limits).expect("the first is loaded");
    (engines, models)
}

fn engine<'e>(engines: &'e Engines, name: &str) -> &'e Arc<dyn Engine> {
    engines.named(name).expect("it is one of them")
}

fn ask(engines: &Engines, name: &str, client: u128) -> Events {
    engine(engines, name)
        .submit(submission(client))
        .expect("there is a place")
}

/// A question that "a" has begun to answer, and goes on with when its gates open.
fn answering(engines: &Engines, a: &TestModel) -> Events {
    a.gates.close();
    let events = ask(engines, "a", 1);
    a.gates.begin(1);
    a.gates
        .wait_until(PATIENCE, |state| state.running == 1)
        .expect("it begins");
    events
}

/// The text of an answer, or why there is none.
fn rest(mut events: Events) -> Result<String, EngineError> {
    let mut text = String::new();
    while let Some(event) = events.blocking_recv() {
        match event {
            Event::Queued { .. } | Event::Loading | Event::Started { .. } | Event::Score(_) => {}
            Event::Token { text: piece, .. } => text.push_str(&piece),
            Event::Done(_) => return Ok(text),
            Event::Failed(error) => return Err(error),
        }
    }
    Err(EngineError::Gone)
}

fn answered(events: Events) {
    assert_eq!(rest(events).expect("it is answered"), "a scripted answer");
}

/// Waits until something is so, which it comes to be.
fn until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it does not come to be");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn presence(engines: &Engines) -> Vec<Presence> {
    engines.iter().map(|engine| engine.presence()).collect()
}

/// Looks so often that whoever decides has decided.
fn stays(engines: &Engines, expected: &[Presence]) {
    for _ in 0..100 {
        assert_eq!(presence(engines), expected);
        std::thread::sleep(Duration::from_millis(1));
    }
}

const LOADED: Presence = Presence::Loaded;
const UNLOADED: Presence = Presence::Unloaded;

#[test]
fn a_model_is_loaded_when_it_is_asked_and_others_answer_meanwhile() {
    let (engines, [_, b]) = pool([4, 4], FOR_EVER);
    b.lets_load(false);
    let mut waits = ask(&engines, "b", 1);
    assert!(matches!(waits.blocking_recv(), Some(Event::Queued { position: 1, .. })));
    assert!(matches!(waits.blocking_recv(), Some(Event::Loading)));
    until(|| presence(&engines) == [LOADED, Presence::Loading]);
    assert_eq!(engine(&engines, "b").queue(), QueueState { waiting: 1, running: 0 });
    let also = ask(&engines, "b", 2);
    answered(ask(&engines, "a", 1));
    assert!(waits.try_recv().is_err(), "it waits still");
    b.lets_load(true);
    answered(waits);
    answered(also);
    assert_eq!((presence(&engines), b.loads()), (vec![LOADED; 2], 1));
    answered(ask(&engines, "b", 1));
    assert_eq!(b.loads(), 1);
}

#[test]
fn who_waits_for_a_model_that_cannot_be_loaded_is_told_why_and_the_next_one_tries_again() {
    let (engines, [_, b]) = pool([4, 4], FOR_EVER);
    b.fails.store(true, Ordering::SeqCst);
    b.lets_load(false);
    let waiting = [ask(&engines, "b", 1), ask(&engines, "b", 2)];
    b.lets_load(true);
    for events in waiting {
        let error = rest(events).expect_err("it cannot be loaded").to_string();
        assert_eq!(error, "b could not be loaded: The disk is gone. Bring it back.");
    }
    assert_eq!(engine(&engines, "b").health(), Health::Ready, "another time it may be");
    answered(ask(&engines, "a", 1));
    b.fails.store(false, Ordering::SeqCst);
    answered(ask(&engines, "b", 1));
    assert_eq!(b.loads(), 2);
}

#[test]
fn the_model_that_was_asked_longest_ago_makes_room() {
    let (engines, [a, ..]) = pool([4, 4, 4], FOR_EVER);
    answered(ask(&engines, "b", 1));
    answered(ask(&engines, "a", 1));
    answered(ask(&engines, "c", 1));
    assert_eq!(presence(&engines), [LOADED, UNLOADED, LOADED]);
    answered(ask(&engines, "b", 1));
    assert_eq!(presence(&engines), [UNLOADED, LOADED, LOADED]);
    answered(ask(&engines, "a", 1));
    assert_eq!((presence(&engines), a.loads()), (vec![LOADED, LOADED, UNLOADED], 2));
}

#[test]
fn no_model_makes_room_in_the_middle_of_an_answer_or_while_somebody_waits_for_it() {
    let (engines, [a, b]) = pool([6, 6], FOR_EVER);
    a.gates.close();
    let running = ask(&engines, "a", 1);
    let waiting = ask(&engines, "a", 1);
    a.gates.begin(1);
    a.gates.release(1);
    a.gates.wait_until(PATIENCE, |state| state.sent == 1).expect("it comes");
    let mut other = ask(&engines, "b", 2);
    stays(&engines, &[LOADED, UNLOADED]);
    a.gates.release_answer();
    answered(running);
    stays(&engines, &[LOADED, UNLOADED]);
    assert!(matches!(other.try_recv(), Ok(Event::Queued { .. })));
    assert!(matches!(other.try_recv(), Ok(Event::Loading)));
    assert!(other.try_recv().is_err());
    a.gates.open();
    answered(waiting);
    answered(other);
    assert_eq!((presence(&engines), b.loads()), (vec![UNLOADED, LOADED], 1));
}

#[test]
fn a_model_that_is_always_asked_keeps_no_other_one_out() {
    let (engines, [a, b]) = pool([6, 6], Duration::ZERO);
    let first = answering(&engines, &a);
    let other = ask(&engines, "b", 2);
    // From some moment on, what is asked of the busy one waits behind the other.
    let mut later = Vec::new();
    until(|| {
        let mut events = engine(&engines, "a").submit(submission(later_client())).ok();
        let told = events.as_mut().map(|events| (events.try_recv(), events.try_recv()));
        matches!(told, Some((Ok(Event::Queued { .. }), Ok(Event::Loading))))
    });
    later.push(ask(&engines, "a", 3));
    a.gates.open();
    answered(first);
    answered(other);
    for events in later {
        answered(events);
    }
    assert_eq!((a.loads(), b.loads()), (2, 1));
}

/// Of a question that is withdrawn at once.
fn later_client() -> u128 {
    99
}

#[test]
fn a_model_that_nobody_waits_for_any_more_is_not_loaded() {
    let (engines, [a, b]) = pool([6, 6], FOR_EVER);
    let running = answering(&engines, &a);
    let gone = ask(&engines, "b", 2);
    let late = engine(&engines, "b").submit(Submission {
        deadline: Some(Instant::now()),
        ..submission(3)
    });
    assert!(matches!(
        rest(late.expect("there is a place")),
        Err(EngineError::Deadline)
    ));
    drop(gone);
    until(|| engine(&engines, "b").queue() == QueueState::default());
    a.gates.open();
    answered(running);
    stays(&engines, &[LOADED, UNLOADED]);
    assert_eq!(b.loads(), 0);
}

#[test]
fn as_many_wait_for_a_model_as_for_one_that_is_loaded() {
    let (engines, [_, b]) = pool([4, 4], FOR_EVER);
    b.lets_load(false);
    let waiting = [1, 1, 1].map(|client| ask(&engines, "b", client));
    let refused = |client| engine(&engines, "b").submit(submission(client)).err();
    assert!(matches!(refused(1), Some(EngineError::ClientQueueFull { limit: 3 })));
    let other = ask(&engines, "b", 2);
    assert!(matches!(refused(3), Some(EngineError::QueueFull { limit: 4 })));
    b.lets_load(true);
    waiting.into_iter().for_each(answered);
    answered(other);
}

#[test]
fn a_model_that_is_larger_than_the_memory_is_refused_with_the_flag() {
    let (engines, [_, b]) = pool([4, 11], FOR_EVER);
    let error = rest(ask(&engines, "b", 1)).expect_err("it does not fit").to_string();
    assert!(error.contains("--model-memory"), "{error}");
    assert_eq!((presence(&engines), b.loads()), (vec![LOADED, UNLOADED], 0));
    answered(ask(&engines, "a", 1));
}

#[test]
fn models_that_are_loaded_at_the_start_have_to_fit_together() {
    let models = [TestModel::new("a", 6), TestModel::new("b", 6)];
    let loaders: Vec<_> = models
        .iter()
        .map(|model| Arc::clone(model) as Arc<dyn ModelLoader>)
        .collect();
    let limits = |memory| PoolLimits {
        queue: LIMITS,
        memory,
        patience: FOR_EVER,
    };
    let refused = start_pool(loaders.clone(), 2, limits(10))
        .err()
        .expect("they do not")
        .to_string();
    assert!(refused.contains("--preload"), "{refused}");
    let engines = start_pool(loaders, 2, limits(12)).expect("they do");
    assert_eq!(presence(&engines), [LOADED, LOADED]);
}

#[test]
fn whoever_waits_for_a_model_when_all_ends_learns_it() {
    let (engines, [_, b]) = pool([4, 4], FOR_EVER);
    b.lets_load(false);
    let waits = ask(&engines, "b", 1);
    until(|| presence(&engines)[1] == Presence::Loading);
    drop(engines);
    b.lets_load(true);
    let ended = rest(waits);
    assert!(matches!(ended, Err(EngineError::Gone) | Ok(_)), "{ended:?}");
}
