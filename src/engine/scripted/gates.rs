//! What a test lets through.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Script;
use crate::engine::{EngineError, Event, QueueState};
use crate::generation::GenerationError;

/// The gates of a [`ScriptedEngine`](super::ScriptedEngine), in the hands of a test. Clones are
/// the same gates.
#[derive(Clone)]
pub struct Gates(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    script: Script,
    /// Everything goes through, and nothing is counted.
    is_open: bool,
    /// How many more answers may begin.
    begins: usize,
    /// How many more tokens may come.
    tokens: usize,
    /// All tokens of the answer that is running, or of the next, may come.
    releases_answer: bool,
    failure: Option<Failure>,
    is_broken: bool,
    seen: GatesState,
}

/// What became of the questions so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GatesState {
    pub waiting: usize,
    pub running: usize,
    /// The question that is being answered.
    pub question: Option<String>,
    /// Tokens of the answer that is running.
    pub sent: usize,
    /// Counted from the start, as those that follow.
    pub begun: usize,
    pub answered: usize,
    pub failed: usize,
    pub cancelled: usize,
}

/// How an answer fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    #[default]
    Panicked,
    PromptTooLong,
    TooMuchMemory,
    Deadline,
    Gone,
    /// As the device says it, of this question alone.
    Device,
    /// The thread that answers panics, and is gone for all questions.
    Dies,
}

impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Panicked => Self::Panicked,
            Failure::PromptTooLong => GenerationError::PromptTooLong {
                tokens: 3000,
                limit: 2047,
            }
            .into(),
            Failure::TooMuchMemory => GenerationError::TooMuchMemory {
                rows: 10,
                needed: 12_000_000_000,
                budget: 1_000_000_000,
            }
            .into(),
            Failure::Deadline => Self::Deadline,
            Failure::Gone | Failure::Dies => Self::Gone,
            Failure::Device => candle_core::Error::Msg("the script says that the device failed".into()).into(),
        }
    }
}

/// What a gate does with the next token.
pub(super) enum Passage {
    Open,
    Closed,
    Fails(Failure),
}

impl Gates {
    /// Nothing goes through before it is let.
    pub fn closed() -> Self {
        Self::new(false)
    }

    /// Everything goes through.
    pub fn opened() -> Self {
        Self::new(true)
    }

    fn new(is_open: bool) -> Self {
        let state = State {
            script: Script::default(),
            is_open,
            begins: 0,
            tokens: 0,
            releases_answer: false,
            failure: None,
            is_broken: false,
            seen: GatesState::default(),
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is a single step, so that a panic elsewhere leaves nothing half done.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.0.changed.notify_all();
    }

    /// Lets so many questions begin, now or when they come.
    pub fn begin(&self, answers: usize) {
        self.change(|state| state.begins += answers);
    }

    /// Lets so many tokens come, now or when it is their turn.
    pub fn release(&self, tokens: usize) {
        self.change(|state| state.tokens += tokens);
    }

    /// Lets all tokens of the answer come that is running, or of the next.
    pub fn release_answer(&self) {
        self.change(|state| state.releases_answer = true);
    }

    /// Ends the answer that is running, or the next, with an error.
    pub fn fail(&self, failure: Failure) {
        self.change(|state| state.failure = Some(failure));
    }

    /// The device fails for good.
    pub fn break_device(&self) {
        self.change(|state| state.is_broken = true);
    }

    /// Everything goes through from now on.
    pub fn open(&self) {
        self.change(|state| state.is_open = true);
    }

    /// Nothing goes through any more before it is let.
    pub fn close(&self) {
        self.change(|state| {
            (state.is_open, state.releases_answer) = (false, false);
            (state.begins, state.tokens) = (0, 0);
        });
    }

    /// Adds to what is answered to which question.
    pub fn add_answers(&self, answers: HashMap<String, Vec<String>>) {
        self.change(|state| state.script.answers.extend(answers));
    }

    pub(super) fn read(&self, script: Script) {
        self.change(|state| state.script = script);
    }

    /// What has become of the questions by now.
    pub fn state(&self) -> GatesState {
        self.lock().seen.clone()
    }

    /// Waits until the questions are in a state, and gives it.
    ///
    /// # Errors
    /// The state when the time was over.
    pub fn wait_until(&self, time: Duration, is_it: impl Fn(&GatesState) -> bool) -> Result<GatesState, GatesState> {
        let end = Instant::now() + time;
        let mut state = self.lock();
        while !is_it(&state.seen) {
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                return Err(state.seen.clone());
            };
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(state.seen.clone())
    }

    pub(super) fn is_broken(&self) -> bool {
        self.lock().is_broken
    }

    /// Takes out the next question where one may begin; nothing begins once the gates are closed.
    pub(super) fn begin_next<T>(&self, take: impl FnOnce() -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        if !state.is_open && state.begins == 0 {
            return None;
        }
        let next = take()?;
        state.begins = state.begins.saturating_sub(1);
        Some(next)
    }

    pub(super) fn take_token(&self) -> Passage {
        let mut state = self.lock();
        if let Some(failure) = state.failure.take() {
            return Passage::Fails(failure);
        }
        if state.is_open || state.releases_answer {
            return Passage::Open;
        }
        match state.tokens.checked_sub(1) {
            Some(left) => {
                state.tokens = left;
                Passage::Open
            }
            None => Passage::Closed,
        }
    }

    pub(super) fn answer_to(&self, question: &str) -> Vec<String> {
        let state = self.lock();
        let answer = state.script.answers.get(question);
        answer.unwrap_or(&state.script.otherwise).clone()
    }

    pub(super) fn show_queue(&self, queue: QueueState) {
        let mut state = self.lock();
        let seen = &mut state.seen;
        if (seen.waiting, seen.running) != (queue.waiting, queue.running) {
            (seen.waiting, seen.running) = (queue.waiting, queue.running);
            drop(state);
            self.0.changed.notify_all();
        }
    }

    pub(super) fn begun(&self, question: &str, queue: QueueState) {
        self.change(|state| {
            state.seen.question = Some(question.to_owned());
            state.seen.sent = 0;
            state.seen.begun += 1;
            (state.seen.waiting, state.seen.running) = (queue.waiting, queue.running);
        });
    }

    pub(super) fn sent(&self) {
        self.change(|state| state.seen.sent += 1);
    }

    /// An answer has ended; without a last event nobody waited for it any more.
    pub(super) fn ended(&self, last: Option<&Event>, queue: QueueState) {
        self.change(|state| {
            let seen = &mut state.seen;
            match last {
                Some(Event::Done(_)) => seen.answered += 1,
                Some(_) => seen.failed += 1,
                None => seen.cancelled += 1,
            }
            (seen.question, seen.sent) = (None, 0);
            (seen.waiting, seen.running) = (queue.waiting, queue.running);
            state.releases_answer = false;
        });
    }

    /// Waits for a change, or for as long as this.
    pub(super) fn wait_for_change(&self, time: Duration) {
        drop(self.0.changed.wait_timeout(self.lock(), time));
    }
}
