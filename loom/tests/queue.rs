//! Where threads meet in the queue: loom runs each of these in every order that the locks allow, with few switches.
#![cfg(loom)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use glimpse_loom::queue::{ClientKey, Queue, QueueLimits, QueueSender, QueueState, Refusal, Waiting, queue};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

/// Switches between threads where none has to wait, in one run: nearly all faults need no more
/// than two, and without a bound a run takes hours.
const PREEMPTIONS: usize = 2;

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(run);
}

/// What a test sees of something that waits.
#[derive(Default)]
struct Seen {
    is_cancelled: AtomicBool,
    position: AtomicUsize,
}

#[derive(Clone)]
struct Item(Arc<Seen>);

impl Item {
    fn new() -> Self {
        Self(Arc::new(Seen::default()))
    }
}

impl Waiting for Item {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::Acquire)
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn tell_position(&self, position: usize, _: Option<Duration>) {
        self.0.position.store(position, Ordering::Release);
    }

    fn expire(self) {}
}

fn open(waiting: usize) -> (QueueSender<Item>, Queue<Item>) {
    queue(QueueLimits {
        waiting,
        waiting_per_client: waiting,
    })
}

/// Submits from a thread of its own, whose end of the queue is gone afterwards.
fn submitting(sender: &QueueSender<Item>, client: u128) -> thread::JoinHandle<(Item, Result<(), Refusal>)> {
    submitting_from(None, sender, client)
}

/// The same, by a client of this network.
fn submitting_from(
    network: Option<IpAddr>,
    sender: &QueueSender<Item>,
    client: u128,
) -> thread::JoinHandle<(Item, Result<(), Refusal>)> {
    let sender = sender.clone();
    thread::spawn(move || {
        let item = Item::new();
        let result = sender.submit(ClientKey::from(client), network, item.clone());
        (item, result)
    })
}

/// Takes out everything until no more can come; says how much that was.
fn serve_all(queue: &Queue<Item>) -> usize {
    let mut served = 0;
    while let Some((_item, _permit)) = queue.next() {
        assert_eq!(queue.state().running, 1);
        served += 1;
    }
    assert_eq!(queue.state(), QueueState::default(), "no place and no permit is left");
    served
}

#[test]
fn nothing_is_lost_and_the_models_thread_ends() {
    model(|| {
        let (sender, queue) = open(2);
        let submitted = [1, 2].map(|client| submitting(&sender, client));
        drop(sender);
        assert_eq!(serve_all(&queue), 2);
        for thread in submitted {
            let (item, result) = thread.join().expect("it does not panic");
            assert_eq!(result, Ok(()));
            assert!(item.0.position.load(Ordering::Acquire) > 0, "it was told its position");
        }
    });
}

#[test]
fn whoever_waits_for_a_question_is_woken_by_it() {
    model(|| {
        let (sender, queue) = open(1);
        let waiting = thread::spawn(move || queue.next().is_some());
        sender
            .submit(ClientKey::from(1), None, Item::new())
            .expect("there is a place");
        // The sender lives on: it is not its end that wakes the other.
        assert!(waiting.join().expect("it does not panic"));
        drop(sender);
    });
}

#[test]
fn what_is_taken_in_is_served_and_what_is_refused_is_not() {
    model(|| {
        let (sender, queue) = open(1);
        let submitted = [1, 2].map(|client| submitting(&sender, client));
        drop(sender);
        let served = serve_all(&queue);
        let results = submitted.map(|thread| thread.join().expect("it does not panic").1);
        assert_eq!(served, results.iter().filter(|result| result.is_ok()).count());
        assert!(served > 0);
        assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(Refusal::Full { limit: 1 }))));
    });
}

#[test]
fn a_networks_clients_never_hold_every_place() {
    model(|| {
        let (sender, queue) = open(2);
        let network = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let submitted = [1, 2].map(|client| submitting_from(network, &sender, client));
        let results = submitted.map(|thread| thread.join().expect("it does not panic").1);
        assert!(results.contains(&Ok(())) && results.contains(&Err(Refusal::NetworkFull { limit: 1 })));
        let other = sender.submit(ClientKey::from(3), None, Item::new());
        assert_eq!(other, Ok(()), "the other place is another's");
        drop(sender);
        assert_eq!(serve_all(&queue), 2);
    });
}

#[test]
fn whoever_goes_while_another_comes_holds_no_place() {
    model(|| {
        let (sender, queue) = open(1);
        let gone = Item::new();
        sender
            .submit(ClientKey::from(1), None, gone.clone())
            .expect("there is a place");
        let leaving = thread::spawn(move || gone.0.is_cancelled.store(true, Ordering::Release));
        let coming = submitting(&sender, 2);
        leaving.join().expect("it does not panic");
        // He has gone for certain: whether or not the other came before, there is a place now
        // unless the other holds it.
        let third = sender.submit(ClientKey::from(3), None, Item::new());
        let (_, second) = coming.join().expect("it does not panic");
        assert!(second.is_ok() != third.is_ok(), "one of them has the place");
        drop(sender);
        assert_eq!(serve_all(&queue), 1);
    });
}

#[test]
fn without_the_models_thread_nobody_waits() {
    model(|| {
        let (sender, queue) = open(2);
        let submitted = submitting(&sender, 1);
        drop(queue);
        let (item, result) = submitted.join().expect("it does not panic");
        assert!(matches!(result, Ok(()) | Err(Refusal::Closed)));
        assert_eq!(Arc::strong_count(&item.0), 1, "it does not wait for ever");
        assert!(sender.is_closed());
    });
}
