//! Which step of the model runs, and since when: one that takes too long is told while it runs.
//!
//! The model's thread notes each step as it begins ([`StepWatch::begin`]), which costs next to
//! nothing; a thread of its own looks once a second ([`StepWatch::report`]). Nothing is ended: a step
//! cannot be interrupted, and one that is slow, as on a machine that swaps, is no failure.

use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::counter;

use crate::chat::RequestId;

/// How many times `--max-gap` a step may take before it counts as slow. Running answers wait for a
/// layer of a prompt or a picture no longer than that gap where the device is up to its model.
const GAPS: u32 = 10;

/// What a step may take at least, however short the gap: a pass of the largest model, in f32 on a
/// few cores, takes a second or two.
const LEAST: Duration = Duration::from_secs(5);

/// How often somebody looks.
const LOOK: Duration = Duration::from_secs(1);

/// What the model's thread is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Between two passes: questions become prompts, and threads are waited for.
    Scheduling,
    /// A pass of all answers that go on.
    Tokens,
    /// A layer of prompts.
    Prompt,
    /// A layer of a picture.
    Picture,
    /// A text that is compared with a picture.
    Text,
    /// A layer of a picture that nobody has asked about yet.
    Ahead,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheduling => "scheduling",
            Self::Tokens => "a pass of answers",
            Self::Prompt => "a layer of prompts",
            Self::Picture => "a layer of a picture",
            Self::Text => "comparing a text",
            Self::Ahead => "a layer of an example picture",
        })
    }
}

/// What a model does at this moment, and how often it took long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steps {
    pub running: Option<RunningStep>,
    /// Steps that have taken longer than `limit`, since the start.
    pub slow: u64,
    pub limit: Duration,
}

/// A step that runs.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningStep {
    pub work: Work,
    /// Of the matrices that it multiplies: tokens of a prompt, or answers, each beam one.
    pub rows: usize,
    /// Whose they are, as far as they came in requests.
    pub requests: Vec<Arc<RequestId>>,
    pub age: Duration,
}

/// Knows the step that runs; shared by the model's thread and whoever looks at it.
pub struct StepWatch {
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    step: Option<Step>,
    slow: u64,
}

struct Step {
    work: Work,
    rows: usize,
    requests: Vec<Arc<RequestId>>,
    began: Instant,
    /// How old it is when it is told (again).
    next_report: Duration,
}

impl Step {
    fn at(&self, now: Instant) -> RunningStep {
        RunningStep {
            work: self.work,
            rows: self.rows,
            requests: self.requests.clone(),
            age: now.saturating_duration_since(self.began),
        }
    }
}

impl StepWatch {
    /// For an engine whose answers wait so long for prompts and pictures.
    pub fn new(max_gap: Duration) -> Self {
        Self {
            limit: max_gap.saturating_mul(GAPS).max(LEAST),
            state: Mutex::default(),
        }
    }

    /// A step begins, and the one before has ended.
    pub fn begin(&self, work: Work, rows: usize, requests: Vec<Arc<RequestId>>) {
        self.begin_at(Instant::now(), work, rows, requests);
    }

    fn begin_at(&self, now: Instant, work: Work, rows: usize, requests: Vec<Arc<RequestId>>) {
        self.replace(
            now,
            Some(Step {
                work,
                rows,
                requests,
                began: now,
                next_report: self.limit,
            }),
        );
    }

    /// There is nothing to do.
    pub fn idle(&self) {
        self.replace(Instant::now(), None);
    }

    fn replace(&self, now: Instant, step: Option<Step>) {
        let before = std::mem::replace(&mut self.lock().step, step);
        if let Some(before) = before.filter(|before| before.next_report > self.limit) {
            let ended = before.at(now);
            let seconds = ended.age.as_secs();
            ended.span().in_scope(|| {
                tracing::info!(
                    seconds,
                    "a slow step of the model has ended: {} took {seconds} s",
                    ended.work
                );
            });
        }
    }

    /// The request ids of the step that runs, for what is logged about it.
    pub fn span(&self) -> tracing::Span {
        let step = self.lock().step.as_ref().map(|step| step.at(Instant::now()));
        step.map_or_else(tracing::Span::none, |step| step.span())
    }

    /// What runs, and how much was slow.
    pub fn steps(&self) -> Steps {
        let state = self.lock();
        Steps {
            running: state.step.as_ref().map(|step| step.at(Instant::now())),
            slow: state.slow,
            limit: self.limit,
        }
    }

    /// Tells of a step that has taken too long by now: once it is slow, and again whenever it has
    /// taken twice as long.
    pub fn report(&self, now: Instant) -> Option<RunningStep> {
        let mut state = self.lock();
        let step = state.step.as_mut()?;
        let slow = step.at(now);
        if slow.age < step.next_report {
            return None;
        }
        let is_first = step.next_report == self.limit;
        step.next_report = slow.age.saturating_mul(2);
        if is_first {
            state.slow += 1;
            counter!("glimpse_slow_steps_total").increment(1);
        }
        drop(state);
        let (seconds, limit) = (slow.age.as_secs(), self.limit.as_secs());
        slow.span().in_scope(|| {
            tracing::warn!(
                seconds,
                rows = slow.rows,
                "a step of the model is slow: {} ({} rows) has taken {seconds} s by now, where less than {limit} s are expected. It goes on; see whether the machine is short of memory or of cores",
                slow.work,
                slow.rows
            );
        });
        Some(slow)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No change calls anything that panics before it is complete.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunningStep {
    /// Names the requests, as the span of a single one does.
    fn span(&self) -> tracing::Span {
        let ids: Vec<&str> = self.requests.iter().map(|id| id.as_str()).collect();
        match ids.is_empty() {
            true => tracing::Span::none(),
            false => tracing::error_span!("request", id = ids.join(",")),
        }
    }
}

/// Looks at the steps for as long as what it returns lives.
///
/// # Errors
/// The system gives no thread.
pub fn look_at(watch: Arc<StepWatch>) -> std::io::Result<Sender<()>> {
    let (alive, ended) = channel();
    std::thread::Builder::new().name("watchdog".into()).spawn(move || {
        while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            watch.report(Instant::now());
        }
    })?;
    Ok(alive)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_slow_step_is_told_while_it_runs_and_again_when_it_has_taken_twice_as_long() {
        let watch = StepWatch::new(Duration::from_millis(250));
        let began = Instant::now();
        assert_eq!(watch.report(began + seconds(99)), None, "nothing runs");
        let request = Arc::new(RequestId::random());
        watch.begin_at(began, Work::Tokens, 7, vec![Arc::clone(&request)]);
        let told: Vec<u64> = (0..100)
            .filter(|second| watch.report(began + seconds(*second)).is_some())
            .collect();
        assert_eq!(told, [5, 10, 20, 40, 80]);
        let step = watch.report(began + seconds(200)).expect("it is slow");
        assert_eq!(
            (step.work, step.rows, step.requests, step.age),
            (Work::Tokens, 7, vec![request], seconds(200))
        );
        assert_eq!(watch.steps().slow, 1, "it is one step");
        watch.begin_at(began + seconds(300), Work::Picture, 0, Vec::new());
        assert_eq!(watch.report(began + seconds(301)), None, "the next has just begun");
        assert!(watch.report(began + seconds(305)).is_some());
        assert_eq!(watch.steps().slow, 2);
        watch.idle();
        assert_eq!(watch.report(began + seconds(999)), None);
        assert_eq!(watch.steps().running, None);
    }

    #[test]
    fn what_is_slow_goes_by_the_gap_that_a_host_has_chosen() {
        assert_eq!(StepWatch::new(Duration::from_millis(1)).limit, LEAST);
        assert_eq!(StepWatch::new(seconds(2)).limit, seconds(20));
    }
}
