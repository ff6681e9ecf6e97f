//! The bounded queue before the model: a line for each client, served in turn.
//!
//! Within a line the first who came is the first who is served. The turn goes round between
//! networks, and within a network between its clients: nobody waits while another network, or
//! another client of his own, is served twice, and whoever makes up many clients on one
//! network has that network's share. Everything that two
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
use std::net::IpAddr;
use std::time::{Duration, Instant};

#[cfg(loom)]
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// How much the latest answer counts in the average of how long answers take.
const LATEST_SHARE: f64 = 0.25;

/// How many clients share a network, such as a household or an office, before they share what
/// it may have.
pub const CLIENTS_OF_A_NETWORK: usize = 4;

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

impl QueueLimits {
    /// How many may wait that came from one network: never all, unless there is a single place.
    pub fn waiting_per_network(&self) -> usize {
        let share = self.waiting_per_client.saturating_mul(CLIENTS_OF_A_NETWORK);
        share.min(self.waiting - self.waiting.div_ceil(4)).max(1)
    }
}

/// Why something was not taken into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many wait as may.
    Full { limit: usize },
    /// As many of this client wait as may.
    ClientFull { limit: usize },
    /// As many of this network wait as may.
    NetworkFull { limit: usize },
    /// Nobody takes anything out any more.
    Closed,
}

/// How many wait, and how many are being answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    pub waiting: usize,
    pub running: usize,
}

/// Who shares a turn: a network, or a client whose network says nothing of who he is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Network(IpAddr),
    Client(ClientKey),
}

/// The lines of a network's clients, the next to be served in front; never empty.
struct Network<T> {
    group: Group,
    lines: VecDeque<Line<T>>,
}

impl<T> Network<T> {
    fn in_order(&mut self) -> Vec<&mut Entry<T>> {
        let lines = self.lines.iter_mut();
        in_turn(lines.map(|line| line.entries.iter_mut().collect()).collect())
    }

    fn waiting(&self) -> usize {
        self.lines.iter().map(|line| line.entries.len()).sum()
    }
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
    networks: VecDeque<Network<T>>,
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
        self.networks.iter().map(Network::waiting).sum()
    }

    /// Lets go of whoever is cancelled or too late.
    fn sweep(&mut self, now: Instant) {
        for line in self.networks.iter_mut().flat_map(|network| &mut network.lines) {
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
        for network in &mut self.networks {
            network.lines.retain(|line| !line.entries.is_empty());
        }
        self.networks.retain(|network| !network.lines.is_empty());
    }

    fn push(&mut self, client: ClientKey, network: Option<IpAddr>, item: T) -> Result<(), Refusal> {
        let group = network.map_or(Group::Client(client), Group::Network);
        let network = self.networks.iter().position(|other| other.group == group);
        let lines = network.map(|index| &self.networks[index].lines);
        let line = lines.and_then(|lines| lines.iter().position(|line| line.client == client));
        self.check_room(client, network)?;
        let entry = Entry { item, told: 0 };
        let network = network.unwrap_or_else(|| {
            self.networks.push_back(Network {
                group,
                lines: VecDeque::new(),
            });
            self.networks.len() - 1
        });
        let lines = &mut self.networks[network].lines;
        match line {
            Some(line) => lines[line].entries.push_back(entry),
            None => lines.push_back(Line {
                client,
                entries: VecDeque::from([entry]),
            }),
        }
        Ok(())
    }

    /// Whether this client has a place for one more; in this of the networks, where it waits.
    fn check_room(&self, client: ClientKey, network: Option<usize>) -> Result<(), Refusal> {
        let limit = self.limits.waiting_per_client;
        if self.waiting_of(client) >= limit {
            return Err(Refusal::ClientFull { limit });
        }
        let limit = self.limits.waiting;
        if self.waiting() >= limit {
            return Err(Refusal::Full { limit });
        }
        let limit = self.limits.waiting_per_network();
        let is_full = |network: &Network<T>| {
            // A client without a network has the limit of clients.
            matches!(network.group, Group::Network(_)) && network.waiting() >= limit
        };
        match network.is_some_and(|index| is_full(&self.networks[index])) {
            true => Err(Refusal::NetworkFull { limit }),
            false => Ok(()),
        }
    }

    /// How much of this client waits, whatever networks it came from.
    fn waiting_of(&self, client: ClientKey) -> usize {
        let lines = self.networks.iter().flat_map(|network| &network.lines);
        let own = lines.filter(|line| line.client == client);
        own.map(|line| line.entries.len()).sum()
    }

    /// Takes out whose turn it is; his line goes behind the others of his network, and that
    /// behind the other networks.
    fn pop(&mut self) -> Option<T> {
        let mut network = self.networks.pop_front()?;
        let line = network.lines.pop_front();
        let entry = line.and_then(|mut line| {
            let entry = line.entries.pop_front();
            if !line.entries.is_empty() {
                network.lines.push_back(line);
            }
            entry
        });
        if !network.lines.is_empty() {
            self.networks.push_back(network);
        }
        entry.map(|entry| entry.item)
    }

    /// Everybody, in the order in which [`pop`](Self::pop) would take them.
    fn in_order(&mut self) -> Vec<&mut Entry<T>> {
        in_turn(self.networks.iter_mut().map(Network::in_order).collect())
    }

    /// Tells everybody whose position has changed.
    fn announce(&mut self, now: Instant) {
        let rest = self.rest_of_running(now);
        let average = self.average;
        for (before, entry) in self.in_order().into_iter().enumerate() {
            let position = before + 1;
            if entry.told != position {
                entry.told = position;
                // There are fewer positions than a u32 counts: their limit is smaller.
                let expected = average.map(|average| rest + average * before as u32);
                entry.item.tell_position(position, expected);
            }
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

/// The first of each list, then the second of each, and so on.
fn in_turn<T>(lists: Vec<Vec<T>>) -> Vec<T> {
    let count = lists.iter().map(Vec::len).sum();
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        all.extend(lists.iter_mut().filter_map(Iterator::next));
    }
    all
}

/// A queue, by both its ends.
pub fn queue<T: Waiting>(limits: QueueLimits) -> (QueueSender<T>, Queue<T>) {
    let state = State {
        networks: VecDeque::new(),
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
    /// Puts something at the end of its client's line, and tells it its position. Without a
    /// `network` the client has a turn, and a share of the places, of his own.
    ///
    /// # Errors
    /// It is told why it was not taken, and the queue is as it was.
    pub fn submit(&self, client: ClientKey, network: Option<IpAddr>, item: T) -> Result<(), Refusal> {
        let now = Instant::now();
        let mut state = self.0.lock();
        if state.is_closed {
            return Err(Refusal::Closed);
        }
        state.sweep(now);
        let pushed = state.push(client, network, item);
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
        state.senders == 0 && state.networks.is_empty()
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
        state.networks.clear();
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
