//! What the visitor is doing: the picture, what was said about it, what goes on.

use std::sync::atomic::{AtomicUsize, Ordering};

use leptos::html::{Div, Input, Textarea};
use leptos::prelude::*;

use super::{address, asking, dom};
use crate::api::{self, Conversation, ConversationId, PageLimits, PageState, Turn, TurnState};

/// The signals that all pieces of the page share.
#[derive(Clone, Copy)]
pub struct Visit {
    /// The conversation; none before a picture is in.
    pub conversation: RwSignal<Option<ConversationId>>,
    /// The picture of the conversation.
    pub picture: RwSignal<Option<Shown>>,
    /// The picture that is on its way to the server, shown meanwhile.
    pub opening: RwSignal<Option<Shown>>,
    pub turns: RwSignal<Vec<LiveTurn>>,
    /// What went wrong, in a sentence.
    pub alert: RwSignal<Option<String>>,
    /// What goes on, in a few words.
    pub progress: RwSignal<Option<String>>,
    pub limits: StoredValue<PageLimits>,
    pub question: NodeRef<Textarea>,
    /// The panel with the settings' fields.
    pub settings: NodeRef<Div>,
    /// A picture's address.
    pub address: NodeRef<Input>,
    /// Whether one may be given.
    pub takes_addresses: bool,
    pub log: NodeRef<Div>,
    /// Asked before the picture had arrived: to be asked when it has.
    pub asked_early: StoredValue<Option<asking::Asked>>,
    /// Why the last picture was not taken, until another one is put in.
    pub refusal: StoredValue<Option<String>>,
    /// Which of the pictures on their way is the last that was chosen.
    pub openings: StoredValue<usize>,
}

/// A picture on the page.
#[derive(Clone, PartialEq)]
pub struct Shown {
    /// Empty while the server fetches it from elsewhere.
    pub url: String,
    pub alt: String,
}

/// A turn whose answer may still grow.
#[derive(Clone)]
pub struct LiveTurn {
    /// Tells turns of this page apart.
    pub key: usize,
    pub question: String,
    pub answer: ArcRwSignal<String>,
    pub state: ArcRwSignal<TurnState>,
    /// The text that was sent to the model, once it is known.
    pub prompt: ArcRwSignal<Option<String>>,
    pub further_answers: ArcRwSignal<Vec<String>>,
    pub seed: ArcRwSignal<Option<u64>>,
    /// How many beams are being searched for the answer, as far as it is known.
    pub num_beams: ArcRwSignal<usize>,
}

impl LiveTurn {
    pub fn new(turn: Turn) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self {
            key: NEXT.fetch_add(1, Ordering::Relaxed),
            question: turn.question,
            answer: ArcRwSignal::new(turn.answer),
            state: ArcRwSignal::new(turn.state),
            prompt: ArcRwSignal::new(turn.prompt),
            further_answers: ArcRwSignal::new(turn.further_answers),
            seed: ArcRwSignal::new(turn.seed),
            num_beams: ArcRwSignal::new(1),
        }
    }

    pub fn is_answering(&self) -> bool {
        self.state.with(|state| matches!(state, TurnState::Answering))
    }
}

impl Visit {
    pub fn new(state: &PageState) -> Self {
        let visit = Self {
            conversation: RwSignal::new(None),
            picture: RwSignal::new(None),
            opening: RwSignal::new(None),
            turns: RwSignal::new(Vec::new()),
            alert: RwSignal::new(state.error.as_ref().map(|error| error.message.clone())),
            progress: RwSignal::new(None),
            limits: StoredValue::new(state.limits),
            question: NodeRef::new(),
            settings: NodeRef::new(),
            address: NodeRef::new(),
            takes_addresses: state.takes_addresses,
            log: NodeRef::new(),
            asked_early: StoredValue::new(None),
            refusal: StoredValue::new(None),
            openings: StoredValue::new(0),
        };
        visit.show(state.conversation.clone());
        visit
    }

    /// Whether an answer is coming, so that `Ask` is `Stop`.
    pub fn is_answering(self) -> bool {
        self.turns
            .with(|turns| turns.last().is_some_and(LiveTurn::is_answering))
    }

    /// Whether a turn is still on the page.
    pub fn has(self, turn: &LiveTurn) -> bool {
        self.turns
            .with_untracked(|turns| turns.iter().any(|other| other.key == turn.key))
    }

    /// Shows a conversation, or none, in the place of what is there.
    pub fn show(self, conversation: Option<Conversation>) {
        self.forget_opening();
        self.progress.set(None);
        let Some(conversation) = conversation else {
            self.conversation.set(None);
            self.picture.set(None);
            self.turns.set(Vec::new());
            return;
        };
        self.conversation.set(Some(conversation.id));
        self.picture.set(Some(Shown {
            url: conversation.picture.url,
            alt: "The picture".to_owned(),
        }));
        self.turns
            .set(conversation.turns.into_iter().map(LiveTurn::new).collect());
    }

    /// Lets the picture that is on its way arrive in vain.
    fn forget_opening(self) {
        self.openings.update_value(|number| *number += 1);
        self.asked_early.set_value(None);
        self.refusal.set_value(None);
        self.opening.set(None);
    }

    /// Says why a picture is not taken; asked without one, the page says it again.
    pub fn refuse(self, sentence: String) {
        self.refusal.set_value(Some(sentence.clone()));
        self.alert.set(Some(sentence));
    }

    /// Starts over with an empty page.
    pub fn begin_anew(self) {
        asking::abandon(self);
        self.alert.set(None);
        self.show(None);
        address::go(None);
        if let Some(question) = self.question.get_untracked() {
            question.set_value("");
        }
        dom::focus_question(self.question);
    }

    /// Follows the visitor through the browser's history.
    pub fn travel(self) {
        let id = address::conversation(&address::current());
        if id == self.conversation.get_untracked() {
            self.forget_opening();
            return;
        }
        self.alert.set(None);
        self.show(None);
        if id.is_none() {
            return;
        }
        leptos::task::spawn_local(async move {
            let state = api::page_state(id.clone()).await;
            if id != address::conversation(&address::current()) {
                return; // travelled on
            }
            match state {
                Ok(state) => {
                    self.alert.set(state.error.map(|error| error.message));
                    self.show(state.conversation);
                    asking::take_up(self);
                }
                Err(error) => self.alert.set(Some(error.message)),
            }
        });
    }
}
