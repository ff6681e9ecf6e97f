//! What a visitor does, and what he notices.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::AnyResult;
use crate::client::{Client, Result, Stream, Trouble};
use crate::plan::{Plan, Turn};

/// What a visitor may be told at any time: that there is too much to do now.
const TOO_MUCH: [&str; 7] = [
    "queue_full",
    "visitor_queue_full",
    "network_queue_full",
    "memory_full",
    "store_busy",
    "too_many_questions",
    "too_slow",
];

/// A question that the model has not begun waits two seconds for its visitor to come back, and looks
/// for him every half a second.
const AWAY: Duration = Duration::from_millis(1400);

/// What was given to a turn of a plan, and how often.
pub type Observed = BTreeMap<(usize, usize), BTreeMap<Given, usize>>;

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Given {
    pub text: String,
    pub further: Vec<String>,
    /// Whether it came to its own end.
    pub is_whole: bool,
}

/// What all visitors have seen together.
#[derive(Default)]
pub struct Shared(Mutex<Seen>);

#[derive(Default)]
pub struct Seen {
    pub observed: Observed,
    pub faults: Vec<String>,
    /// Refusals and failures that may be, by code.
    pub errors: BTreeMap<String, usize>,
    pub requests: usize,
    pub whole: usize,
    pub stopped: usize,
    /// Taken up after the connection was lost, or by a page that was loaded again.
    pub taken_up: usize,
    pub left: usize,
    pub tokens: u64,
    /// Seconds to the first token, and between two.
    pub first: Vec<f64>,
    pub between: Vec<f64>,
    /// With the visitors whose they are, of the latest.
    conversations: HashMap<usize, String>,
    /// Of each picture, what its preview's bytes come to.
    previews: HashMap<usize, u64>,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn fault(&self, what: String) {
        self.lock().faults.push(what);
    }

    pub fn observed(&self) -> Observed {
        self.lock().observed.clone()
    }
}

pub struct Visitor {
    number: usize,
    client: Client,
    plans: Arc<Vec<Plan>>,
    shared: Arc<Shared>,
    rng: StdRng,
}

/// A conversation as its visitor knows it.
struct Conversation {
    id: String,
    preview: String,
    plan: usize,
    /// Question and answer of each turn, whatever became of it.
    turns: Vec<(String, String)>,
}

/// How an answer is read; after so many events ...
#[derive(Clone, Copy)]
enum Way {
    ToTheEnd,
    /// ... Stop is pressed.
    Stop(u64),
    /// ... the connection is lost for a while.
    Disconnect(u64),
    /// ... the page is loaded again.
    Reload(u64),
    /// ... the visitor goes away.
    Leave(u64),
}

impl Way {
    fn random(rng: &mut StdRng) -> Self {
        let after = rng.random_range(1..=14);
        match rng.random_range(0..100) {
            0..50 => Self::ToTheEnd,
            50..65 => Self::Stop(after),
            65..80 => Self::Disconnect(after),
            80..92 => Self::Reload(after),
            _ => Self::Leave(after),
        }
    }

    fn is_due(self, events: u64) -> bool {
        match self {
            Self::ToTheEnd => false,
            Self::Stop(after) | Self::Disconnect(after) | Self::Reload(after) | Self::Leave(after) => events >= after,
        }
    }
}

/// How a turn ended.
enum Ended {
    Whole,
    /// Stopped, or failed: to be asked again.
    Cut,
    /// Not taken, for now.
    Refused,
    Left,
}

/// An answer as far as it was read.
#[derive(Default)]
struct Reading {
    seq: u64,
    answer: Option<String>,
    text: String,
    further: Vec<String>,
    generated: u64,
    end: Option<String>,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Reading {
    /// Takes in an event.
    ///
    /// # Errors
    /// One before it is lost.
    fn take(&mut self, line: &Value, between: &mut Vec<f64>) -> Result<()> {
        let event = line["event"].as_str().unwrap_or_default();
        let expected = self.seq + u64::from(event != "heartbeat");
        if line["seq"].as_u64() != Some(expected) || self.end.is_some() {
            return Err(Trouble::Broken(format!("event {expected} is lost; came {line}")));
        }
        self.seq = expected;
        match event {
            "queued" => self.answer = line["answer"].as_str().map(str::to_owned),
            "token" => {
                self.text.push_str(line["text"].as_str().unwrap_or_default());
                let now = Instant::now();
                if let Some(last) = self.last.replace(now) {
                    between.push((now - last).as_secs_f64());
                }
                self.first.get_or_insert(now);
            }
            "done" => {
                let further = line["further_answers"].as_array().into_iter().flatten();
                self.further = further.filter_map(|text| Some(text.as_str()?.to_owned())).collect();
                self.generated = line["generated_tokens"].as_u64().unwrap_or_default();
                self.end = line["finish_reason"].as_str().map(str::to_owned);
            }
            "error" => self.end = line["code"].as_str().map(str::to_owned),
            _ => {}
        }
        Ok(())
    }

    fn given(self, is_whole: bool) -> Given {
        Given {
            text: self.text,
            further: self.further,
            is_whole,
        }
    }
}

impl Visitor {
    pub fn new(number: usize, seed: u64, address: &str, plans: &Arc<Vec<Plan>>, shared: &Arc<Shared>) -> Self {
        Self {
            number,
            client: Client::new(address, number as u64 + 1),
            plans: Arc::clone(plans),
            shared: Arc::clone(shared),
            rng: StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(number as u64)),
        }
    }

    /// One conversation after the other.
    pub fn ask_until(mut self, end: Instant) {
        while Instant::now() < end {
            if let Err(trouble) = self.converse(end) {
                self.note(trouble);
                self.pause();
            }
        }
        self.shared.lock().requests += self.client.requests.load(Ordering::Relaxed);
    }

    fn converse(&mut self, end: Instant) -> Result<()> {
        let plans = Arc::clone(&self.plans);
        let number = self.rng.random_range(0..plans.len());
        let plan = &plans[number];
        let begun = self.client.upload(&plan.file)?;
        let mut conversation = Conversation {
            id: begun["id"].as_str().unwrap_or_default().to_owned(),
            preview: begun["picture"]["url"].as_str().unwrap_or_default().to_owned(),
            plan: number,
            turns: Vec::new(),
        };
        let mine = conversation.id.clone();
        self.shared.lock().conversations.insert(self.number, mine);
        let mut turn = 0;
        while turn < plan.turns.len() && Instant::now() < end {
            match self.turn(&mut conversation, turn, &plan.turns[turn])? {
                Ended::Whole => turn += 1,
                Ended::Cut => {}
                Ended::Refused => self.pause(),
                Ended::Left => return Ok(()),
            }
            if self.rng.random_bool(0.1) {
                self.pry()?;
            }
        }
        self.look_at(&conversation)
    }

    /// Asks, and reads the answer in some way.
    fn turn(&mut self, conversation: &mut Conversation, number: usize, turn: &Turn) -> Result<Ended> {
        let asked = Instant::now();
        let mut stream = match self.client.ask(&conversation.id, turn.question, &turn.settings) {
            Ok(stream) => stream,
            Err(trouble) if may_be(&trouble) => {
                self.note(trouble);
                return Ok(Ended::Refused);
            }
            Err(trouble) => return Err(trouble),
        };
        let (mut reading, mut between) = (Reading::default(), Vec::new());
        let mut way = Way::random(&mut self.rng);
        // Times count of a connection that holds.
        let (mut is_timed, mut away) = (turn.streams, Duration::ZERO);
        while reading.end.is_none() {
            let Some(line) = stream.next() else {
                return Err(self.lost(conversation, number, "its stream ended before it"));
            };
            reading.take(&line?, &mut between)?;
            if reading.end.is_some() || !way.is_due(reading.seq) {
                continue;
            }
            match way {
                Way::ToTheEnd => {}
                Way::Stop(_) => self.client.cancel(&conversation.id)?,
                Way::Leave(_) => {
                    self.shared.lock().left += 1;
                    return Ok(Ended::Left);
                }
                Way::Disconnect(_) => {
                    drop(stream);
                    let gone = Instant::now();
                    std::thread::sleep(Duration::from_millis(self.rng.random_range(0..800)));
                    let answer = reading.answer.as_deref();
                    stream = self.client.follow(&conversation.id, answer, reading.seq)?;
                    (is_timed, away) = (false, gone.elapsed());
                    self.shared.lock().taken_up += 1;
                }
                Way::Reload(_) => {
                    drop(stream);
                    let gone = Instant::now();
                    let (followed, again) = self.reload(conversation, turn, &reading)?;
                    (stream, reading) = (followed, again);
                    (is_timed, away) = (false, gone.elapsed());
                    self.shared.lock().taken_up += 1;
                }
            }
            way = Way::ToTheEnd;
        }
        if is_timed {
            let mut seen = self.shared.lock();
            seen.first
                .extend(reading.first.map(|first| (first - asked).as_secs_f64()));
            seen.between.append(&mut between);
        }
        self.ended(conversation, number, turn, reading, away)
    }

    /// Loads the page of a conversation whose answer is being given, and follows that from its
    /// beginning; what came before comes again.
    fn reload(&self, conversation: &Conversation, turn: &Turn, before: &Reading) -> Result<(Stream, Reading)> {
        self.client.get(&format!("/c/{}", conversation.id))?;
        let kept = self.client.conversation(&conversation.id)?;
        let last = kept["turns"]
            .as_array()
            .and_then(|turns| turns.last())
            .cloned()
            .unwrap_or_default();
        let is_it = last["answer_id"].as_str() == before.answer.as_deref()
            && last["question"].as_str() == Some(turn.question.unwrap_or_default());
        if !is_it {
            return Err(Trouble::Broken(format!("the page does not know of its answer: {last}")));
        }
        let mut stream = self.client.follow(&conversation.id, None, 0)?;
        let mut again = Reading::default();
        while again.seq < before.seq {
            let Some(line) = stream.next() else {
                return Err(Trouble::Broken(
                    "an answer that was taken up is shorter than it was".into(),
                ));
            };
            again.take(&line?, &mut Vec::new())?;
        }
        match again.text == before.text {
            true => Ok((stream, again)),
            false => Err(Trouble::Broken(format!(
                "an answer was {:?}, and is {:?} after loading the page again",
                before.text, again.text
            ))),
        }
    }

    /// Notes how an answer ended.
    fn ended(
        &self,
        conversation: &mut Conversation,
        number: usize,
        turn: &Turn,
        reading: Reading,
        away: Duration,
    ) -> Result<Ended> {
        let question = turn.question.unwrap_or_default().to_owned();
        conversation.turns.push((question, reading.text.clone()));
        let key = (conversation.plan, number);
        let end = reading.end.clone().unwrap_or_default();
        let mut seen = self.shared.lock();
        let mut observe = |given| *seen.observed.entry(key).or_default().entry(given).or_default() += 1;
        match end.as_str() {
            "stop" | "length" => {
                let generated = reading.generated;
                observe(reading.given(true));
                seen.whole += 1;
                seen.tokens += generated;
                return Ok(Ended::Whole);
            }
            "cancelled" => {
                observe(reading.given(false));
                seen.stopped += 1;
            }
            "interrupted" if away >= AWAY => {
                observe(reading.given(false));
                *seen.errors.entry("came_back_late".into()).or_default() += 1;
            }
            code if TOO_MUCH.contains(&code) => *seen.errors.entry(code.to_owned()).or_default() += 1,
            code => {
                drop(seen);
                return Err(self.lost(conversation, number, code));
            }
        }
        Ok(Ended::Cut)
    }

    /// The conversation as it is kept, and its picture: as the visitor left them.
    fn look_at(&self, conversation: &Conversation) -> Result<()> {
        let kept = self.client.conversation(&conversation.id)?;
        let text = |turn: &Value, name: &str| turn[name].as_str().unwrap_or_default().to_owned();
        let turns = kept["turns"].as_array().into_iter().flatten();
        let turns: Vec<_> = turns
            .map(|turn| (text(turn, "question"), text(turn, "answer")))
            .collect();
        if turns != conversation.turns {
            return Err(Trouble::Broken(format!(
                "a conversation is kept as {turns:?}, and was {:?}",
                conversation.turns
            )));
        }
        let mut hasher = DefaultHasher::new();
        self.client.get(&conversation.preview)?.hash(&mut hasher);
        let hash = hasher.finish();
        match self.shared.lock().previews.entry(self.plans[conversation.plan].picture) {
            Entry::Occupied(known) if *known.get() != hash => Err(Trouble::Broken(
                "a conversation shows another picture than was put in".into(),
            )),
            entry => {
                entry.or_insert(hash);
                Ok(())
            }
        }
    }

    /// Tries what others have: none of it may be there.
    fn pry(&mut self) -> Result<()> {
        let others: Vec<String> = {
            let seen = self.shared.lock();
            let others = seen.conversations.iter().filter(|(number, _)| **number != self.number);
            others.map(|(_, id)| id.clone()).collect()
        };
        if others.is_empty() {
            return Ok(());
        }
        let id = &others[self.rng.random_range(0..others.len())];
        let is_hidden = |trouble: &Trouble| matches!(trouble, Trouble::Refused { status: 404, .. });
        let state = self.client.conversation(id)?;
        let followed = self.client.follow(id, None, 0).map(drop);
        let cancelled = self.client.cancel(id);
        let asked = self.client.ask(id, Some("whose is it?"), &Value::Null).map(drop);
        let are_hidden = [followed, cancelled, asked]
            .iter()
            .all(|done| done.as_ref().is_err_and(is_hidden));
        match state.is_null() && are_hidden {
            true => Ok(()),
            false => Err(Trouble::Broken("another visitor's conversation is within reach".into())),
        }
    }

    fn lost(&self, conversation: &Conversation, turn: usize, why: &str) -> Trouble {
        Trouble::Broken(format!(
            "the answer to turn {turn} of plan {} is lost: {why}",
            conversation.plan
        ))
    }

    fn note(&self, trouble: Trouble) {
        let mut seen = self.shared.lock();
        match trouble {
            Trouble::Refused { ref code, .. } if may_be(&trouble) => {
                *seen.errors.entry(code.clone()).or_default() += 1;
            }
            other => seen.faults.push(format!("visitor {}: {other}", self.number)),
        }
    }

    fn pause(&mut self) {
        std::thread::sleep(Duration::from_millis(self.rng.random_range(200..600)));
    }
}

fn may_be(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Refused { status: 429 | 503, code } if TOO_MUCH.contains(&code.as_str()))
}

/// Asks the first turns of a plan, and gives what is answered.
///
/// # Errors
/// One of them is not answered.
pub fn ask_alone(client: &Client, plan: &Plan, turns: usize) -> AnyResult<Vec<Given>> {
    let begun = client.upload(&plan.file)?;
    let id = begun["id"].as_str().unwrap_or_default();
    let mut all = Vec::new();
    for turn in &plan.turns[..turns] {
        let mut reading = Reading::default();
        for line in client.ask(id, turn.question, &turn.settings)? {
            reading.take(&line?, &mut Vec::new())?;
        }
        match reading.end.as_deref() {
            Some("stop" | "length") => all.push(reading.given(true)),
            end => return Err(format!("asked alone, an answer ended with {end:?}").into()),
        }
    }
    Ok(all)
}
