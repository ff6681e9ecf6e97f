//! Answers that are being given.
//!
//! An answer belongs to its conversation, not to the request that asked for it: a task of
//! its own takes the engine's events, writes them into the store, and lets any number of
//! followers read them from the beginning. When nobody has followed for a grace period,
//! or the visitor presses Stop, the task drops the engine's receiver, and with it the work.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::Stream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::{AnswerEvent, ApiError, ConversationId, ErrorKind, FinishReason, Timings, TurnState};
use crate::engine::{Event, Events, Summary};
use crate::store::LegacyStore as Store;

/// How often an answer looks whether somebody still follows it.
const LOOK_AROUND: Duration = Duration::from_millis(500);

/// How long a question that the model has not begun waits for somebody to follow it, where
/// the grace period is longer: its place is for whoever still waits.
const UNBEGUN_GRACE: Duration = Duration::from_secs(2);

/// How often a growing answer is saved.
const SAVE: Duration = Duration::from_secs(1);

/// All answers that are being given, by conversation.
pub struct Answers {
    running: Arc<Mutex<HashMap<ConversationId, Arc<Running>>>>,
    store: Arc<Store>,
    time: Duration,
    grace: Duration,
    /// The process ends, and all answers with it.
    ending: CancellationToken,
    /// How many tasks have not saved their end yet.
    tasks: Arc<watch::Sender<usize>>,
}

/// One answer that is being given.
pub struct Running {
    events: Mutex<Vec<AnswerEvent>>,
    /// How many events there are; followers wait for it to change.
    count: watch::Sender<usize>,
    followers: AtomicUsize,
    stop: CancellationToken,
    ending: CancellationToken,
}

/// Counts a task as long as it lives.
struct Counted(Arc<watch::Sender<usize>>);

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

impl Answers {
    pub fn new(store: Arc<Store>, time: Duration, grace: Duration) -> Self {
        Self {
            running: Arc::default(),
            store,
            time,
            grace,
            ending: CancellationToken::new(),
            tasks: Arc::default(),
        }
    }

    /// Takes on an answer whose turn has begun in the store.
    pub fn begin(&self, id: ConversationId, events: Events) -> Arc<Running> {
        let running = Arc::new(Running {
            events: Mutex::default(),
            count: watch::Sender::new(0),
            followers: AtomicUsize::new(0),
            stop: CancellationToken::new(),
            ending: self.ending.clone(),
        });
        lock(&self.running).insert(id.clone(), Arc::clone(&running));
        let task = Task {
            id,
            prompt: String::new(),
            running: Arc::clone(&running),
            store: Arc::clone(&self.store),
            all: Arc::clone(&self.running),
            grace: self.grace,
            deadline: Instant::now() + self.time,
            time: self.time,
        };
        let counted = Counted::new(&self.tasks);
        tokio::spawn(async move {
            task.run(events).await;
            drop(counted);
        });
        running
    }

    /// Stops all answers, those to come too, since the process ends; returns when what has
    /// come of them is in the store.
    pub async fn end(&self) {
        self.ending.cancel();
        // An error says that nobody counts any more.
        let _ = self.tasks.subscribe().wait_for(|tasks| *tasks == 0).await;
    }

    /// The answer that is being given in a conversation.
    pub fn running(&self, id: &ConversationId) -> Option<Arc<Running>> {
        lock(&self.running).get(id).cloned()
    }
}

impl Running {
    /// Stops the answer; what has come of it stays.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// All events from the first on, up to the last.
    pub fn follow(self: &Arc<Self>) -> impl Stream<Item = AnswerEvent> + Send + use<> {
        let follower = Follower::new(self);
        futures::stream::unfold((follower, 0), |(mut follower, index)| async move {
            let event = follower.event(index).await?;
            Some((event, (follower, index + 1)))
        })
    }

    fn push(&self, event: AnswerEvent) {
        let mut events = lock(&self.events);
        events.push(event);
        self.count.send_replace(events.len());
    }
}

/// Counts itself as long as it lives, so that an answer knows whether anybody listens.
struct Follower {
    running: Arc<Running>,
    count: watch::Receiver<usize>,
}

impl Follower {
    fn new(running: &Arc<Running>) -> Self {
        running.followers.fetch_add(1, Ordering::AcqRel);
        Self {
            running: Arc::clone(running),
            count: running.count.subscribe(),
        }
    }

    /// The event at `index`, when it comes; `None` behind the last.
    async fn event(&mut self, index: usize) -> Option<AnswerEvent> {
        loop {
            {
                let events = lock(&self.running.events);
                if let Some(event) = events.get(index) {
                    return Some(event.clone());
                }
                if events.last().is_some_and(is_last) {
                    return None;
                }
            }
            self.count.changed().await.ok()?;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.running.followers.fetch_sub(1, Ordering::AcqRel);
    }
}

fn is_last(event: &AnswerEvent) -> bool {
    matches!(event, AnswerEvent::Done { .. } | AnswerEvent::Error { .. })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is a single step, so that a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What brings one answer from the engine to the store and to its followers.
struct Task {
    id: ConversationId,
    /// The text that was sent to the model, once it has begun.
    prompt: String,
    running: Arc<Running>,
    store: Arc<Store>,
    all: Arc<Mutex<HashMap<ConversationId, Arc<Running>>>>,
    grace: Duration,
    deadline: Instant,
    time: Duration,
}

impl Task {
    async fn run(mut self, mut events: Events) {
        let last = self.hand_on(&mut events).await;
        // The work ends here at the latest, before anybody is told that it has.
        drop(events);
        self.store.finish_turn(&self.id, state_after(&last));
        // Out of the list before the last event, so that whoever saw it can ask again.
        // The conversation is free again: another answer may stand there already.
        let mut all = lock(&self.all);
        if all
            .get(&self.id)
            .is_some_and(|running| Arc::ptr_eq(running, &self.running))
        {
            all.remove(&self.id);
        }
        drop(all);
        self.running.push(last);
    }

    /// Hands on events until the last, which it returns.
    async fn hand_on(&mut self, events: &mut Events) -> AnswerEvent {
        let mut look_around = tokio::time::interval(LOOK_AROUND);
        let mut followed = Instant::now();
        let mut generated_tokens = 0;
        let mut grace = self.grace.min(UNBEGUN_GRACE);
        let mut is_saved = true;
        let mut saved = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = self.running.stop.cancelled() => return self.stopped(FinishReason::Cancelled, generated_tokens),
                () = self.running.ending.cancelled() => {
                    return self.stopped(FinishReason::Interrupted, generated_tokens);
                }
                event = events.recv() => match event {
                    Some(Event::Started { prompt, num_beams }) => {
                        grace = self.grace;
                        self.store.set_prompt(&self.id, &prompt);
                        self.prompt = prompt;
                        self.running.push(AnswerEvent::Started { num_beams });
                    }
                    Some(Event::Queued { position, .. }) => self.running.push(AnswerEvent::Queued { position }),
                    Some(Event::Token { text, .. }) => {
                        grace = self.grace;
                        generated_tokens += 1;
                        if !text.is_empty() {
                            self.store.extend_answer(&self.id, &text);
                            is_saved = false;
                            self.running.push(AnswerEvent::Token { text });
                        }
                    }
                    Some(Event::Done(summary)) => return self.done(summary),
                    Some(Event::Failed(error)) => return AnswerEvent::Error { error: error.into() },
                    None => return AnswerEvent::Error { error: crate::engine::EngineError::Gone.into() },
                },
                _ = look_around.tick() => {
                    if self.running.followers.load(Ordering::Acquire) > 0 {
                        followed = Instant::now();
                    } else if followed.elapsed() >= grace {
                        return self.stopped(FinishReason::Cancelled, generated_tokens);
                    }
                    if !is_saved && saved.elapsed() >= SAVE {
                        self.store.save_answer(&self.id);
                        (is_saved, saved) = (true, Instant::now());
                    }
                    if Instant::now() >= self.deadline {
                        return AnswerEvent::Error { error: too_slow(self.time) };
                    }
                }
            }
        }
    }

    fn done(&self, summary: Summary) -> AnswerEvent {
        let further_answers: Vec<String> = summary.answers.into_iter().skip(1).map(|answer| answer.text).collect();
        self.store
            .complete_answer(&self.id, further_answers.clone(), summary.seed);
        AnswerEvent::Done {
            finish_reason: summary.finish_reason.into(),
            timings_ms: summary.timings.into(),
            prompt_tokens: summary.prompt_ids.len(),
            generated_tokens: summary.generated_tokens,
            prompt: self.prompt.clone(),
            further_answers,
            seed: summary.seed,
        }
    }

    fn stopped(&self, finish_reason: FinishReason, generated_tokens: usize) -> AnswerEvent {
        AnswerEvent::Done {
            finish_reason,
            timings_ms: Timings::default(),
            prompt_tokens: 0,
            generated_tokens,
            prompt: self.prompt.clone(),
            further_answers: Vec::new(),
            seed: None,
        }
    }
}

fn too_slow(time: Duration) -> ApiError {
    ApiError::new(
        ErrorKind::Overloaded,
        format!(
            "The answer took longer than the {} seconds that it may (--max-answer-seconds). Try again later.",
            time.as_secs()
        ),
    )
}

fn state_after(last: &AnswerEvent) -> TurnState {
    match last {
        AnswerEvent::Done { finish_reason, .. } => TurnState::Done {
            finish_reason: *finish_reason,
        },
        AnswerEvent::Error { error } => TurnState::Failed { error: error.clone() },
        AnswerEvent::Queued { .. }
        | AnswerEvent::Started { .. }
        | AnswerEvent::Token { .. }
        | AnswerEvent::Heartbeat => TurnState::Answering,
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio::sync::mpsc;

    use super::*;
    use crate::generation::GeneratedToken;
    use crate::processor::Picture;
    use crate::store::LegacyStoreLimits as StoreLimits;

    fn begun(grace: Duration) -> (Answers, Arc<Store>, ConversationId) {
        let store = Arc::new(Store::in_memory(StoreLimits {
            conversations: 2,
            turns: 9,
        }));
        let picture = Picture {
            width: 1,
            height: 1,
            rgb: vec![1, 2, 3],
        };
        let id = store
            .begin(&picture, picture.clone())
            .expect("a small picture has a preview")
            .id;
        store
            .begin_turn(&id, "?", "Question: ? Answer:")
            .expect("it is the first");
        (
            Answers::new(Arc::clone(&store), Duration::from_secs(60), grace),
            store,
            id,
        )
    }

    fn token(text: &str) -> Event {
        Event::Token {
            token: GeneratedToken {
                id: 7,
                logprob: -0.5,
                is_end: false,
            },
            text: text.into(),
        }
    }

    #[tokio::test]
    async fn stop_keeps_what_has_come_and_drops_the_work() {
        let (answers, store, id) = begun(Duration::from_secs(60));
        let (events, receiver) = mpsc::unbounded_channel();
        let running = answers.begin(id.clone(), receiver);
        let mut follower = Box::pin(running.follow());
        events.send(token("two")).expect("the task listens");
        assert_eq!(follower.next().await, Some(AnswerEvent::Token { text: "two".into() }));
        running.stop();
        events.closed().await;
        let last = follower.next().await;
        assert!(
            matches!(
                last,
                Some(AnswerEvent::Done {
                    finish_reason: FinishReason::Cancelled,
                    ..
                })
            ),
            "{last:?}"
        );
        assert_eq!(follower.next().await, None);
        let turn = store.conversation(&id).expect("it is there").turns.remove(0);
        assert_eq!(
            (turn.answer.as_str(), turn.state),
            (
                "two",
                TurnState::Done {
                    finish_reason: FinishReason::Cancelled
                }
            )
        );
    }

    #[tokio::test]
    async fn a_lost_connection_is_no_stop_within_the_grace_period() {
        let (answers, _store, id) = begun(Duration::from_secs(60));
        let (events, receiver) = mpsc::unbounded_channel();
        drop(Box::pin(answers.begin(id.clone(), receiver).follow()));
        events.send(token("late")).expect("the task listens");
        let mut again = Box::pin(answers.running(&id).expect("it goes on").follow());
        assert_eq!(again.next().await, Some(AnswerEvent::Token { text: "late".into() }));
    }

    #[tokio::test]
    async fn nobody_following_for_the_grace_period_is_a_stop() {
        let (answers, _store, id) = begun(Duration::ZERO);
        let (events, receiver) = mpsc::unbounded_channel();
        answers.begin(id.clone(), receiver);
        events.closed().await;
        assert!(answers.running(&id).is_none());
    }

    #[tokio::test]
    async fn the_end_of_the_process_waits_until_answers_are_kept() {
        let (answers, store, id) = begun(Duration::from_secs(60));
        let (events, receiver) = mpsc::unbounded_channel();
        let running = answers.begin(id.clone(), receiver);
        let mut follower = Box::pin(running.follow());
        events.send(token("two")).expect("the task listens");
        follower.next().await;
        drop(follower);
        answers.end().await;
        let turn = store.conversation(&id).expect("it is there").turns.remove(0);
        let interrupted = TurnState::Done {
            finish_reason: FinishReason::Interrupted,
        };
        assert_eq!((turn.answer.as_str(), turn.state), ("two", interrupted));
    }

    #[tokio::test]
    async fn a_question_that_has_not_begun_is_dropped_long_before_the_grace_period() {
        let (answers, _store, id) = begun(Duration::from_secs(3600));
        let (events, receiver) = mpsc::unbounded_channel();
        answers.begin(id.clone(), receiver);
        let dropped = tokio::time::timeout(Duration::from_secs(600), events.closed()).await;
        assert!(dropped.is_ok(), "nobody follows it");
    }
}
