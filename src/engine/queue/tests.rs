//! The queue's promises, for any order of arrivals, departures and answers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use proptest::prelude::*;

use super::*;

/// What a test sees of something that waits.
#[derive(Default)]
struct Seen {
    is_cancelled: Cell<bool>,
    is_expired: Cell<bool>,
    deadline: Cell<Option<Instant>>,
    told: RefCell<Vec<(usize, Option<Duration>)>>,
}

#[derive(Clone, Default)]
struct Item(Rc<Seen>);

impl Item {
    fn position(&self) -> usize {
        self.0.told.borrow().last().map_or(0, |(position, _)| *position)
    }

    fn expected(&self) -> Option<Duration> {
        self.0.told.borrow().last().and_then(|(_, expected)| *expected)
    }
}

impl Waiting for Item {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.get()
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.deadline.get()
    }

    fn tell_position(&self, position: usize, expected: Option<Duration>) {
        self.0.told.borrow_mut().push((position, expected));
    }

    fn expire(self) {
        self.0.is_expired.set(true);
    }
}

fn client(number: usize) -> ClientKey {
    (number as u128).into()
}

fn open(waiting: usize, waiting_per_client: usize) -> (QueueSender<Item>, Queue<Item>) {
    queue(QueueLimits {
        waiting,
        waiting_per_client,
    })
}

/// Puts a question of this client in.
fn submit(sender: &QueueSender<Item>, number: usize) -> Item {
    let item = Item::default();
    sender
        .submit(client(number), None, item.clone())
        .expect("there is a place");
    item
}

#[test]
fn clients_are_served_in_turn_and_told_so() {
    let (sender, queue) = open(9, 9);
    let first = [(); 3].map(|()| submit(&sender, 1));
    let second = submit(&sender, 2);
    let order = [&first[0], &second, &first[1], &first[2]];
    assert_eq!(order.map(Item::position), [1, 2, 3, 4]);
    assert_eq!(
        first[1].0.told.borrow()[..],
        [(2, None), (3, None)],
        "it was overtaken once"
    );
    for expected in order {
        let (served, _permit) = queue.next().expect("they wait");
        assert!(Rc::ptr_eq(&served.0, &expected.0));
    }
    drop(sender);
    assert!(queue.next().is_none(), "no more can come");
}

#[test]
fn a_full_queue_and_a_full_line_are_refused_with_their_limits() {
    let (sender, _queue) = open(3, 2);
    let gone = submit(&sender, 1);
    submit(&sender, 1);
    let refused = |number| sender.submit(client(number), None, Item::default()).err();
    assert_eq!(refused(1), Some(Refusal::ClientFull { limit: 2 }));
    submit(&sender, 2);
    assert_eq!(refused(2), Some(Refusal::Full { limit: 3 }));
    assert_eq!(refused(3), Some(Refusal::Full { limit: 3 }));
    // Nobody takes anything out: the model is busy.
    gone.0.is_cancelled.set(true);
    assert_eq!(refused(3), None, "who has gone holds no place");
    assert_eq!(refused(1), Some(Refusal::Full { limit: 3 }));
}

/// Puts a question of this client in, who comes from this network.
fn submit_from(network: u8, sender: &QueueSender<Item>, number: usize) -> Result<Item, Refusal> {
    let item = Item::default();
    let network = IpAddr::from([192, 0, 2, network]);
    sender.submit(client(number), Some(network), item.clone())?;
    Ok(item)
}

#[test]
fn a_network_with_many_clients_has_one_networks_turn() {
    let (sender, queue) = open(9, 2);
    let crowd: Vec<_> = [1, 1, 2, 3].map(|number| submit_from(1, &sender, number)).into();
    let alone: Vec<_> = [4, 4].map(|number| submit_from(2, &sender, number)).into();
    let order = [&crowd[0], &alone[0], &crowd[2], &alone[1], &crowd[3], &crowd[1]];
    let order = order.map(|item| item.as_ref().expect("there is a place"));
    assert_eq!(order.map(Item::position), [1, 2, 3, 4, 5, 6]);
    for expected in order {
        let (served, _permit) = queue.next().expect("they wait");
        assert!(Rc::ptr_eq(&served.0, &expected.0));
    }
}

#[test]
fn a_network_never_holds_every_place() {
    let (sender, _queue) = open(8, 4);
    let held = (0..8).map(|number| submit_from(1, &sender, number));
    let held: Vec<_> = held.map(|submitted| submitted.map(|_| ())).collect();
    assert_eq!(held[..6], [Ok(()); 6]);
    assert_eq!(held[6..], [Err(Refusal::NetworkFull { limit: 6 }); 2]);
    assert!(submit_from(2, &sender, 8).is_ok(), "another network has a place");
}

#[test]
fn a_network_has_the_places_of_a_few_clients_and_a_client_his_own_on_any() {
    let limits = |waiting, waiting_per_client| QueueLimits {
        waiting,
        waiting_per_client,
    };
    assert_eq!(limits(32, 4).waiting_per_network(), 16);
    assert_eq!(limits(1, 1).waiting_per_network(), 1);
    let (sender, _queue) = open(9, 2);
    assert!(submit_from(1, &sender, 1).is_ok() && submit_from(2, &sender, 1).is_ok());
    let refused = submit_from(3, &sender, 1).err();
    assert_eq!(refused, Some(Refusal::ClientFull { limit: 2 }));
}

#[test]
fn a_question_that_is_too_late_is_told_so_and_holds_no_place() {
    let (sender, queue) = open(1, 1);
    let late = submit(&sender, 1);
    late.0.deadline.set(Some(Instant::now()));
    let next = submit(&sender, 2);
    assert!(late.0.is_expired.get());
    assert_eq!(next.position(), 1);
    let (served, _permit) = queue.next().expect("it waits");
    assert!(Rc::ptr_eq(&served.0, &next.0) && !next.0.is_expired.get());
}

#[test]
fn what_runs_is_counted_until_its_permit_is_gone_even_by_a_panic() {
    let (sender, queue) = open(9, 9);
    submit(&sender, 1);
    submit(&sender, 1);
    let state = |waiting, running| QueueState { waiting, running };
    assert_eq!(sender.state(), state(2, 0));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _taken = queue.next();
        assert_eq!(sender.state(), state(1, 1));
        std::panic::resume_unwind(Box::new("the model"));
    }));
    assert!(panicked.is_err());
    assert_eq!(sender.state(), state(1, 0));
}

#[test]
fn how_long_it_takes_is_told_once_an_answer_has_been_given() {
    let (sender, queue) = open(9, 9);
    let first = submit(&sender, 1);
    let taken = queue.next();
    assert_eq!(first.expected(), None, "nobody knows yet");
    drop(taken);
    let average = queue.0.lock().average.expect("an answer was given");
    let waiting = [(); 3].map(|()| submit(&sender, 1));
    let expected = waiting.map(|item| item.expected());
    assert_eq!(expected, [0, 1, 2].map(|before| Some(average * before)), "nothing runs");
}

#[test]
fn answers_of_late_count_most() {
    let (_sender, queue) = open(1, 1);
    let mut state = queue.0.lock();
    let mut average_after = |seconds| {
        state.running += 1;
        state.finished(Duration::from_secs(seconds));
        state.average.map(|average| average.as_secs_f64())
    };
    assert_eq!(average_after(8), Some(8.0));
    assert_eq!(average_after(4), Some(7.0));
    assert_eq!(average_after(3), Some(6.0));
}

#[test]
fn without_the_models_thread_nothing_is_taken_in() {
    let (sender, queue) = open(9, 9);
    let waits = submit(&sender, 1);
    drop(queue);
    assert!(sender.is_closed());
    assert_eq!(sender.submit(client(1), None, Item::default()), Err(Refusal::Closed));
    assert_eq!(
        Rc::strong_count(&waits.0),
        1,
        "whoever waited learns it by his channel's end"
    );
}

/// What can happen to a queue.
#[derive(Clone, Debug)]
enum Step {
    Arrive(usize),
    /// The one at this index among all that wait.
    Cancel(usize),
    Take,
    Finish,
    Look,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..5usize).prop_map(Step::Arrive),
        1 => (0..20usize).prop_map(Step::Cancel),
        3 => Just(Step::Take),
        2 => Just(Step::Finish),
        1 => Just(Step::Look),
    ];
    proptest::collection::vec(step, 0..120)
}

/// A queue with what a bookkeeper writes down beside it.
struct Watched {
    sender: QueueSender<Item>,
    queue: Queue<Item>,
    waiting: Vec<(usize, Item)>,
    running: Vec<Permit<Item>>,
    /// Of each client that waits, how often each other client of its network was served
    /// meanwhile; and the same of networks.
    overtaken: [[usize; 5]; 5],
    networks_overtaken: [[usize; 3]; 3],
}

/// The network of a client: 0, 1 and 2 share one, 3 has one, and 4 is of none.
fn network_of(number: usize) -> (usize, Option<IpAddr>) {
    match number {
        0..=2 => (0, Some(IpAddr::from([192, 0, 2, 1]))),
        3 => (1, Some(IpAddr::from([192, 0, 2, 2]))),
        _ => (2, None),
    }
}

impl Watched {
    fn check_positions(&self) -> Result<(), TestCaseError> {
        let mut positions: Vec<usize> = self.waiting.iter().map(|(_, item)| item.position()).collect();
        positions.sort_unstable();
        prop_assert!(positions.into_iter().eq(1..=self.waiting.len()));
        Ok(())
    }

    fn waits(&self, client: usize) -> bool {
        self.waiting.iter().any(|(other, _)| *other == client)
    }

    /// How many wait that came from a network.
    fn waiting_of_network(&self, network: usize) -> usize {
        let numbers = self.waiting.iter().map(|(number, _)| *number);
        numbers.filter(|number| network_of(*number).0 == network).count()
    }

    fn arrive(&mut self, number: usize) -> Result<(), TestCaseError> {
        let item = Item::default();
        let own = self.waiting.iter().filter(|(other, _)| *other == number).count();
        let (network, address) = network_of(number);
        let of_network = self.waiting_of_network(network);
        let expected = match (own, self.waiting.len(), of_network) {
            (3.., _, _) => Err(Refusal::ClientFull { limit: 3 }),
            (_, 8.., _) => Err(Refusal::Full { limit: 8 }),
            (_, _, 6..) => Err(Refusal::NetworkFull { limit: 6 }),
            _ => Ok(()),
        };
        if !self.waits(number) {
            self.overtaken[number] = [0; 5];
        }
        if of_network == 0 {
            self.networks_overtaken[network] = [0; 3];
        }
        prop_assert_eq!(self.sender.submit(client(number), address, item.clone()), expected);
        if expected.is_ok() {
            self.waiting.push((number, item));
        }
        Ok(())
    }

    fn take(&mut self) -> Result<(), TestCaseError> {
        self.queue.refresh();
        self.check_positions()?;
        let Some(next) = self.waiting.iter().position(|(_, item)| item.position() == 1) else {
            return Ok(());
        };
        let (number, told) = self.waiting.remove(next);
        let (served, permit) = self.queue.next().expect("somebody waits");
        prop_assert!(Rc::ptr_eq(&served.0, &told.0), "who was told that he is next was not");
        let older = |(other, item): &(usize, Item)| *other == number && item.position() == 0;
        prop_assert!(!self.waiting.iter().any(older));
        self.running.push(permit);
        self.note_served_network(network_of(number).0)?;
        self.overtaken[number] = [0; 5];
        let is_beside = |other: &usize| *other != number && network_of(*other).0 == network_of(number).0;
        for other in (0..5).filter(is_beside) {
            self.overtaken[other][number] += 1;
            prop_assert!(
                !self.waits(other) || self.overtaken[other][number] <= 1,
                "{other} waited while {number} was served twice"
            );
        }
        Ok(())
    }

    fn note_served_network(&mut self, served: usize) -> Result<(), TestCaseError> {
        self.networks_overtaken[served] = [0; 3];
        for other in (0..3).filter(|other| *other != served) {
            self.networks_overtaken[other][served] += 1;
            prop_assert!(
                self.waiting_of_network(other) == 0 || self.networks_overtaken[other][served] <= 1,
                "network {other} waited while {served} was served twice"
            );
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Arrive(number) => self.arrive(*number)?,
            Step::Cancel(index) if *index < self.waiting.len() => {
                let (_, item) = self.waiting.remove(*index);
                item.0.is_cancelled.set(true);
                self.queue.refresh();
            }
            Step::Take => self.take()?,
            Step::Finish => drop(self.running.pop()),
            Step::Cancel(_) | Step::Look => self.queue.refresh(),
        }
        self.check_positions()?;
        let state = QueueState {
            waiting: self.waiting.len(),
            running: self.running.len(),
        };
        prop_assert_eq!(self.sender.state(), state);
        Ok(())
    }
}

proptest! {
    #[test]
    fn nobody_is_overtaken_twice_by_the_same_network_or_a_neighbour_and_positions_are_true(steps in steps()) {
        let (sender, queue) = open(8, 3);
        let mut watched = Watched {
            sender,
            queue,
            waiting: Vec::new(),
            running: Vec::new(),
            overtaken: [[0; 5]; 5],
            networks_overtaken: [[0; 3]; 3],
        };
        for step in &steps {
            watched.step(step)?;
        }
        while !watched.waiting.is_empty() {
            watched.take()?;
        }
        watched.running.clear();
        prop_assert_eq!(watched.sender.state(), QueueState::default());
    }
}
