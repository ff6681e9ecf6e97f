//! The bounded queue before the model: a line for each client, served in turn.
//!
//! Within a line the first who came is the first who is served. The turn goes round between
//! networks, and within a network between its clients, and counts what a question costs
//! ([`Waiting::cost`]): whoever has taken one of cost *c* owes *c* - 1 turns, and is passed over
//! so often while others wait (deficit round robin; M. Shreedhar and G. Varghese, 1995). Nobody
//! who owes nothing waits while another network, or another client of his own, is served twice,
//! whoever asks for much is served as much as others and no more, and whoever makes up many
//! clients on one network has that network's share. Everything that two
//! threads share stands behind one lock, and whoever changes the order tells those whose
//! position it changed before he gives the lock back: what is told is what will happen,
//! unless somebody comes or goes.
//!
//! Nobody says that he goes: what waits knows whether it is cancelled. It is asked whenever
//! somebody comes, and when the model's thread looks ([`Queue::next`], [`Queue::refresh`]), so
//! that whoever has gone holds no place.
//!
//! An engine that answers several questions at once takes one after the other, as long as the
//! next one fits beside those that run ([`Queue::try_next_if`]), and holds a [`Permit`] for each.
//!
//! This file uses nothing else of Glimpse: `loom/` compiles it by itself.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

#[cfg(loom)]
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// How many answers of late are counted for how often answers begin: enough that an engine that
/// begins several together, and then none for a while, is measured over more than one such round.
const BEGUN_OF_LATE: usize = 16;

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
    /// What it takes of the model beside others: the rows of its batch, such as beams. 0 counts
    /// as 1.
    fn cost(&self) -> usize;
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
    /// Of all clients together.
    pub waiting: usize,
    /// Of one client; a network may have four times as many ([`CLIENTS_OF_A_NETWORK`]).
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
    /// Those that are running are not among them.
    pub waiting: usize,
    /// Taken out of the queue, and not ended yet.
    pub running: usize,
}

/// Who shares a turn: a network, or a client whose network says nothing of who he is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Network(IpAddr),
    Client(ClientKey),
}

/// The lines of a network's clients. Without anybody who waits it is kept while it owes turns.
struct Network<T> {
    group: Group,
    lines: Round<Line<T>>,
}

impl<T> Network<T> {
    fn waiting(&self) -> usize {
        self.lines.iter().map(|line| line.entries.len()).sum()
    }
}

impl<T> Waits for Network<T> {
    fn waits(&self) -> bool {
        self.lines.iter().any(Line::waits)
    }
}

/// What a client has in the queue, the oldest first. Without any it is kept while he owes turns.
struct Line<T> {
    client: ClientKey,
    entries: VecDeque<Entry<T>>,
}

impl<T> Line<T> {
    fn in_order(&mut self) -> VecDeque<&mut Entry<T>> {
        self.entries.iter_mut().collect()
    }
}

impl<T> Waits for Line<T> {
    fn waits(&self) -> bool {
        !self.entries.is_empty()
    }
}

struct Entry<T> {
    item: T,
    /// The position that it was told last; 0 is none.
    told: usize,
}

struct State<T> {
    networks: Round<Network<T>>,
    limits: QueueLimits,
    senders: usize,
    is_closed: bool,
    running: usize,
    pace: Pace,
    /// Everybody has been told his position.
    is_told: bool,
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
        let mut has_left = false;
        for line in self.networks.iter_mut().flat_map(|network| network.lines.iter_mut()) {
            // In most calls nothing has to move.
            if line.entries.iter().any(|entry| entry.has_to_leave(now)) {
                has_left = true;
                for entry in std::mem::take(&mut line.entries) {
                    if !entry.has_to_leave(now) {
                        line.entries.push_back(entry);
                    } else if !entry.item.is_cancelled() {
                        entry.item.expire();
                    }
                }
            }
        }
        if has_left {
            self.is_told = false;
            self.tidy();
        }
    }

    /// Forgets who neither waits nor owes; and all that is owed, where nobody waits.
    fn tidy(&mut self) {
        if self.waiting() == 0 {
            self.networks = Round::default();
            return;
        }
        for network in self.networks.iter_mut() {
            network.lines.forget_idle();
        }
        self.networks.forget_idle();
    }

    fn push(&mut self, client: ClientKey, network: Option<IpAddr>, item: T) -> Result<(), Refusal> {
        let group = network.map_or(Group::Client(client), Group::Network);
        self.check_room(client, group)?;
        let network = self.networks.find_or_add(
            |other| other.group == group,
            || Network {
                group,
                lines: Round::default(),
            },
        );
        let line = network.lines.find_or_add(
            |line| line.client == client,
            || Line {
                client,
                entries: VecDeque::new(),
            },
        );
        line.entries.push_back(Entry { item, told: 0 });
        self.is_told = false;
        Ok(())
    }

    /// Whether this client has a place for one more.
    fn check_room(&self, client: ClientKey, group: Group) -> Result<(), Refusal> {
        let limit = self.limits.waiting_per_client;
        if self.waiting_of(client) >= limit {
            return Err(Refusal::ClientFull { limit });
        }
        let limit = self.limits.waiting;
        if self.waiting() >= limit {
            return Err(Refusal::Full { limit });
        }
        let limit = self.limits.waiting_per_network();
        // A client without a network has the limit of clients.
        let is_network = matches!(group, Group::Network(_));
        let network = self.networks.iter().find(|network| network.group == group);
        match is_network && network.map_or(0, Network::waiting) >= limit {
            true => Err(Refusal::NetworkFull { limit }),
            false => Ok(()),
        }
    }

    /// How much of this client waits, whatever networks it came from.
    fn waiting_of(&self, client: ClientKey) -> usize {
        let lines = self.networks.iter().flat_map(|network| network.lines.iter());
        let own = lines.filter(|line| line.client == client);
        own.map(|line| line.entries.len()).sum()
    }

    /// Whose turn it is.
    fn first(&mut self) -> Option<&T> {
        let line = self.networks.next()?.lines.next()?;
        line.entries.front().map(|entry| &entry.item)
    }

    /// Takes out whose turn it is; his line goes behind the others of his network, and that
    /// behind the other networks.
    fn pop(&mut self) -> Option<T> {
        let network = self.networks.next()?;
        let entry = network.lines.next()?.entries.pop_front()?;
        let cost = entry.cost();
        network.lines.served(cost);
        self.networks.served(cost);
        self.is_told = false;
        self.tidy();
        Some(entry.item)
    }

    /// Everybody, in the order in which [`pop`](Self::pop) would take them.
    fn in_order(&mut self) -> Vec<&mut Entry<T>> {
        let mut waiting = self.waiting();
        let mut all = Vec::with_capacity(waiting);
        let mut networks = self.networks.map(|network| network.lines.map(Line::in_order));
        while waiting > 0 {
            let next = networks.next().and_then(|lines| {
                let entry = lines.next()?.pop_front()?;
                lines.served(entry.cost());
                Some(entry)
            });
            // Somebody waits: there is a next.
            let Some(entry) = next else { break };
            networks.served(entry.cost());
            all.push(entry);
            waiting -= 1;
        }
        all
    }

    /// Tells everybody whose position has changed.
    fn announce(&mut self, now: Instant) {
        if self.is_told {
            return;
        }
        self.is_told = true;
        let pace = self.pace.clone();
        for (before, entry) in self.in_order().into_iter().enumerate() {
            let position = before + 1;
            if entry.told != position {
                entry.told = position;
                entry.item.tell_position(position, pace.expected(before, now));
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

    fn begun(&mut self, now: Instant) {
        self.running += 1;
        self.pace.begun(now);
    }

    fn finished(&mut self, now: Instant) {
        self.running -= 1;
        if self.running == 0 {
            self.pace.idle(now);
        }
    }
}

impl<T: Waiting> Entry<T> {
    fn has_to_leave(&self, now: Instant) -> bool {
        self.item.is_cancelled() || self.item.deadline().is_some_and(|deadline| deadline <= now)
    }

    fn cost(&self) -> usize {
        self.item.cost().max(1)
    }
}

/// Who can wait, and so have a turn.
trait Waits {
    fn waits(&self) -> bool;
}

impl<T> Waits for VecDeque<T> {
    fn waits(&self) -> bool {
        !self.is_empty()
    }
}

impl<W: Waits> Waits for Round<W> {
    fn waits(&self) -> bool {
        self.iter().any(W::waits)
    }
}

/// Members who take turns, the next in front, each with the turns that he owes for what he took
/// of late.
struct Round<M>(VecDeque<(M, usize)>);

impl<M> Default for Round<M> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<M> Round<M> {
    fn iter(&self) -> impl Iterator<Item = &M> {
        self.0.iter().map(|(member, _)| member)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut M> {
        self.0.iter_mut().map(|(member, _)| member)
    }

    /// The same turns for something that is made of each member.
    fn map<'m, N>(&'m mut self, mut make: impl FnMut(&'m mut M) -> N) -> Round<N> {
        Round(self.0.iter_mut().map(|(member, owes)| (make(member), *owes)).collect())
    }

    /// A member, who comes in behind all others where he is not there yet.
    fn find_or_add(&mut self, is_it: impl Fn(&M) -> bool, new: impl FnOnce() -> M) -> &mut M {
        let found = self.iter().position(is_it);
        let index = found.unwrap_or_else(|| {
            self.0.push_back((new(), 0));
            self.0.len() - 1
        });
        &mut self.0[index].0
    }
}

impl<M: Waits> Round<M> {
    /// Brings to the front whose turn it is, of those who wait. Whoever owes turns is passed
    /// over, and owes one less, as long as another waits. Asked again it is the same one.
    fn next(&mut self) -> Option<&mut M> {
        if !self.iter().any(M::waits) {
            return None;
        }
        // It ends: each time round everybody owes one less.
        while self.passes_over_front() {
            let (member, owes) = self.0.pop_front()?;
            self.0.push_back((member, owes.saturating_sub(1)));
        }
        self.0.front_mut().map(|(member, _)| member)
    }

    fn passes_over_front(&self) -> bool {
        self.0.front().is_some_and(|(member, owes)| {
            let others_wait = || self.iter().skip(1).any(M::waits);
            !member.waits() || (*owes > 0 && others_wait())
        })
    }

    /// The one in front has taken something of this cost: he goes behind all others.
    fn served(&mut self, cost: usize) {
        if let Some((member, _)) = self.0.pop_front() {
            self.0.push_back((member, cost.saturating_sub(1)));
        }
    }

    fn forget_idle(&mut self) {
        self.0.retain(|(member, owes)| *owes > 0 || member.waits());
    }
}

/// How often answers begin, of late.
///
/// It is measured from one beginning to the next, and not by how long an answer takes: an engine
/// that answers eight at once begins eight times as often. The time in which nothing runs is
/// left out, since whoever comes then begins at once.
#[derive(Clone, Default)]
struct Pace {
    /// Between two beginnings each, the latest last.
    between: VecDeque<Duration>,
    /// Since the latest beginning, as far as `running_since` does not count.
    since_begin: Duration,
    /// Since when something runs, or an answer began meanwhile.
    running_since: Option<Instant>,
    has_begun: bool,
    /// The first answer of all was given.
    has_ended: bool,
}

impl Pace {
    /// An answer begins.
    fn begun(&mut self, now: Instant) {
        if self.has_begun {
            if self.between.len() == BEGUN_OF_LATE {
                self.between.pop_front();
            }
            self.between.push_back(self.since_latest(now));
        }
        self.has_begun = true;
        self.since_begin = Duration::ZERO;
        self.running_since = Some(now);
    }

    /// Nothing runs any more.
    fn idle(&mut self, now: Instant) {
        self.since_begin = self.since_latest(now);
        self.running_since = None;
        self.has_ended = true;
    }

    fn since_latest(&self, now: Instant) -> Duration {
        let running = self.running_since.map(|since| now.saturating_duration_since(since));
        self.since_begin + running.unwrap_or_default()
    }

    /// From one beginning to the next, on average; `None` before that can be known.
    fn average(&self) -> Option<Duration> {
        if self.between.is_empty() {
            return self.has_ended.then_some(self.since_begin);
        }
        // It is a handful.
        Some(self.between.iter().sum::<Duration>() / self.between.len() as u32)
    }

    /// How long until something begins that has so many others before it, if answers go on to
    /// begin as often as of late.
    fn expected(&self, before: usize, now: Instant) -> Option<Duration> {
        let average = self.average()?;
        let first = match self.running_since {
            Some(_) => average.saturating_sub(self.since_latest(now)),
            None => Duration::ZERO,
        };
        Some(first + average.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX)))
    }
}

/// A queue, by both its ends.
pub fn queue<T: Waiting>(limits: QueueLimits) -> (QueueSender<T>, Queue<T>) {
    let state = State {
        networks: Round::default(),
        limits,
        senders: 1,
        is_closed: false,
        running: 0,
        pace: Pace::default(),
        is_told: true,
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
            if let Some(taken) = self.take(&mut state, |_| true) {
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
        self.try_next_if(|_| true)
    }

    /// The next question, if there is one and it fits, as into the room that is left beside what
    /// runs. Where it does not, it stays the next: nobody behind it is taken in its place.
    pub fn try_next_if(&self, fits: impl FnOnce(&T) -> bool) -> Option<(T, Permit<T>)> {
        self.take(&mut self.0.lock(), fits)
    }

    fn take(&self, state: &mut State<T>, fits: impl FnOnce(&T) -> bool) -> Option<(T, Permit<T>)> {
        let now = Instant::now();
        state.sweep(now);
        let item = match state.first().is_some_and(fits) {
            true => state.pop(),
            false => None,
        };
        if item.is_some() {
            state.begun(now);
        }
        state.announce(now);
        let shared = Arc::clone(&self.0);
        item.map(|item| (item, Permit { shared }))
    }

    /// Whether nobody waits and nobody can come any more.
    pub fn is_over(&self) -> bool {
        let state = self.0.lock();
        state.senders == 0 && state.waiting() == 0
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
        state.networks = Round::default();
    }
}

/// Says that a question is running for as long as it lives. An engine that answers several at
/// once holds one for each; how often they are given out is how long others are told to wait.
pub struct Permit<T: Waiting> {
    shared: Arc<Shared<T>>,
}

impl<T: Waiting> Drop for Permit<T> {
    fn drop(&mut self) {
        self.shared.lock().finished(Instant::now());
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
