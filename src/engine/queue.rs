//! The bounded queue before the model: a line for each client, served in turn.
//!
//! Within a line the first who came is the first who is served; between lines the turn goes
//! round, so that nobody waits while another client is served twice. Everything that two
//! threads share stands behind one lock, and whoever changes the order tells those whose
//! position it changed before he gives the lock back: what is told is what will happen,
//! unless somebody comes or goes.
//!
//! Nobody says that he goes: what waits knows whether it is cancelled. It is asked whenever
//! somebody comes, and when the model's thread looks ([`Queue::next`], [`Queue::refresh`]), so
//! that whoever has gone holds no place.
//!
//! This file uses nothing else of Glimpse: `loom/` compiles it by itself.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

#[cfg(loom)]
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// How much the latest answer counts in the average of how long answers take.
const LATEST_SHARE: f64 = 0.25;

/// Whose turn it is in the queue: all that is submitted with the same key stands in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey(pub [u8; 32]);

impl From<u128> for ClientKey {
    fn from(number: u128) -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&number.to_le_bytes());
        Self(key)
    }
}

/// What stands in the queue.
pub trait Waiting {
    /// Whether nobody waits for it any more.
    fn is_cancelled(&self) -> bool;
    /// When it is too late to begin with it.
    fn deadline(&self) -> Option<Instant>;
    /// It has this position now, of which 1 is next; `expected` is how long until it begins, as
    /// far as can be told.
    fn tell_position(&self, position: usize, expected: Option<Duration>);
    /// Its deadline has passed: it left the queue.
    fn expire(self);
}

/// How many may wait.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    pub waiting: usize,
    pub waiting_per_client: usize,
}

/// Why something was not taken into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many wait as may.
    Full { limit: usize },
    /// As many of this client wait as may.
    ClientFull { limit: usize },
    /// Nobody takes anything out any more.
    Closed,
}

/// How many wait, and how many are being answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    pub waiting: usize,
    pub running: usize,
}

/// What a client has in the queue, the oldest first; never empty.
struct Line<T> {
    client: ClientKey,
    entries: VecDeque<Entry<T>>,
}

struct Entry<T> {
    item: T,
    /// The position that it was told last; 0 is none.
    told: usize,
}

struct State<T> {
    /// The next to be served stands in front.
    lines: VecDeque<Line<T>>,
    limits: QueueLimits,
    senders: usize,
    is_closed: bool,
    running: usize,
    /// When the latest of what is running began.
    began: Option<Instant>,
    /// How long answers take, of late.
    average: Option<Duration>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Something came, or the last sender is gone.
    changed: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No change calls anything that panics before it is complete.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<T: Waiting> State<T> {
    fn waiting(&self) -> usize {
        self.lines.iter().map(|line| line.entries.len()).sum()
    }

    /// Lets go of whoever is cancelled or too late.
    fn sweep(&mut self, now: Instant) {
        for line in &mut self.lines {
            // In most calls nothing has to move.
            if line.entries.iter().any(|entry| entry.has_to_leave(now)) {
                for entry in std::mem::take(&mut line.entries) {
                    if !entry.has_to_leave(now) {
                        line.entries.push_back(entry);
                    } else if !entry.item.is_cancelled() {
                        entry.item.expire();
                    }
                }
            }
        }
        self.lines.retain(|line| !line.entries.is_empty());
    }

    fn push(&mut self, client: ClientKey, item: T) -> Result<(), Refusal> {
        let QueueLimits {
            waiting,
            waiting_per_client,
        } = self.limits;
        let line = self.lines.iter().position(|line| line.client == client);
        if line.is_some_and(|line| self.lines[line].entries.len() >= waiting_per_client) {
            return Err(Refusal::ClientFull {
                limit: waiting_per_client,
            });
        }
        if self.waiting() >= waiting {
            return Err(Refusal::Full { limit: waiting });
        }
        let entry = Entry { item, told: 0 };
        match line {
            Some(line) => self.lines[line].entries.push_back(entry),
            None => self.lines.push_back(Line {
                client,
                entries: VecDeque::from([entry]),
            }),
        }
        Ok(())
    }

    /// Takes out whose turn it is; his line goes behind the others.
    fn pop(&mut self) -> Option<T> {
        let mut line = self.lines.pop_front()?;
        let entry = line.entries.pop_front();
        if !line.entries.is_empty() {
            self.lines.push_back(line);
        }
        entry.map(|entry| entry.item)
    }

    /// Tells everybody whose position has changed.
    fn announce(&mut self, now: Instant) {
        let (mut position, mut round) = (0, 0);
        let rest = self.rest_of_running(now);
        let average = self.average;
        let longest = self.lines.iter().map(|line| line.entries.len()).max().unwrap_or(0);
        while round < longest {
            for line in &mut self.lines {
                let Some(entry) = line.entries.get_mut(round) else {
                    continue;
                };
                position += 1;
                if entry.told != position {
                    entry.told = position;
                    // There are fewer positions than a u32 counts: their limit is smaller.
                    let expected = average.map(|average| rest + average * (position - 1) as u32);
                    entry.item.tell_position(position, expected);
                }
            }
            round += 1;
        }
    }

    fn queue_state(&mut self, now: Instant) -> QueueState {
        self.sweep(now);
        self.announce(now);
        QueueState {
            waiting: self.waiting(),
            running: self.running,
        }
    }

    /// How long until what is running ends, if it takes as long as others did.
    fn rest_of_running(&self, now: Instant) -> Duration {
        let (Some(average), Some(began)) = (self.average, self.began) else {
            return Duration::ZERO;
        };
        average.saturating_sub(now.saturating_duration_since(began))
    }

    fn finished(&mut self, took: Duration) {
        self.running -= 1;
        if self.running == 0 {
            self.began = None;
        }
        let average = self.average.map_or(took, |average| {
            average.mul_f64(1.0 - LATEST_SHARE) + took.mul_f64(LATEST_SHARE)
        });
        self.average = Some(average);
    }
}

impl<T: Waiting> Entry<T> {
    fn has_to_leave(&self, now: Instant) -> bool {
        self.item.is_cancelled() || self.item.deadline().is_some_and(|deadline| deadline <= now)
    }
}

/// A queue, by both its ends.
pub fn queue<T: Waiting>(limits: QueueLimits) -> (QueueSender<T>, Queue<T>) {
    let state = State {
        lines: VecDeque::new(),
        limits,
        senders: 1,
        is_closed: false,
        running: 0,
        began: None,
        average: None,
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        changed: Condvar::new(),
    });
    (QueueSender(Arc::clone(&shared)), Queue(shared))
}

/// The end of the queue where questions come in.
pub struct QueueSender<T: Waiting>(Arc<Shared<T>>);

impl<T: Waiting> QueueSender<T> {
    /// Puts something at the end of its client's line, and tells it its position.
    ///
    /// # Errors
    /// It is told why it was not taken, and the queue is as it was.
    pub fn submit(&self, client: ClientKey, item: T) -> Result<(), Refusal> {
        let now = Instant::now();
        let mut state = self.0.lock();
        if state.is_closed {
            return Err(Refusal::Closed);
        }
        state.sweep(now);
        let pushed = state.push(client, item);
        state.announce(now);
        drop(state);
        self.0.changed.notify_one();
        pushed
    }

    /// How many wait and run at this moment.
    pub fn state(&self) -> QueueState {
        self.0.lock().queue_state(Instant::now())
    }

    /// Whether nobody takes anything out any more.
    pub fn is_closed(&self) -> bool {
        self.0.lock().is_closed
    }
}

impl<T: Waiting> Clone for QueueSender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T: Waiting> Drop for QueueSender<T> {
    fn drop(&mut self) {
        self.0.lock().senders -= 1;
        self.0.changed.notify_all();
    }
}

/// The end of the queue where the model's thread takes questions out.
pub struct Queue<T: Waiting>(Arc<Shared<T>>);

impl<T: Waiting> Queue<T> {
    /// Waits for the next question that somebody still waits for; `None` when no more can come.
    pub fn next(&self) -> Option<(T, Permit<T>)> {
        let mut state = self.0.lock();
        loop {
            if let Some(taken) = self.take(&mut state) {
                return Some(taken);
            }
            if state.senders == 0 {
                return None;
            }
            state = self
                .0
                .changed
                .wait(state)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// The next question, if there is one.
    pub fn try_next(&self) -> Option<(T, Permit<T>)> {
        self.take(&mut self.0.lock())
    }

    fn take(&self, state: &mut State<T>) -> Option<(T, Permit<T>)> {
        let now = Instant::now();
        state.sweep(now);
        let item = state.pop()?;
        state.running += 1;
        state.began = Some(now);
        state.announce(now);
        let permit = Permit {
            shared: Arc::clone(&self.0),
            began: now,
        };
        Some((item, permit))
    }

    /// Whether nobody waits and nobody can come any more.
    pub fn is_over(&self) -> bool {
        let state = self.0.lock();
        state.senders == 0 && state.lines.is_empty()
    }

    /// How many wait and run at this moment.
    pub fn state(&self) -> QueueState {
        self.0.lock().queue_state(Instant::now())
    }

    /// Lets go of whoever has gone; called between tokens, so that positions are true while an
    /// answer is being generated.
    pub fn refresh(&self) {
        let now = Instant::now();
        let mut state = self.0.lock();
        state.sweep(now);
        state.announce(now);
    }
}

impl<T: Waiting> Drop for Queue<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        state.lines.clear();
    }
}

/// Says that a question is running for as long as it lives, and then how long it took.
pub struct Permit<T: Waiting> {
    shared: Arc<Shared<T>>,
    began: Instant,
}

impl<T: Waiting> Drop for Permit<T> {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.shared.lock().finished(took);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
