//! Answers that are being given, or were given a moment ago.
//!
//! An answer outlives the request that asked for it: a task of its own takes the engine's
//! events, gives each a number, writes the answer into the store more than once a second and at
//! its end, and lets any number of followers read the events, from any number on. When
//! nobody has followed for a grace period, or the visitor cancels it, the task drops the
//! engine's receiver, and with it the work. After its end an answer can be followed for a
//! while longer, by whoever lost the connection shortly before.
//!
//! When the process is about to end, questions that wait are told so, and answers that have
//! begun may come to their own end for a while ([`AnswerRegistry::drain`]); what then still runs
//! is kept as far as it has come ([`AnswerRegistry::end`]).

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use super::event_log::EventLog;
use super::{Limits, Result};
use crate::chat::{
    Answer, AnswerId, AnswerState, Completion, ConversationId, Error, Event, EventKind, FinishReason, RequestId,
    Timings, TurnId,
};
use crate::engine;
use crate::generation;
use crate::store::Store;

/// How often an answer looks whether somebody still follows it.
const LOOK_AROUND: Duration = Duration::from_millis(500);

/// How long a question that the model has not begun waits for somebody to follow it, where
/// the grace period is longer: its place is for whoever still waits.
const UNBEGUN_GRACE: Duration = Duration::from_secs(2);

/// How long what has come of an answer waits at most until it begins to be saved: a process that is
/// killed loses the last second, and a disk needs a moment.
const SAVE: Duration = Duration::from_millis(750);

/// Answers that are kept after their end, whatever their age.
const MAX_ENDED: usize = 4096;

/// Bytes of their events: an answer has one or two kilobytes, and may have many more.
const MAX_ENDED_BYTES: usize = 32 << 20;

/// An answer that was asked for.
pub struct Asked {
    pub answer: Answer,
    pub events: engine::Events,
    /// When the engine was asked.
    pub at: Instant,
}

/// All answers that can be followed.
pub struct AnswerRegistry {
    known: Arc<Mutex<Known>>,
    store: Arc<dyn Store>,
    wait_time: Duration,
    answer_time: Duration,
    grace: Duration,
    keep: Duration,
    /// The process is about to end: nothing begins any more.
    draining: CancellationToken,
    /// The process ends, and all answers with it.
    ending: CancellationToken,
    /// How many tasks have not saved their end yet.
    tasks: Arc<watch::Sender<usize>>,
    pub activity: Arc<Activity>,
}

#[derive(Default)]
struct Known {
    answers: HashMap<AnswerId, Arc<InFlightAnswer>>,
    /// Of a conversation, the answer that is being given, or was the last to be.
    latest: HashMap<ConversationId, AnswerId>,
    /// In the order in which they ended.
    ended: VecDeque<Ended>,
    /// Of all that have ended.
    ended_bytes: usize,
}

/// An answer that is kept after its end.
struct Ended {
    at: Instant,
    id: AnswerId,
    bytes: usize,
}

/// One answer that is being given, or was given a moment ago.
pub struct InFlightAnswer {
    pub id: AnswerId,
    pub turn: TurnId,
    conversation: ConversationId,
    /// Those of other models to the same question, which are followed and counted by themselves.
    pub beside: Vec<Arc<InFlightAnswer>>,
    events: Mutex<EventLog>,
    /// How many events there are; followers wait for it to change.
    count: watch::Sender<usize>,
    followers: AtomicUsize,
    cancelled: CancellationToken,
    draining: CancellationToken,
    ending: CancellationToken,
}

/// Counts a task as long as it lives.
pub struct Counted(Arc<watch::Sender<usize>>);

impl Counted {
    fn new(tasks: &Arc<watch::Sender<usize>>) -> Self {
        tasks.send_modify(|tasks| *tasks += 1);
        Self(Arc::clone(tasks))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|tasks| *tasks -= 1);
    }
}

impl AnswerRegistry {
    pub fn new(store: Arc<dyn Store>, limits: &Limits) -> Self {
        Self {
            known: Arc::default(),
            store,
            wait_time: limits.wait_time,
            answer_time: limits.answer_time,
            grace: limits.grace,
            keep: limits.keep_answers,
            draining: CancellationToken::new(),
            ending: CancellationToken::new(),
            tasks: Arc::default(),
            activity: Arc::default(),
        }
    }

    /// Takes on a turn's answers, which have begun in the store and are at their beginning. Gives the
    /// first, which the others are beside; none where there are none.
    pub fn begin(
        &self,
        conversation: &ConversationId,
        turn: &TurnId,
        answers: Vec<Asked>,
    ) -> Option<Arc<InFlightAnswer>> {
        let mut answers = answers.into_iter();
        let first = answers.next()?;
        let others = answers.map(|asked| self.begin_one(conversation, turn, asked, Vec::new()));
        let others = others.collect();
        Some(self.begin_one(conversation, turn, first, others))
    }

    fn begin_one(
        &self,
        conversation: &ConversationId,
        turn: &TurnId,
        asked: Asked,
        beside: Vec<Arc<InFlightAnswer>>,
    ) -> Arc<InFlightAnswer> {
        let Asked { answer, events, at } = asked;
        let in_flight = Arc::new(InFlightAnswer {
            id: answer.id.clone(),
            turn: turn.clone(),
            conversation: conversation.clone(),
            beside,
            events: Mutex::default(),
            count: watch::Sender::new(0),
            followers: AtomicUsize::new(0),
            cancelled: CancellationToken::new(),
            draining: self.draining.clone(),
            ending: self.ending.clone(),
        });
        let mut known = lock(&self.known);
        known.forget_ended(self.keep);
        known.latest.insert(conversation.clone(), answer.id.clone());
        known.answers.insert(answer.id.clone(), Arc::clone(&in_flight));
        drop(known);
        let task = Task {
            asked: at,
            begun: None,
            prompt_tokens: 0,
            answer,
            in_flight: Arc::clone(&in_flight),
            store: Arc::clone(&self.store),
            known: Arc::clone(&self.known),
            grace: self.grace,
            activity: Arc::clone(&self.activity),
            wait_time: self.wait_time,
            answer_time: self.answer_time,
        };
        let counted = Counted::new(&self.tasks);
        tokio::spawn(RequestId::carry(async move {
            task.run(events).await;
            drop(counted);
        }));
        in_flight
    }

    /// Counts what is about to begin, so that the process does not end before it has; none where nothing may
    /// begin any more.
    pub fn count(&self) -> Option<Counted> {
        // Counted first: whoever drains has either seen it, or is seen here.
        let counted = Counted::new(&self.tasks);
        (!self.is_draining()).then_some(counted)
    }

    /// Whether nothing begins any more, since the process is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Lets nothing begin any more, and tells so whoever waits for the model; returns when all
    /// answers that had begun are given, and in the store.
    pub async fn drain(&self) {
        self.draining.cancel();
        self.all_kept().await;
    }

    /// Ends all answers, those to come too, since the process ends; returns when what has
    /// come of them is in the store.
    pub async fn end(&self) {
        self.ending.cancel();
        self.draining.cancel();
        self.all_kept().await;
    }

    async fn all_kept(&self) {
        // An error says that nobody counts any more.
        let _ = self.tasks.subscribe().wait_for(|tasks| *tasks == 0).await;
    }

    /// The answer that is being given in a conversation, or was the last to be.
    pub fn latest(&self, conversation: &ConversationId) -> Option<Arc<InFlightAnswer>> {
        let mut known = lock(&self.known);
        known.forget_ended(self.keep);
        let id = known.latest.get(conversation)?;
        known.answers.get(id).cloned()
    }
}

impl Known {
    /// Forgets answers that ended so long ago that nobody will take them up.
    fn forget_ended(&mut self, keep: Duration) {
        let is_much = |known: &Self| known.ended.len() > MAX_ENDED || known.ended_bytes > MAX_ENDED_BYTES;
        while let Some(oldest) = self.ended.front()
            && (oldest.at.elapsed() >= keep || is_much(self))
            && let Some(Ended { id, bytes, .. }) = self.ended.pop_front()
        {
            self.ended_bytes -= bytes;
            if let Some(answer) = self.answers.remove(&id)
                && self.latest.get(&answer.conversation) == Some(&id)
            {
                match answer.beside.iter().find(|other| !other.is_over()) {
                    Some(other) => self.latest.insert(answer.conversation.clone(), other.id.clone()),
                    None => self.latest.remove(&answer.conversation),
                };
            }
        }
    }

    fn has_ended(&mut self, answer: &InFlightAnswer) {
        let bytes = lock(&answer.events).bytes();
        self.ended_bytes += bytes;
        self.ended.push_back(Ended {
            at: Instant::now(),
            id: answer.id.clone(),
            bytes,
        });
    }
}

impl InFlightAnswer {
    /// Cancels it and those beside it; what has come of them stays.
    pub fn cancel(&self) {
        self.cancelled.cancel();
        self.beside.iter().for_each(|other| other.cancel());
    }

    /// Returns when it has ended, and those beside it.
    pub async fn ended(self: &Arc<Self>) {
        for answer in std::iter::once(self).chain(&self.beside) {
            let mut events = std::pin::pin!(answer.follow(0));
            while events.next().await.is_some() {}
        }
    }

    /// Whether nothing comes of it any more.
    fn is_over(&self) -> bool {
        lock(&self.events).is_over()
    }

    /// The answer of this name among it and those beside it.
    pub fn named(self: &Arc<Self>, id: &str) -> Option<Arc<Self>> {
        let mut all = std::iter::once(self).chain(&self.beside);
        all.find(|answer| answer.id.as_str() == id).cloned()
    }

    /// The events behind number `after`, up to the last; behind 0 are all.
    pub fn follow(self: &Arc<Self>, after: u64) -> impl Stream<Item = Event> + Send + use<> {
        let follower = Follower::new(self);
        // The first has the number 1.
        let first = usize::try_from(after).unwrap_or(usize::MAX);
        futures::stream::unfold((follower, first), |(mut follower, index)| async move {
            let event = follower.event(index).await?;
            Some((event, (follower, index + 1)))
        })
    }

    fn push(&self, kind: EventKind) {
        let mut events = lock(&self.events);
        let count = events.push(kind);
        self.count.send_replace(count);
    }
}

/// Counts itself as long as it lives, so that an answer knows whether anybody listens.
struct Follower {
    answer: Arc<InFlightAnswer>,
    count: watch::Receiver<usize>,
}

impl Follower {
    fn new(answer: &Arc<InFlightAnswer>) -> Self {
        answer.followers.fetch_add(1, Ordering::AcqRel);
        Self {
            answer: Arc::clone(answer),
            count: answer.count.subscribe(),
        }
    }

    /// The event at `index`, when it comes; `None` behind the last.
    async fn event(&mut self, index: usize) -> Option<Event> {
        loop {
            {
                let events = lock(&self.answer.events);
                let event = events.get(index);
                if event.is_some() || events.is_over() {
                    return event;
                }
            }
            self.count.changed().await.ok()?;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.answer.followers.fetch_sub(1, Ordering::AcqRel);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is a single step, so that a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What brings one answer from the engine to the store and to its followers.
struct Task {
    /// When the engine was asked, and when the model began.
    asked: Instant,
    begun: Option<Instant>,
    /// Known when the model has begun.
    prompt_tokens: usize,
    answer: Answer,
    in_flight: Arc<InFlightAnswer>,
    store: Arc<dyn Store>,
    known: Arc<Mutex<Known>>,
    grace: Duration,
    activity: Arc<Activity>,
    wait_time: Duration,
    answer_time: Duration,
}

impl Task {
    async fn run(mut self, mut events: engine::Events) {
        let mut saves = Saves::default();
        let end = self.hand_on(&mut events, &mut saves).await;
        // The work ends here at the latest, before anybody is told that it has.
        drop(events);
        self.activity.ended(&end);
        let last = match end {
            Ok(completion) => {
                self.answer.state = AnswerState::Done(completion.finish_reason);
                EventKind::Done(completion)
            }
            Err(error) => {
                self.answer.state = AnswerState::Failed(error.clone());
                EventKind::Failed(error)
            }
        };
        // The end must not be overtaken by what was there before.
        saves.finish().await;
        // Saved before the last event, so that whoever saw it can ask again.
        save(&self.store, &self.answer).await;
        self.in_flight.push(last);
        lock(&self.known).has_ended(&self.in_flight);
    }

    /// Hands on events until the last, which it returns.
    async fn hand_on(&mut self, events: &mut engine::Events, saves: &mut Saves) -> Result<Completion> {
        let mut look_around = tokio::time::interval(LOOK_AROUND);
        let mut followed = Instant::now();
        let asked = self.asked;
        let mut queued = Duration::ZERO;
        let mut generated_tokens = 0;
        let mut grace = self.grace.min(UNBEGUN_GRACE);
        let mut deadline = asked + self.wait_time;
        let in_flight = Arc::clone(&self.in_flight);
        loop {
            tokio::select! {
                biased;
                () = in_flight.cancelled.cancelled() => {
                    return Ok(self.cut_off(FinishReason::Cancelled, generated_tokens));
                }
                () = in_flight.ending.cancelled() => {
                    return Ok(self.cut_off(FinishReason::Interrupted, generated_tokens));
                }
                () = in_flight.draining.cancelled(), if self.begun.is_none() => return Err(Error::Ending),
                event = events.recv() => match event {
                    Some(engine::Event::Queued { position, expected }) => in_flight.push(EventKind::Queued {
                        position,
                        expected_seconds: expected.map(|expected| expected.as_secs_f64()),
                    }),
                    Some(engine::Event::Loading) => in_flight.push(EventKind::Loading),
                    Some(engine::Event::Started { prompt, prompt_tokens, num_beams }) => {
                        self.begun = Some(Instant::now());
                        self.prompt_tokens = prompt_tokens;
                        deadline = Instant::now() + self.answer_time;
                        grace = self.grace;
                        queued = asked.elapsed();
                        self.activity.begun(queued);
                        self.answer.prompt = Some(prompt);
                        saves.need(Instant::now());
                        in_flight.push(EventKind::Started { num_beams });
                    }
                    Some(engine::Event::Token { token, text }) => {
                        self.answer.token_ids.push(token.id);
                        self.activity.token((generated_tokens == 0).then(|| asked.elapsed()));
                        generated_tokens += 1;
                        if !text.is_empty() {
                            self.answer.text.push_str(&text);
                            saves.need(Instant::now());
                            in_flight.push(EventKind::Token { text });
                        }
                    }
                    Some(engine::Event::Score(score)) => {
                        self.answer.scores.get_or_insert_default().push(score.clone());
                        saves.need(Instant::now());
                        in_flight.push(EventKind::Score(score));
                    }
                    Some(engine::Event::Done(summary)) => return Ok(self.done(summary, queued)),
                    Some(engine::Event::Failed(engine::EngineError::Deadline)) => return Err(self.too_late(false)),
                    Some(engine::Event::Failed(error)) => return Err(error.into()),
                    None => return Err(engine::EngineError::Gone.into()),
                },
                () = saves.due() => saves.begin(&self.store, &self.answer),
                _ = look_around.tick() => {
                    if in_flight.followers.load(Ordering::Acquire) > 0 {
                        followed = Instant::now();
                    } else if followed.elapsed() >= grace {
                        return Ok(self.cut_off(FinishReason::Interrupted, generated_tokens));
                    }
                    if Instant::now() >= deadline {
                        return Err(self.too_late(self.begun.is_some()));
                    }
                }
            }
        }
    }

    fn done(&mut self, summary: engine::Summary, queued: Duration) -> Completion {
        let timings = timings(&summary, queued);
        self.answer.timings = Some(timings);
        let further_texts: Vec<String> = summary.answers.into_iter().skip(1).map(|answer| answer.text).collect();
        self.answer.further_texts.clone_from(&further_texts);
        self.answer.seed = summary.seed;
        Completion {
            finish_reason: summary.finish_reason.into(),
            timings,
            prompt_tokens: summary.prompt_ids.len(),
            generated_tokens: summary.generated_tokens,
            prompt: self.answer.prompt.clone().unwrap_or_default(),
            further_texts,
            seed: summary.seed,
        }
    }

    /// The end of an answer that did not come to its own. How long its parts took only the model would know.
    fn cut_off(&self, finish_reason: FinishReason, generated_tokens: usize) -> Completion {
        let waited = self.begun.map(|begun| begun - self.asked);
        Completion {
            finish_reason,
            timings: Timings {
                queued: milliseconds(waited.unwrap_or_else(|| self.asked.elapsed())),
                total: self.begun.map_or(0.0, |begun| milliseconds(begun.elapsed())),
                ..Timings::default()
            },
            prompt_tokens: self.prompt_tokens,
            generated_tokens,
            prompt: self.answer.prompt.clone().unwrap_or_default(),
            further_texts: Vec::new(),
            seed: None,
        }
    }

    /// The time is over that a question has to wait, or that its answer has once it has begun.
    fn too_late(&self, has_begun: bool) -> Error {
        if has_begun {
            let seconds = self.answer_time.as_secs();
            return Error::TooSlow { seconds };
        }
        let seconds = self.wait_time.as_secs();
        Error::WaitedTooLong { seconds }
    }
}

/// Saves a growing answer, beside the events that make it grow: a slow disk holds up none.
#[derive(Default)]
struct Saves {
    /// When what has come since the last one is to be saved.
    due: Option<Instant>,
    began: Option<Instant>,
    going_on: Option<tokio::task::JoinHandle<()>>,
}

impl Saves {
    /// Something has come that is to be saved: at once, or a while after the last save began.
    fn need(&mut self, now: Instant) {
        let earliest = self.began.map_or(now, |began| began + SAVE);
        self.due.get_or_insert(earliest.max(now));
    }

    /// Returns when a save is due and the last one has ended; never, where nothing has come.
    async fn due(&mut self) {
        let Some(due) = self.due else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(due.into()).await;
        if let Some(going_on) = &mut self.going_on {
            // An error is a panic, which has been told.
            let _ = going_on.await;
            self.going_on = None;
        }
    }

    fn begin(&mut self, store: &Arc<dyn Store>, answer: &Answer) {
        let (store, answer) = (Arc::clone(store), answer.clone());
        self.going_on = Some(tokio::spawn(RequestId::carry(async move {
            save(&store, &answer).await;
        })));
        (self.due, self.began) = (None, Some(Instant::now()));
    }

    async fn finish(&mut self) {
        if let Some(going_on) = self.going_on.take() {
            // An error is a panic, which has been told.
            let _ = going_on.await;
        }
    }
}

async fn save(store: &Arc<dyn Store>, answer: &Answer) {
    if let Err(error) = store.save_answer(answer).await {
        tracing::error!("an answer could not be saved: {error}");
    }
}

impl From<generation::FinishReason> for FinishReason {
    fn from(reason: generation::FinishReason) -> Self {
        match reason {
            generation::FinishReason::Stop => Self::Stop,
            generation::FinishReason::Length => Self::Length,
        }
    }
}

/// Whole microseconds, which JSON gives back as they were.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

fn timings(summary: &engine::Summary, queued: Duration) -> Timings {
    let engine::Timings {
        image,
        prefill,
        decode,
        total,
    } = summary.timings;
    // The first token is the prompt's.
    let further = summary.generated_tokens.saturating_sub(1).max(1);
    Timings {
        queued: milliseconds(queued),
        image,
        prefill,
        decode,
        per_token: decode / further as f64,
        total,
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio::sync::mpsc;

    use super::*;
    use crate::chat::{PictureId, Secret, Settings, Turn};
    use crate::generation::GeneratedToken;
    use crate::processor::PictureLimits;
    use crate::store::{self, NewConversation, NewPicture, SqliteStore};

    const MINUTE: Duration = Duration::from_secs(60);

    fn limits(grace: Duration) -> Limits {
        Limits {
            picture: PictureLimits::default(),
            picture_memory: 1 << 30,
            question_chars: 9,
            texts: 9,
            max_new_tokens: 9,
            default_new_tokens: 9,
            beams: 1,
            wait_time: MINUTE,
            answer_time: MINUTE,
            grace,
            keep_answers: MINUTE,
            questions_per_minute: 9,
            fetches_per_minute: 9,
            store: store::Limits {
                conversations: 9,
                conversations_per_visitor: 9,
                bytes_per_visitor: 99,
                bytes: 1 << 30,
                age: None,
                turns: 9,
            },
        }
    }

    #[test]
    fn what_is_kept_after_the_end_is_bounded_by_its_bytes_too() {
        let mut known = Known::default();
        for _ in 0..5 {
            known.ended.push_back(Ended {
                at: Instant::now(),
                id: AnswerId::random(),
                bytes: 10 << 20,
            });
            known.ended_bytes += 10 << 20;
        }
        let latest = known.ended.back().map(|ended| ended.id.clone());
        known.forget_ended(MINUTE);
        assert_eq!((known.ended.len(), known.ended_bytes), (3, 30 << 20));
        assert_eq!(known.ended.back().map(|ended| ended.id.clone()), latest);
        known.forget_ended(Duration::ZERO);
        assert_eq!((known.ended.len(), known.ended_bytes), (0, 0));
    }

    /// A question that was submitted, and the answer that was begun.
    struct Asked {
        answers: AnswerRegistry,
        store: Arc<dyn Store>,
        conversation: ConversationId,
        engine: mpsc::UnboundedSender<engine::Event>,
        answer: Arc<InFlightAnswer>,
    }

    async fn asked(grace: Duration) -> Asked {
        let limits = limits(grace);
        let store = SqliteStore::temporary(std::env::temp_dir(), &limits.store).await;
        let store: Arc<dyn Store> = Arc::new(store.expect("there is a folder for tests"));
        let picture = NewPicture {
            id: PictureId([7; 32]),
            width: 1,
            height: 1,
            file: Vec::from(*b"file").into(),
            preview: Vec::from(*b"preview").into(),
        };
        let new = NewConversation::about(picture.id, Secret::random().visitor());
        store.keep_picture(picture).await.expect("there is room");
        store.begin_conversation(&new, &limits.store).await.expect("it is kept");
        let answer = Answer::begun("test".into(), Settings::default());
        let turn = Turn {
            id: TurnId::random(),
            parent: None,
            question: "?".into(),
            answers: vec![answer.clone()],
        };
        store.begin_turn(&new.id, &turn).await.expect("it is the first");
        let answers = AnswerRegistry::new(Arc::clone(&store), &limits);
        let (engine, events) = mpsc::unbounded_channel();
        let answer = answers.begin(
            &new.id,
            &turn.id,
            vec![super::Asked {
                answer,
                events,
                at: Instant::now(),
            }],
        );
        let answer = answer.expect("there is one");
        Asked {
            answers,
            store,
            conversation: new.id,
            engine,
            answer,
        }
    }

    impl Asked {
        /// The engine begins.
        fn begins(&self) {
            let started = engine::Event::Started {
                prompt: "Question: ? Answer:".into(),
                prompt_tokens: 4,
                num_beams: 1,
            };
            self.engine.send(started).expect("the task listens");
        }

        /// The engine says something.
        fn says(&self, text: &str) {
            let token = GeneratedToken {
                id: 7,
                logprob: -0.5,
                is_end: false,
            };
            let event = engine::Event::Token {
                token,
                text: text.into(),
            };
            self.engine.send(event).expect("the task listens");
        }

        /// What is kept of the answer: its text, and what became of it.
        async fn kept(&self) -> (String, AnswerState) {
            let conversation = self.store.conversation(&self.conversation).await;
            let mut turn = conversation.expect("it is there").turns.remove(0);
            let answer = turn.answers.remove(0);
            (answer.text, answer.state)
        }
    }

    fn word(text: &str) -> Option<EventKind> {
        Some(EventKind::Token { text: text.into() })
    }

    #[tokio::test]
    async fn cancelling_keeps_what_has_come_and_drops_the_work() {
        let asked = asked(MINUTE).await;
        let mut follower = Box::pin(asked.answer.follow(0).map(|event| event.kind));
        asked.says("two");
        assert_eq!(follower.next().await, word("two"));
        asked.answer.cancel();
        asked.engine.closed().await;
        let last = follower.next().await;
        assert!(
            matches!(&last, Some(EventKind::Done(end)) if end.finish_reason == FinishReason::Cancelled),
            "{last:?}"
        );
        assert_eq!(follower.next().await, None);
        let cancelled = AnswerState::Done(FinishReason::Cancelled);
        assert_eq!(asked.kept().await, ("two".into(), cancelled));
    }

    #[tokio::test]
    async fn a_lost_connection_cancels_nothing_within_the_grace_period() {
        let asked = asked(MINUTE).await;
        drop(asked.answer.follow(0));
        asked.says("late");
        let again = asked.answers.latest(&asked.conversation).expect("it goes on");
        let mut again = Box::pin(again.follow(0).map(|event| event.kind));
        assert_eq!(again.next().await, word("late"));
    }

    #[tokio::test]
    async fn nobody_following_for_the_grace_period_interrupts() {
        let asked = asked(Duration::ZERO).await;
        asked.engine.closed().await;
        let events: Vec<Event> = asked.answer.follow(0).collect().await;
        let last = events.last().map(|event| &event.kind);
        assert!(
            matches!(last, Some(EventKind::Done(end)) if end.finish_reason == FinishReason::Interrupted),
            "{last:?}"
        );
    }

    #[tokio::test]
    async fn the_end_of_the_process_waits_until_answers_are_kept() {
        let asked = asked(MINUTE).await;
        let mut follower = Box::pin(asked.answer.follow(0));
        asked.says("two");
        follower.next().await;
        drop(follower);
        asked.answers.end().await;
        let interrupted = AnswerState::Done(FinishReason::Interrupted);
        assert_eq!(asked.kept().await, ("two".into(), interrupted));
    }

    #[tokio::test]
    async fn before_the_end_what_has_begun_is_given_and_what_waits_is_told() {
        let [running, waiting] = [asked(MINUTE).await, asked(MINUTE).await];
        let mut follower = Box::pin(running.answer.follow(0).map(|event| event.kind));
        running.begins();
        follower.next().await;
        let mut draining = Box::pin(running.answers.drain());
        assert!(futures::poll!(&mut draining).is_pending(), "an answer is being given");
        assert!(running.answers.is_draining());
        running.says("two");
        assert_eq!(follower.next().await, word("two"));
        running.answer.cancel();
        draining.await;
        assert_eq!(running.kept().await.1, AnswerState::Done(FinishReason::Cancelled));

        waiting.answers.drain().await;
        assert!(waiting.engine.is_closed(), "the engine is not asked any more");
        let events: Vec<Event> = waiting.answer.follow(0).collect().await;
        let kinds: Vec<EventKind> = events.into_iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::Failed(Error::Ending)]);
        assert_eq!(waiting.kept().await.1, AnswerState::Failed(Error::Ending));
    }

    #[tokio::test]
    async fn a_question_that_has_not_begun_is_dropped_long_before_the_grace_period() {
        let asked = asked(60 * MINUTE).await;
        let dropped = tokio::time::timeout(10 * MINUTE, asked.engine.closed()).await;
        assert!(dropped.is_ok(), "nobody follows it");
    }

    #[tokio::test]
    async fn a_growing_answer_is_kept_before_its_end() {
        let asked = asked(MINUTE).await;
        let _follower = asked.answer.follow(0);
        asked.says("two");
        while asked.kept().await.0.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(asked.kept().await, ("two".into(), AnswerState::Running));
    }

    #[test]
    fn what_has_come_is_saved_within_a_second() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut saves = Saves::default();
        saves.need(start);
        assert_eq!(saves.due, Some(start), "the first at once");
        // Begun then; what comes right after it waits longest.
        (saves.due, saves.began) = (None, Some(start));
        for milliseconds in [0, 1, 400, 740, 760, 5000] {
            let comes = start + Duration::from_millis(milliseconds);
            saves.due = None;
            saves.need(comes);
            let due = saves.due.expect("it is needed");
            assert!(
                due >= start + SAVE && due >= comes && due < comes + second,
                "{milliseconds}"
            );
            saves.need(comes + Duration::from_millis(300));
            assert_eq!(saves.due, Some(due), "more puts nothing off");
        }
    }

    #[tokio::test]
    async fn a_save_waits_for_the_one_before_and_for_no_tick() {
        let (first, started) = tokio::sync::oneshot::channel::<()>();
        let mut saves = Saves {
            due: Some(Instant::now()),
            began: Some(Instant::now()),
            going_on: Some(tokio::spawn(async { drop(started.await) })),
        };
        assert!(
            futures::poll!(Box::pin(saves.due())).is_pending(),
            "a slow disk has one save at a time"
        );
        first.send(()).expect("it waits");
        saves.due().await;
        assert!(saves.going_on.is_none());
        saves.due = None;
        assert!(futures::poll!(Box::pin(saves.due())).is_pending(), "nothing has come");
    }

    #[tokio::test]
    async fn how_long_an_answer_took_is_kept_with_it() {
        let asked = asked(MINUTE).await;
        asked.begins();
        let summary = engine::Summary {
            finish_reason: generation::FinishReason::Stop,
            prompt_ids: vec![1, 2],
            generated_tokens: 3,
            timings: engine::Timings {
                image: 1.0,
                prefill: 2.0,
                decode: 4.0,
                total: 7.0,
            },
            seed: None,
            answers: Vec::new(),
        };
        asked
            .engine
            .send(engine::Event::Done(summary))
            .expect("the task listens");
        let events: Vec<Event> = asked.answer.follow(0).collect().await;
        let Some(EventKind::Done(end)) = events.last().map(|event| &event.kind) else {
            panic!("{events:?}");
        };
        let kept = asked
            .store
            .conversation(&asked.conversation)
            .await
            .expect("it is there");
        let timings = kept.turns[0].answers[0].timings.expect("it came to its own end");
        assert_eq!(timings, end.timings);
        assert_eq!(
            (timings.image, timings.prefill, timings.per_token, timings.total),
            (1.0, 2.0, 2.0, 7.0)
        );
    }
}
