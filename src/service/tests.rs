//! What goes wrong around a question: it ends with one sentence, and everything else goes on.

use std::net::Ipv4Addr;
use std::pin::pin;
use std::task::Poll;

use futures::StreamExt;
use futures::future::poll_fn;

use super::*;
use crate::chat::{
    AnswerState, Conversation, ConversationId, Event, EventKind, FinishReason, Place, Settings, Turn, Visitor,
};
use crate::engine::scripted::{Gates, Script};
use crate::engine::{QueueLimits, QueueState, ScriptedEngine};
use crate::store::SqliteStore;

const HOUR: Duration = Duration::from_secs(3600);

/// A moment for what goes on in another thread.
const MOMENT: Duration = Duration::from_millis(2);

const LIMITS: Limits = Limits {
    picture: PictureLimits {
        max_bytes: 1 << 20,
        max_pixels: 1 << 20,
        max_side: 1 << 10,
    },
    picture_memory: 1 << 30,
    question_chars: 99,
    texts: 3,
    max_new_tokens: 9,
    default_new_tokens: 9,
    beams: 9,
    wait_time: HOUR,
    answer_time: HOUR,
    grace: HOUR,
    keep_answers: HOUR,
    questions_per_minute: 9999,
    fetches_per_minute: 9,
    store: store::Limits {
        conversations: 999,
        conversations_per_visitor: 999,
        bytes_per_visitor: 1 << 30,
        bytes: 1 << 30,
        age: None,
        turns: 9999,
    },
};

/// A service that answers from a script, and what is behind it.
struct Scripted {
    service: Service,
    gates: Gates,
    store: Arc<SqliteStore>,
    visitor: Visitor,
}

impl Scripted {
    async fn start() -> Self {
        let gates = Gates::closed();
        let queue = QueueLimits {
            waiting: 99,
            waiting_per_client: 99,
        };
        let engine = ScriptedEngine::start(Script::default(), queue, gates.clone()).expect("there are threads");
        let store = SqliteStore::temporary(std::env::temp_dir(), &LIMITS.store).await;
        let store = Arc::new(store.expect("there is a folder for tests"));
        Self {
            service: Service::new(Arc::new(engine), Arc::clone(&store) as Arc<dyn Store>, LIMITS, None),
            gates,
            store,
            visitor: Visitor::from_network(Ipv4Addr::new(192, 0, 2, 1)),
        }
    }

    /// A conversation about a picture of one pixel.
    async fn conversation(&self) -> ConversationId {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 1, 1);
        encoder.set_color(png::ColorType::Rgb);
        let writer = encoder.write_header();
        let written = writer.and_then(|mut writer| writer.write_image_data(&[1, 2, 3]));
        written.expect("it is written to memory");
        let room = self.service.room(self.visitor.network);
        let begun = self.service.begin_conversation(&self.visitor, file, room).await;
        begun.expect("it is a picture").id
    }

    async fn ask(&self, id: &ConversationId) -> Result<Arc<InFlightAnswer>> {
        let request = Request {
            conversation: id.clone(),
            question: Some("what?".into()),
            texts: Vec::new(),
            settings: Settings::default(),
            place: Place::Last,
            models: Vec::new(),
        };
        self.service.ask(&self.visitor, request, str::to_owned).await
    }

    async fn kept(&self, id: &ConversationId) -> Conversation {
        let kept = self.service.conversation(&self.visitor, id).await;
        kept.expect("it is his")
    }

    /// Asks until the conversation is free, and is answered.
    async fn ask_when_free(&self, id: &ConversationId) {
        loop {
            match self.ask(id).await {
                Ok(answer) => return assert_eq!(last(&answer).await, whole()),
                Err(Error::TurnInProgress) => tokio::time::sleep(MOMENT).await,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// How an answer ends.
async fn last(answer: &Arc<InFlightAnswer>) -> AnswerState {
    let events: Vec<Event> = answer.follow(0).collect().await;
    match events.into_iter().next_back().map(|event| event.kind) {
        Some(EventKind::Done(end)) => AnswerState::Done(end.finish_reason),
        Some(EventKind::Failed(error)) => AnswerState::Failed(error),
        other => panic!("{other:?}"),
    }
}

fn whole() -> AnswerState {
    AnswerState::Done(FinishReason::Stop)
}

fn answer_of(turn: &Turn) -> (&str, &AnswerState) {
    (&turn.answers[0].text, &turn.answers[0].state)
}

#[tokio::test]
async fn a_question_that_a_full_disk_does_not_take_is_not_asked_and_can_be_asked_later() {
    let scripted = Scripted::start().await;
    let [running, other] = [scripted.conversation().await, scripted.conversation().await];
    let answer = scripted.ask(&running).await.expect("there is room");
    scripted.gates.begin(1);
    scripted.store.refuse_writes(true).await;
    let refused = scripted.ask(&other).await.err();
    assert!(matches!(refused, Some(Error::Internal { .. })), "{refused:?}");
    let is_alone = |queue: QueueState| queue.waiting + queue.running <= 1;
    assert!(is_alone(scripted.service.engines.queue()), "nothing was asked");
    // What was being answered is, and is not lost: it is kept once there is room.
    scripted.gates.open();
    assert_eq!(last(&answer).await, whole());
    let kept = scripted.kept(&running).await;
    assert_eq!(answer_of(&kept.turns[0]), ("a scripted answer", &whole()));
    scripted.store.refuse_writes(false).await;
    for id in [&other, &running] {
        scripted.ask_when_free(id).await;
    }
    let kept = scripted.kept(&running).await;
    assert_eq!(answer_of(&kept.turns[0]), ("a scripted answer", &whole()));
    assert_eq!(
        scripted.kept(&other).await.turns.len(),
        1,
        "what was refused is no turn"
    );
}

/// Goes on with work so many times, and then leaves it.
async fn leave_after(polls: usize, work: impl Future) -> bool {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        work.as_mut().poll(context).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn whoever_goes_while_he_asks_leaves_no_conversation_that_is_busy_for_ever() {
    let scripted = Scripted::start().await;
    scripted.gates.open();
    for polls in 0.. {
        let id = scripted.conversation().await;
        let has_asked = leave_after(polls, scripted.ask(&id)).await;
        scripted.ask_when_free(&id).await;
        let kept = scripted.kept(&id).await;
        assert!(
            kept.turns
                .iter()
                .all(|turn| answer_of(turn) == ("a scripted answer", &whole())),
            "after {polls}: {kept:?}"
        );
        if has_asked {
            break;
        }
    }
}
