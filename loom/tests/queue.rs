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
    /// 0 counts as 1.
    cost: usize,
    position: AtomicUsize,
}

#[derive(Clone)]
struct Item(Arc<Seen>);

impl Item {
    fn new() -> Self {
        Self::of_cost(1)
    }

    fn of_cost(cost: usize) -> Self {
        Self(Arc::new(Seen {
            cost,
            ..Seen::default()
        }))
    }
}

impl Waiting for Item {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::Acquire)
    }

    fn cost(&self) -> usize {
        self.0.cost
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

#[test]
fn what_does_not_fit_is_overtaken_by_nobody_who_comes_meanwhile() {
    model(|| {
        let (sender, queue) = open(3);
        sender
            .submit(ClientKey::from(1), None, Item::of_cost(2))
            .expect("there is a place");
        let coming = submitting(&sender, 2);
        drop(sender);
        assert!(queue.try_next_if(|item| item.0.cost == 1).is_none());
        let (first, _permit) = queue.next().expect("it waits");
        assert_eq!(first.0.cost, 2);
        let (item, result) = coming.join().expect("it does not panic");
        assert_eq!(result, Ok(()));
        let (second, _permit) = queue.try_next_if(|item| item.0.cost == 1).expect("it waits");
        assert!(Arc::ptr_eq(&item.0, &second.0));
        assert!(queue.is_over());
    });
}

#[test]
fn several_run_at_once_and_end_while_others_come() {
    model(|| {
        let (sender, queue) = open(3);
        let running = [1, 2].map(|client| {
            let submitted = sender.submit(ClientKey::from(client), None, Item::new());
            submitted.expect("there is a place");
            queue.try_next().expect("it waits").1
        });
        let state = |waiting, running| QueueState { waiting, running };
        assert_eq!(queue.state(), state(0, 2));
        let [first, second] = running;
        let ending = thread::spawn(move || drop(first));
        let coming = submitting(&sender, 3);
        let seen = sender.state();
        assert!((1..=2).contains(&seen.running) && seen.waiting <= 1, "{seen:?}");
        ending.join().expect("it does not panic");
        assert_eq!(coming.join().expect("it does not panic").1, Ok(()));
        assert_eq!(queue.state(), state(1, 1));
        drop((sender, second));
        assert_eq!(serve_all(&queue), 1);
    });
}
