//! The queue's promises, for any order of arrivals, departures and answers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use proptest::prelude::*;

use super::*;

/// What a test sees of something that waits.
#[derive(Default)]
struct Seen {
    /// 0 counts as 1.
    cost: Cell<usize>,
    is_cancelled: Cell<bool>,
    is_expired: Cell<bool>,
    deadline: Cell<Option<Instant>>,
    told: RefCell<Vec<(usize, Option<Duration>)>>,
}

#[derive(Clone, Default)]
struct Item(Rc<Seen>);

impl Item {
    fn of_cost(cost: usize) -> Self {
        let item = Self::default();
        item.0.cost.set(cost);
        item
    }

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

    fn cost(&self) -> usize {
        self.0.cost.get()
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
    submit_of_cost(0, sender, number)
}

/// The same with a question that takes so much of the model.
fn submit_of_cost(cost: usize, sender: &QueueSender<Item>, number: usize) -> Item {
    let item = Item::of_cost(cost);
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

/// Takes out everything, and says what each question cost.
fn costs_in_order(queue: &Queue<Item>) -> Vec<usize> {
    let taken = std::iter::from_fn(|| queue.try_next());
    taken.map(|(item, _permit)| item.0.cost.get()).collect()
}

#[test]
fn a_search_counts_as_the_rows_that_it_takes() {
    let (sender, queue) = open(99, 99);
    let searches = [(); 3].map(|()| submit_of_cost(10, &sender, 1));
    let questions = [(); 25].map(|()| submit_of_cost(1, &sender, 2));
    assert_eq!(searches.map(|item| item.position()), [1, 12, 23]);
    assert_eq!(questions[24].position(), 28);
    let mut expected = Vec::new();
    for questions in [10, 10, 5] {
        expected.push(10);
        expected.extend(std::iter::repeat_n(1, questions));
    }
    assert_eq!(costs_in_order(&queue), expected);
}

#[test]
fn whoever_is_alone_is_not_held_up_and_others_come_before_what_he_asks_on() {
    let (sender, queue) = open(99, 99);
    let searches = [(); 3].map(|()| submit_of_cost(10, &sender, 1));
    for _ in 0..2 {
        assert!(queue.try_next().is_some(), "nobody else waits");
    }
    let question = submit_of_cost(1, &sender, 2);
    assert_eq!((question.position(), searches[2].position()), (1, 2));
}

#[test]
fn whoever_asks_one_search_after_the_other_owes_for_it_all_the_same() {
    let (sender, queue) = open(99, 99);
    submit_of_cost(3, &sender, 1);
    let questions = [(); 5].map(|()| submit_of_cost(1, &sender, 2));
    assert!(queue.try_next().is_some(), "his only question is taken");
    let next = submit_of_cost(3, &sender, 1);
    assert_eq!(next.position(), 4, "it cost as much as three others");
    assert_eq!(questions.map(|item| item.position()), [1, 2, 3, 5, 6]);
    assert_eq!(costs_in_order(&queue), [1, 1, 1, 3, 1, 1]);
    // Nobody waits: nobody has anything to forgive.
    let [his, other] = [1, 2].map(|number| submit_of_cost(1, &sender, number));
    assert_eq!([his, other].map(|item| item.position()), [1, 2]);
}

#[test]
fn a_network_owes_what_its_clients_took() {
    let (sender, queue) = open(99, 9);
    let submit = |network, number, cost| {
        let network = Some(IpAddr::from([192, 0, 2, network]));
        let item = Item::of_cost(cost);
        let submitted = sender.submit(client(number), network, item.clone());
        submitted.map(|()| item).expect("there is a place")
    };
    let [search, neighbour] = [submit(1, 1, 3), submit(1, 2, 1)];
    let others = [(); 4].map(|()| submit(2, 3, 1));
    assert_eq!([search, neighbour].map(|item| item.position()), [1, 5]);
    assert_eq!(others.map(|item| item.position()), [2, 3, 4, 6]);
    assert_eq!(costs_in_order(&queue), [3, 1, 1, 1, 1, 1]);
}

#[test]
fn what_does_not_fit_is_overtaken_by_nobody() {
    let (sender, queue) = open(9, 9);
    let [search, question] = [(4, 1), (1, 2)].map(|(cost, number)| submit_of_cost(cost, &sender, number));
    let fits = |room| move |item: &Item| item.cost() <= room;
    for _ in 0..3 {
        assert!(queue.try_next_if(fits(3)).is_none());
        assert_eq!([&search, &question].map(Item::position), [1, 2]);
    }
    let late = submit_of_cost(1, &sender, 3);
    assert_eq!(late.position(), 3);
    assert_eq!(sender.state(), QueueState { waiting: 3, running: 0 });
    let (taken, search_permit) = queue.try_next_if(fits(4)).expect("it fits");
    assert!(Rc::ptr_eq(&taken.0, &search.0));
    let (taken, _permit) = queue.try_next_if(fits(1)).expect("it fits beside it");
    assert!(Rc::ptr_eq(&taken.0, &question.0));
    assert_eq!(sender.state(), QueueState { waiting: 1, running: 2 });
    drop(search_permit);
    assert_eq!(sender.state(), QueueState { waiting: 1, running: 1 });
    search.0.is_cancelled.set(true);
    late.0.is_cancelled.set(true);
    assert!(queue.try_next_if(|_| panic!("nobody waits")).is_none());
}

#[test]
fn how_long_it_takes_is_told_once_an_answer_has_been_given() {
    let (sender, queue) = open(9, 9);
    let first = submit(&sender, 1);
    let taken = queue.next();
    assert_eq!(first.expected(), None, "nobody knows yet");
    drop(taken);
    let average = queue.0.lock().pace.average().expect("an answer was given");
    let waiting = [(); 3].map(|()| submit(&sender, 1));
    let expected = waiting.map(|item| item.expected());
    assert_eq!(expected, [0, 1, 2].map(|before| Some(average * before)), "nothing runs");
}

/// Seconds, on a clock of the test's own.
struct Clock(Instant);

impl Clock {
    fn at(&self, second: f64) -> Instant {
        self.0 + Duration::from_secs_f64(second)
    }
}

/// How long those wait that have 0, 1 and 2 others before them, in seconds.
fn expected(pace: &Pace, now: Instant) -> [Option<f64>; 3] {
    [0, 1, 2].map(|before| pace.expected(before, now).map(|time| time.as_secs_f64()))
}

#[test]
fn with_one_answer_at_a_time_one_waits_as_long_as_they_take() {
    let (mut pace, clock) = (Pace::default(), Clock(Instant::now()));
    pace.begun(clock.at(0.0));
    assert_eq!(expected(&pace, clock.at(5.0)), [None; 3]);
    pace.idle(clock.at(8.0));
    assert_eq!(expected(&pace, clock.at(9.0)), [0.0, 8.0, 16.0].map(Some));
    // An hour in which nobody asks says nothing of how long one waits.
    pace.begun(clock.at(3600.0));
    assert_eq!(expected(&pace, clock.at(3602.0)), [6.0, 14.0, 22.0].map(Some));
    pace.idle(clock.at(3604.0));
    pace.begun(clock.at(3604.0));
    assert_eq!(expected(&pace, clock.at(3604.0)), [6.0, 12.0, 18.0].map(Some));
    assert_eq!(
        expected(&pace, clock.at(3700.0))[0],
        Some(0.0),
        "it takes longer than others"
    );
}

#[test]
fn with_several_at_a_time_one_waits_as_often_as_they_begin() {
    let (mut pace, clock) = (Pace::default(), Clock(Instant::now()));
    // Four run, each for 8 seconds, one after the other.
    for second in [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0] {
        pace.begun(clock.at(second));
    }
    assert_eq!(expected(&pace, clock.at(12.0)), [2.0, 4.0, 6.0].map(Some));
    assert_eq!(expected(&pace, clock.at(13.5))[0], Some(0.5));
    // The same, beginning together.
    let mut pace = Pace::default();
    for round in 0..9 {
        for _ in 0..4 {
            pace.begun(clock.at(8.0 * f64::from(round)));
        }
    }
    assert_eq!(pace.average(), Some(Duration::from_secs(2)));
}

#[test]
fn answers_of_late_count() {
    let (mut pace, clock) = (Pace::default(), Clock(Instant::now()));
    for second in 0..9 {
        pace.begun(clock.at(f64::from(second)));
    }
    for answer in 1..=BEGUN_OF_LATE as u32 {
        pace.begun(clock.at(8.0 + 5.0 * f64::from(answer)));
    }
    assert_eq!(pace.average(), Some(Duration::from_secs(5)));
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

/// The most that a question costs in what follows.
const MAX_COST: usize = 5;

/// What can happen to a queue.
#[derive(Clone, Debug)]
enum Step {
    /// A client with a question of this cost.
    Arrive(usize, usize),
    /// The one at this index among all that wait.
    Cancel(usize),
    Take,
    /// The next one, if it costs no more than this.
    TakeIfWithin(usize),
    Finish,
    Look,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let cost = || prop_oneof![3 => Just(1), 1 => 1..=MAX_COST];
    let step = prop_oneof![
        4 => (0..5usize, cost()).prop_map(|(client, cost)| Step::Arrive(client, cost)),
        1 => (0..20usize).prop_map(Step::Cancel),
        2 => Just(Step::Take),
        2 => cost().prop_map(Step::TakeIfWithin),
        2 => Just(Step::Finish),
        1 => Just(Step::Look),
    ];
    proptest::collection::vec(step, 0..120)
}

/// What one took while another waited.
#[derive(Clone, Copy, Default)]
struct Taken {
    questions: usize,
    cost: usize,
}

/// Who took how much while each of `N` waited, since he had his own turn.
struct Turns<const N: usize> {
    taken: [[Taken; N]; N],
    /// What each may owe for his latest question.
    owes: [usize; N],
}

impl<const N: usize> Turns<N> {
    fn new() -> Self {
        Self {
            taken: [[Taken::default(); N]; N],
            owes: [0; N],
        }
    }

    /// Somebody begins to wait.
    fn waits(&mut self, number: usize) {
        self.taken[number] = [Taken::default(); N];
    }

    fn note(
        &mut self,
        served: usize,
        cost: usize,
        is_beside: impl Fn(usize) -> bool,
        waits: impl Fn(usize) -> bool,
    ) -> Result<(), TestCaseError> {
        self.waits(served);
        self.owes[served] = cost - 1;
        for other in (0..N).filter(|other| *other != served && is_beside(*other)) {
            let Taken { questions, cost: sum } = &mut self.taken[other][served];
            (*questions, *sum) = (*questions + 1, *sum + cost);
            let owes = self.owes[other];
            prop_assert!(
                !waits(other) || (*questions <= 1 + owes && *sum <= MAX_COST + owes),
                "{other}, who owed {owes}, waited while {served} had {questions} questions that cost {sum}"
            );
        }
        Ok(())
    }
}

/// A queue with what a bookkeeper writes down beside it.
struct Watched {
    sender: QueueSender<Item>,
    queue: Queue<Item>,
    waiting: Vec<(usize, Item)>,
    running: Vec<Permit<Item>>,
    clients: Turns<5>,
    networks: Turns<3>,
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

    /// How many of a client wait.
    fn waiting_of(&self, client: usize) -> usize {
        self.waiting.iter().filter(|(other, _)| *other == client).count()
    }

    /// How many wait that came from a network.
    fn waiting_of_network(&self, network: usize) -> usize {
        let numbers = self.waiting.iter().map(|(number, _)| *number);
        numbers.filter(|number| network_of(*number).0 == network).count()
    }

    fn arrive(&mut self, number: usize, cost: usize) -> Result<(), TestCaseError> {
        let item = Item::of_cost(cost);
        let (network, address) = network_of(number);
        let (own, of_network) = (self.waiting_of(number), self.waiting_of_network(network));
        let expected = match (own, self.waiting.len(), of_network) {
            (3.., _, _) => Err(Refusal::ClientFull { limit: 3 }),
            (_, 8.., _) => Err(Refusal::Full { limit: 8 }),
            (_, _, 6..) => Err(Refusal::NetworkFull { limit: 6 }),
            _ => Ok(()),
        };
        if own == 0 {
            self.clients.waits(number);
        }
        if of_network == 0 {
            self.networks.waits(network);
        }
        prop_assert_eq!(self.sender.submit(client(number), address, item.clone()), expected);
        if expected.is_ok() {
            self.waiting.push((number, item));
        }
        Ok(())
    }

    /// Takes whoever was told that he is next, where his question costs no more than this.
    fn take(&mut self, room: usize) -> Result<(), TestCaseError> {
        self.queue.refresh();
        self.check_positions()?;
        let Some(next) = self.waiting.iter().position(|(_, item)| item.position() == 1) else {
            prop_assert!(self.queue.try_next().is_none());
            return Ok(());
        };
        let taken = self.queue.try_next_if(|item| item.cost() <= room);
        if self.waiting[next].1.cost() > room {
            prop_assert!(
                taken.is_none(),
                "it was taken into less room than it takes, or overtaken"
            );
            return Ok(());
        }
        let (number, told) = self.waiting.remove(next);
        let (served, permit) = taken.expect("somebody waits");
        prop_assert!(Rc::ptr_eq(&served.0, &told.0), "who was told that he is next was not");
        let older = |(other, item): &(usize, Item)| *other == number && item.position() == 0;
        prop_assert!(!self.waiting.iter().any(older));
        self.running.push(permit);
        self.note_served(number, served.cost())
    }

    fn note_served(&mut self, number: usize, cost: usize) -> Result<(), TestCaseError> {
        let network = network_of(number).0;
        let clients = [0, 1, 2, 3, 4].map(|client| self.waiting_of(client) > 0);
        let networks = [0, 1, 2].map(|network| self.waiting_of_network(network) > 0);
        let is_neighbour = |other: usize| network_of(other).0 == network;
        self.clients
            .note(number, cost, is_neighbour, |client| clients[client])?;
        self.networks.note(network, cost, |_| true, |network| networks[network])
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Arrive(number, cost) => self.arrive(*number, *cost)?,
            Step::Cancel(index) if *index < self.waiting.len() => {
                let (_, item) = self.waiting.remove(*index);
                item.0.is_cancelled.set(true);
                self.queue.refresh();
            }
            Step::Take => self.take(MAX_COST)?,
            Step::TakeIfWithin(room) => self.take(*room)?,
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
    fn everybody_has_his_turn_by_what_questions_cost_and_positions_are_true(steps in steps()) {
        let (sender, queue) = open(8, 3);
        let mut watched = Watched {
            sender,
            queue,
            waiting: Vec::new(),
            running: Vec::new(),
            clients: Turns::new(),
            networks: Turns::new(),
        };
        for step in &steps {
            watched.step(step)?;
        }
        while !watched.waiting.is_empty() {
            watched.take(MAX_COST)?;
        }
        watched.running.clear();
        prop_assert_eq!(watched.sender.state(), QueueState::default());
    }

    #[test]
    fn a_client_with_fifty_requests_keeps_nobody_waiting_for_more_than_one_of_them(
        costs in proptest::collection::vec(1..=10usize, 50),
        arrives_after in 0..50usize,
    ) {
        let (sender, queue) = open(99, 99);
        for cost in costs {
            submit_of_cost(cost, &sender, 1);
        }
        for _ in 0..arrives_after {
            prop_assert!(queue.try_next().is_some());
        }
        // He has a second one, once he has been served.
        for question in [(); 2].map(|()| submit(&sender, 2)) {
            let mut others = 0;
            while let Some((served, _)) = queue.try_next()
                && !Rc::ptr_eq(&served.0, &question.0)
            {
                others += 1;
            }
            prop_assert!(others <= 1, "{others} of the fifty were served before him");
        }
    }
}
