//! The memory that visitors make the server hold, all of them together.
//!
//! Whatever is read, fetched or decoded for a visitor is taken from one [`MemoryBudget`]
//! before it is allocated, as a [`Reservation`], which goes with the work and gives back when
//! it is dropped. What there is no room for waits for a while, and is refused then.
//!
//! Nobody is locked out, and nobody waits for ever:
//! - Bodies on their way take at most half, so that there is always room to decode.
//! - An address takes at most half of either, unless what it has is one thing only.
//! - Whoever waits is served in the order of coming, but for a handicap that grows with what
//!   it takes: small pictures pass large ones, and none waits for all that come after it.
//! - Two bodies may wait for the room that the other one has: a wait ends after [`PATIENCE`]
//!   and gives back all, and before that the body that has held most for longest is cut off.
//! - What was given back is not resident for long: the allocator keeps freed memory for the
//!   model's sake, for each thread, and is asked for it once in a while.
//! - Decoding takes cores as well: as many pictures as there are places are decoded at a time.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

/// How long one request may wait for room, all its waits together.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long somebody waits before a body that holds much for long is cut off, and then
/// between two of them.
const CUT_AFTER: Duration = Duration::from_millis(500);

/// Bytes that cost a place in the queue of one second: of a body, which may take long to come,
/// and of work, which a core does in about that time.
const ARRIVAL_HANDICAP: f64 = 10e6;
const WORK_HANDICAP: f64 = 100e6;

/// Bytes given back after which freed memory is trimmed, and the least time between two times.
const TRIM_AFTER: usize = 256 << 20;
const TRIM_PAUSE: Duration = Duration::from_secs(1);

/// Why there is no room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// Not even if there were nobody else.
    #[error(
        "Reading this picture takes {} MB of memory, and at most {} MB can be taken here. Make it smaller.",
        megabytes(*.bytes), megabytes(*.limit)
    )]
    NeverFits { bytes: usize, limit: usize },
    #[error("There are too many pictures at once. Try again in a moment.")]
    Full,
    /// It was one that held most for longest, while others waited.
    #[error("There are too many pictures at once, and this one came too slowly. Try again in a moment.")]
    CutOff,
}

fn megabytes(bytes: usize) -> usize {
    bytes.div_ceil(1_000_000)
}

/// Cheap to clone: all clones are the same budget.
#[derive(Clone)]
pub struct MemoryBudget {
    state: Arc<Mutex<State>>,
    patience: Duration,
    cut_after: Duration,
    /// Gives freed memory back to the system.
    trim: fn(),
}

/// What a visitor's request holds, until it is dropped.
pub struct Reservation {
    budget: MemoryBudget,
    id: u64,
    cut: Arc<Notify>,
    /// How long it has waited for room so far.
    waited: Duration,
}

/// What bytes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// A body on its way.
    Arrival,
    /// Work, which takes one of the places too.
    Work,
}

struct State {
    total: usize,
    /// Of the total, what is held.
    held: usize,
    /// Of what is held, that of bodies.
    arrivals: usize,
    free_places: usize,
    /// By address; whose is not known is nobody's.
    clients: HashMap<IpAddr, Client>,
    reservations: HashMap<u64, Entry>,
    /// Whoever waits, by its place in the queue.
    waiting: BTreeMap<(Duration, u64), Wanted>,
    next_id: u64,
    began: Instant,
    last_cut: Option<Instant>,
    /// Since freed memory was trimmed, which was then.
    given_back: usize,
    last_trim: Option<Instant>,
}

#[derive(Default)]
struct Client {
    reservations: usize,
    held: usize,
    arrivals: usize,
}

struct Entry {
    client: Option<IpAddr>,
    held: usize,
    arrivals: usize,
    has_place: bool,
    began: Instant,
    /// To cut it off, where its body is still on its way.
    cut: Option<Arc<Notify>>,
}

struct Wanted {
    id: u64,
    bytes: usize,
    purpose: Use,
    granted: oneshot::Sender<()>,
}

impl MemoryBudget {
    /// `bytes` for everything, and so many places for work.
    pub fn new(bytes: u64, places: usize) -> Self {
        let state = State {
            total: usize::try_from(bytes).unwrap_or(usize::MAX),
            held: 0,
            arrivals: 0,
            free_places: places,
            clients: HashMap::new(),
            reservations: HashMap::new(),
            waiting: BTreeMap::new(),
            next_id: 0,
            began: Instant::now(),
            last_cut: None,
            given_back: 0,
            last_trim: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            patience: PATIENCE,
            cut_after: CUT_AFTER,
            trim: || (),
        }
    }

    /// With a way to give freed memory back to the system, which takes some milliseconds.
    pub fn trimming(self, trim: fn()) -> Self {
        Self { trim, ..self }
    }

    /// A reservation that holds nothing yet, of whoever has this address; none where it is not
    /// known, or speaks for many, as a proxy on this machine does.
    pub fn reservation(&self, client: Option<IpAddr>) -> Reservation {
        let client = client.filter(|address| !address.is_loopback());
        let cut = Arc::new(Notify::new());
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        if let Some(address) = client {
            state.clients.entry(address).or_default().reservations += 1;
        }
        let entry = Entry {
            client,
            held: 0,
            arrivals: 0,
            has_place: false,
            began: Instant::now(),
            cut: Some(Arc::clone(&cut)),
        };
        state.reservations.insert(id, entry);
        drop(state);
        Reservation {
            budget: self.clone(),
            id,
            cut,
            waited: Duration::ZERO,
        }
    }

    /// Says at once that a body of so many bytes would never be taken.
    ///
    /// # Errors
    /// It would not.
    pub fn check_arrival(&self, bytes: usize) -> Result<(), MemoryError> {
        let limit = self.lock().limit(Use::Arrival);
        if bytes > limit {
            return Err(MemoryError::NeverFits { bytes, limit });
        }
        Ok(())
    }

    /// Bytes that are held, and how many may be.
    pub fn held(&self) -> (usize, usize) {
        let state = self.lock();
        (state.held, state.total)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Takes bytes for what comes next of a body, waiting for them where it must.
    ///
    /// # Errors
    /// There is no room, now or ever.
    pub async fn take_arrival(&mut self, bytes: usize) -> Result<(), MemoryError> {
        self.take(bytes, Use::Arrival).await
    }

    /// Takes bytes for work on what has arrived, and a place to do it in, waiting for both
    /// where it must. The reservation has to be held until the work has ended.
    ///
    /// # Errors
    /// There is no room, now or ever.
    pub async fn take_work(&mut self, bytes: usize) -> Result<(), MemoryError> {
        self.stays();
        self.take(bytes, Use::Work).await
    }

    /// Nothing is on its way any more that could be cut off.
    pub fn stays(&self) {
        if let Some(entry) = self.budget.lock().reservations.get_mut(&self.id) {
            entry.cut = None;
        }
    }

    /// Returns when others need the room that this body takes for too long.
    pub async fn is_cut_off(&self) -> MemoryError {
        self.cut.notified().await;
        MemoryError::CutOff
    }

    /// Gives back what it holds for a body beyond so many bytes: it has come, and is smaller,
    /// or is of no use.
    pub fn shrink_arrival(&self, bytes: usize) {
        let mut state = self.budget.lock();
        state.shrink_arrival(self.id, bytes);
        state.grant();
    }

    async fn take(&mut self, bytes: usize, purpose: Use) -> Result<(), MemoryError> {
        let (key, mut granted) = {
            let mut state = self.budget.lock();
            if state.try_take(self.id, bytes, purpose)? {
                return Ok(());
            }
            state.wait(self.id, bytes, purpose)
        };
        let _waiting = Waiting {
            budget: &self.budget,
            key,
        };
        let began = Instant::now();
        let deadline = began + self.budget.patience.saturating_sub(self.waited);
        let mut next_cut = began + self.budget.cut_after;
        let taken = loop {
            tokio::select! {
                biased;
                // The sender stays with whoever waits until it is granted.
                _ = &mut granted => break Ok(()),
                () = self.cut.notified() => break Err(MemoryError::CutOff),
                () = sleep_until(deadline.min(next_cut)) => {}
            }
            if Instant::now() >= deadline {
                break Err(MemoryError::Full);
            }
            self.budget
                .lock()
                .cut_one_off(self.id, bytes, purpose, self.budget.cut_after);
            next_cut = Instant::now() + self.budget.cut_after;
        };
        self.waited += began.elapsed();
        taken
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        state.end(self.id);
        state.grant();
        if state.trim_is_due() {
            // Without a thread for it the memory stays for a while.
            let _ = std::thread::Builder::new().name("trim".into()).spawn(self.budget.trim);
        }
    }
}

/// A place in the queue, given up when dropped.
struct Waiting<'a> {
    budget: &'a MemoryBudget,
    key: (Duration, u64),
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.budget.lock().waiting.remove(&self.key);
    }
}

impl State {
    /// The most that there can ever be for this.
    fn limit(&self, purpose: Use) -> usize {
        match purpose {
            Use::Arrival => self.total / 2,
            Use::Work => self.total,
        }
    }

    /// Takes the bytes if there is room now.
    ///
    /// Whoever waits does not have room, or it would have been granted: nobody is passed.
    fn try_take(&mut self, id: u64, bytes: usize, purpose: Use) -> Result<bool, MemoryError> {
        let (limit, held) = (self.limit(purpose), self.reservations[&id].held);
        let whole = held.saturating_add(bytes);
        if whole > limit {
            return Err(MemoryError::NeverFits { bytes: whole, limit });
        }
        let has_room = self.has_room(bytes, purpose) && self.is_within_share(id, bytes, purpose);
        if has_room {
            self.hold(id, bytes, purpose);
        }
        Ok(has_room)
    }

    fn has_room(&self, bytes: usize, purpose: Use) -> bool {
        let fits = bytes <= self.total - self.held;
        match purpose {
            Use::Arrival => fits && bytes <= self.limit(Use::Arrival).saturating_sub(self.arrivals),
            Use::Work => fits && self.free_places > 0,
        }
    }

    /// Whether the reservation's address has at most half then, or just this one thing.
    fn is_within_share(&self, id: u64, bytes: usize, purpose: Use) -> bool {
        let client = self.reservations[&id]
            .client
            .and_then(|address| self.clients.get(&address));
        let Some(client) = client else { return true };
        let held = match purpose {
            Use::Arrival => client.arrivals,
            Use::Work => client.held,
        };
        client.reservations == 1 || held.saturating_add(bytes) <= self.limit(purpose) / 2
    }

    fn hold(&mut self, id: u64, bytes: usize, purpose: Use) {
        // Only what is there takes anything.
        let Some(entry) = self.reservations.get_mut(&id) else {
            return;
        };
        let mut none = Client::default();
        let client = entry.client.and_then(|address| self.clients.get_mut(&address));
        let client = client.unwrap_or(&mut none);
        entry.held += bytes;
        client.held += bytes;
        self.held += bytes;
        match purpose {
            Use::Arrival => {
                entry.arrivals += bytes;
                client.arrivals += bytes;
                self.arrivals += bytes;
            }
            Use::Work if !entry.has_place => {
                entry.has_place = true;
                self.free_places -= 1;
            }
            Use::Work => {}
        }
    }

    fn shrink_arrival(&mut self, id: u64, to: usize) {
        let Some(entry) = self.reservations.get_mut(&id) else {
            return;
        };
        let bytes = entry.arrivals.saturating_sub(to);
        entry.arrivals -= bytes;
        entry.held -= bytes;
        if let Some(client) = entry.client.and_then(|address| self.clients.get_mut(&address)) {
            client.held -= bytes;
            client.arrivals -= bytes;
        }
        self.held -= bytes;
        self.arrivals -= bytes;
        self.given_back = self.given_back.saturating_add(bytes);
    }

    fn end(&mut self, id: u64) {
        self.shrink_arrival(id, 0);
        let Some(entry) = self.reservations.remove(&id) else {
            return;
        };
        self.held -= entry.held;
        self.given_back = self.given_back.saturating_add(entry.held);
        self.free_places += usize::from(entry.has_place);
        let Some(address) = entry.client else { return };
        if let Some(client) = self.clients.get_mut(&address) {
            client.held -= entry.held;
            client.reservations -= 1;
            if client.reservations == 0 {
                self.clients.remove(&address);
            }
        }
    }

    fn wait(&mut self, id: u64, bytes: usize, purpose: Use) -> ((Duration, u64), oneshot::Receiver<()>) {
        let whole = self.reservations[&id].held.saturating_add(bytes);
        let bytes_per_second = match purpose {
            Use::Arrival => ARRIVAL_HANDICAP,
            Use::Work => WORK_HANDICAP,
        };
        let handicap = Duration::from_secs_f64(whole as f64 / bytes_per_second);
        let key = (self.began.elapsed() + handicap, self.next_id);
        self.next_id += 1;
        let (granted, is_granted) = oneshot::channel();
        let wanted = Wanted {
            id,
            bytes,
            purpose,
            granted,
        };
        self.waiting.insert(key, wanted);
        (key, is_granted)
    }

    fn trim_is_due(&mut self) -> bool {
        let is_due = self.given_back >= TRIM_AFTER && self.last_trim.is_none_or(|last| last.elapsed() >= TRIM_PAUSE);
        if is_due {
            self.given_back = 0;
            self.last_trim = Some(Instant::now());
        }
        is_due
    }

    /// Gives what there is to whoever waits, in order; whom it does not suffice for is passed.
    fn grant(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for (key, wanted) in waiting {
            match self.try_take(wanted.id, wanted.bytes, wanted.purpose) {
                // Whoever has just left gives it back when its reservation is dropped.
                Ok(true) => drop(wanted.granted.send(())),
                _ => drop(self.waiting.insert(key, wanted)),
            }
        }
    }

    /// Cuts off the body that has held most for longest, on behalf of a reservation that has
    /// cost less, and not more often than once in a while.
    fn cut_one_off(&mut self, id: u64, bytes: usize, purpose: Use, pause: Duration) {
        if self.last_cut.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        let waiter = &self.reservations[&id];
        // Where its own address has too much, nobody else can help.
        let only_of = waiter.client.filter(|_| !self.is_within_share(id, bytes, purpose));
        let own_cost = waiter.cost();
        let others = self.reservations.iter().filter(|(other, _)| **other != id);
        let victim = others
            .filter(|(_, entry)| entry.cut.is_some() && entry.arrivals > 0)
            .filter(|(_, entry)| only_of.is_none() || entry.client == only_of)
            .map(|(other, entry)| (entry.cost(), *other))
            .filter(|(cost, _)| *cost > own_cost)
            .max_by(|one, other| one.0.total_cmp(&other.0));
        let cut = victim.and_then(|(_, other)| self.reservations.get_mut(&other)?.cut.take());
        if let Some(cut) = cut {
            cut.notify_one();
            self.last_cut = Some(Instant::now());
        }
    }
}

impl Entry {
    /// What it has cost the others so far: bytes times seconds.
    fn cost(&self) -> f64 {
        self.held as f64 * self.began.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, poll};

    use super::*;

    /// For machines that are busy.
    const LONG: Duration = Duration::from_secs(60);

    /// Of 1000 bytes and two places, where a wait ends when the test says so, or never.
    fn budget() -> MemoryBudget {
        MemoryBudget {
            patience: LONG,
            cut_after: LONG,
            ..MemoryBudget::new(1000, 2)
        }
    }

    fn from(address: &str) -> Option<IpAddr> {
        Some(address.parse().expect(address))
    }

    /// Takes what there must be room for.
    fn now(taken: impl Future<Output = Result<(), MemoryError>>) -> Result<(), MemoryError> {
        taken.now_or_never().expect("it does not have to wait")
    }

    #[tokio::test]
    async fn what_is_held_is_not_there_for_others_until_it_is_given_back() {
        let budget = budget();
        let (mut first, mut second) = (budget.reservation(None), budget.reservation(None));
        assert_eq!(now(first.take_work(700)), Ok(()));
        let mut waits = Box::pin(second.take_work(400));
        assert!(poll!(&mut waits).is_pending());
        drop(first);
        assert_eq!(now(waits), Ok(()));
        assert_eq!(budget.lock().held, 400);
        drop(second);
        assert_eq!(budget.lock().held, 0);
    }

    #[tokio::test]
    async fn what_could_never_fit_is_refused_at_once_in_a_sentence() {
        let budget = budget();
        let mut picture = budget.reservation(None);
        assert_eq!(now(picture.take_arrival(300)), Ok(()));
        let refused = now(picture.take_work(701)).expect_err("1001 are too many");
        assert_eq!(
            refused,
            MemoryError::NeverFits {
                bytes: 1001,
                limit: 1000
            }
        );
        assert!(refused.to_string().contains("can be taken here"), "{refused}");
        assert!(budget.check_arrival(501).is_err(), "bodies have half");
        assert_eq!(budget.check_arrival(500), Ok(()));
        assert!(now(budget.reservation(None).take_arrival(501)).is_err());
    }

    #[tokio::test]
    async fn a_wait_ends() {
        let budget = MemoryBudget {
            patience: Duration::from_millis(1),
            ..budget()
        };
        let mut first = budget.reservation(None);
        assert_eq!(now(first.take_arrival(500)), Ok(()));
        assert_eq!(budget.reservation(None).take_arrival(1).await, Err(MemoryError::Full));
        assert!(budget.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn two_bodies_that_wait_for_each_others_room_do_not_wait_for_ever() {
        let budget = MemoryBudget {
            patience: Duration::from_millis(20),
            ..budget()
        };
        let (mut first, mut second) = (budget.reservation(None), budget.reservation(None));
        assert_eq!(
            (now(first.take_arrival(250)), now(second.take_arrival(250))),
            (Ok(()), Ok(()))
        );
        let ends = async { tokio::join!(first.take_arrival(100), second.take_arrival(100)) };
        let ends = tokio::time::timeout(LONG, ends).await;
        assert_eq!(ends, Ok((Err(MemoryError::Full), Err(MemoryError::Full))));
    }

    #[tokio::test]
    async fn bodies_leave_half_for_the_work() {
        let budget = budget();
        let mut bodies: Vec<_> = (0..5).map(|_| budget.reservation(None)).collect();
        for body in &mut bodies {
            assert_eq!(now(body.take_arrival(100)), Ok(()));
        }
        assert!(budget.reservation(None).take_arrival(1).now_or_never().is_none());
        assert_eq!(now(budget.reservation(None).take_work(500)), Ok(()));
    }

    #[tokio::test]
    async fn an_address_does_not_take_all_and_others_have_theirs() {
        let budget = budget();
        let attacker = from("192.0.2.1");
        let mut greedy: Vec<_> = (0..3).map(|_| budget.reservation(attacker)).collect();
        assert_eq!(now(greedy[0].take_arrival(200)), Ok(()));
        assert!(
            greedy[1].take_arrival(51).now_or_never().is_none(),
            "a quarter for its bodies"
        );
        assert_eq!(now(greedy[1].take_work(300)), Ok(()));
        assert!(greedy[2].take_work(1).now_or_never().is_none(), "half for everything");
        let mut visitor = budget.reservation(from("192.0.2.2"));
        assert_eq!(
            (now(visitor.take_arrival(250)), now(visitor.take_work(200))),
            (Ok(()), Ok(()))
        );
    }

    #[tokio::test]
    async fn one_large_picture_of_an_address_may_take_more_than_its_share() {
        let budget = budget();
        let mut visitor = budget.reservation(from("192.0.2.2"));
        assert_eq!(
            (now(visitor.take_arrival(400)), now(visitor.take_work(600))),
            (Ok(()), Ok(()))
        );
    }

    #[tokio::test]
    async fn as_many_work_as_there_are_places() {
        let budget = budget();
        let mut three: Vec<_> = (0..3).map(|_| budget.reservation(None)).collect();
        assert_eq!(
            (now(three[0].take_work(1)), now(three[1].take_work(1))),
            (Ok(()), Ok(()))
        );
        let mut third = three.pop().expect("there are three");
        let mut waits = Box::pin(third.take_work(1));
        assert!(poll!(&mut waits).is_pending());
        drop(three);
        assert_eq!(now(waits), Ok(()));
    }

    #[tokio::test]
    async fn the_small_pass_the_large() {
        let budget = MemoryBudget {
            patience: LONG,
            cut_after: LONG,
            ..MemoryBudget::new(1 << 50, 1)
        };
        let mut busy = budget.reservation(None);
        assert_eq!(now(busy.take_work(1)), Ok(()));
        let (mut large, mut small) = (budget.reservation(None), budget.reservation(None));
        // A handicap of months, so that no machine is too slow for this test.
        let mut large = Box::pin(large.take_work(1 << 49));
        assert!(poll!(&mut large).is_pending());
        let mut small_waits = Box::pin(small.take_work(1));
        assert!(poll!(&mut small_waits).is_pending());
        drop(busy);
        assert!(poll!(&mut large).is_pending());
        assert_eq!(now(small_waits), Ok(()));
        drop(small);
        assert_eq!(now(large), Ok(()));
    }

    #[tokio::test]
    async fn whoever_leaves_the_queue_is_passed_and_takes_nothing() {
        let budget = budget();
        let mut first = budget.reservation(None);
        assert_eq!(now(first.take_work(1000)), Ok(()));
        let mut gone = budget.reservation(None);
        let mut waits = Box::pin(gone.take_work(600));
        assert!(poll!(&mut waits).is_pending());
        drop(waits);
        drop(gone);
        drop(first);
        let state = budget.lock();
        assert_eq!((state.held, state.free_places, state.waiting.len()), (0, 2, 0));
        assert!(state.reservations.is_empty() && state.clients.is_empty());
    }

    #[tokio::test]
    async fn what_is_granted_to_whoever_has_just_left_comes_back() {
        let budget = budget();
        let mut first = budget.reservation(None);
        assert_eq!(now(first.take_work(1000)), Ok(()));
        let mut gone = budget.reservation(None);
        let mut waits = Box::pin(gone.take_work(600));
        assert!(poll!(&mut waits).is_pending());
        drop(first);
        assert_eq!(budget.lock().held, 600, "it was granted, and nobody has looked");
        drop(waits);
        drop(gone);
        assert_eq!(budget.lock().held, 0);
    }

    #[tokio::test]
    async fn the_body_that_holds_most_for_longest_makes_room_for_whoever_waits() {
        let budget = MemoryBudget {
            cut_after: Duration::from_millis(1),
            ..budget()
        };
        let mut slow = budget.reservation(None);
        assert_eq!(now(slow.take_arrival(490)), Ok(()));
        let mut light = budget.reservation(None);
        assert_eq!(now(light.take_arrival(10)), Ok(()));
        let mut visitor = budget.reservation(None);
        let gives_way = async move {
            let reason = slow.is_cut_off().await;
            drop(slow);
            reason
        };
        let ends = tokio::time::timeout(LONG, async { tokio::join!(gives_way, visitor.take_arrival(100)) });
        assert_eq!(ends.await, Ok((MemoryError::CutOff, Ok(()))));
        assert!(light.is_cut_off().now_or_never().is_none(), "it has cost little");
    }

    #[tokio::test]
    async fn what_has_arrived_is_not_cut_off() {
        let budget = budget();
        let mut arrived = budget.reservation(None);
        assert_eq!(now(arrived.take_arrival(500)), Ok(()));
        arrived.stays();
        let visitor = budget.reservation(None);
        budget.lock().cut_one_off(visitor.id, 100, Use::Arrival, Duration::ZERO);
        assert!(arrived.is_cut_off().now_or_never().is_none());
    }

    #[tokio::test]
    async fn freed_memory_is_trimmed_when_much_was_given_back_and_not_each_time() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static TRIMMED: AtomicUsize = AtomicUsize::new(0);
        let trim = || {
            TRIMMED.fetch_add(1, Ordering::SeqCst);
        };
        let budget = MemoryBudget::new(u64::MAX, 1).trimming(trim);
        for bytes in [TRIM_AFTER - 1, 1, TRIM_AFTER] {
            let mut picture = budget.reservation(None);
            assert_eq!(now(picture.take_work(bytes)), Ok(()));
            drop(picture);
            let begun = budget.lock().last_trim.is_some();
            assert_eq!(begun, bytes != TRIM_AFTER - 1);
            // So that the third comes too soon after the second, however slow the machine.
            let mut state = budget.lock();
            state.last_trim = state.last_trim.map(|last| last + LONG);
        }
        let deadline = Instant::now() + LONG;
        while TRIMMED.load(Ordering::SeqCst) == 0 && Instant::now() < deadline {
            tokio::task::yield_now().await;
        }
        assert_eq!(TRIMMED.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_is_of_no_use_is_given_back_before_the_end() {
        let budget = budget();
        let mut body = budget.reservation(from("192.0.2.2"));
        assert_eq!(now(body.take_arrival(400)), Ok(()));
        body.shrink_arrival(1);
        assert_eq!(now(budget.reservation(None).take_arrival(499)), Ok(()));
    }
}
