//! What the page's components share, in signals. Knows the contract with the server, and
//! neither the browser nor any component.

mod conversation;
mod history;
mod looked;
mod models;
mod opening;
mod settings;
mod sharing;
mod texts;
mod turn;

use leptos::prelude::*;

use crate::api::{Conversation, PageLimits, PageState};

pub use conversation::{Before, ConversationState, ShownPicture};
pub use history::{Doing, HistoryState};
pub use looked::LookedState;
pub use models::ModelsState;
pub use opening::{KeptPicture, NewQuestion, OpeningState, Place};
pub use settings::SettingsState;
pub use sharing::SharingState;
pub use texts::{TextRow, TextsState};
pub use turn::LiveTurn;

/// All of it. Copies share the same signals.
#[derive(Clone, Copy)]
pub struct State {
    /// What was said about the picture that is in.
    pub conversation: ConversationState,
    /// The picture that is on its way to the server.
    pub opening: OpeningState,
    /// What a model looked at.
    pub looked: LookedState,
    /// Who else may read.
    pub sharing: SharingState,
    /// The visitor's conversations.
    pub history: HistoryState,
    /// The question that is being typed.
    pub draft: RwSignal<String>,
    /// The texts that are being typed, where a model compares.
    pub texts: TextsState,
    /// The picture's address that is being typed.
    pub address: RwSignal<String>,
    /// How answers are to be generated.
    pub settings: SettingsState,
    /// What went wrong, in a sentence; what a turn says of itself is not repeated here.
    pub alert: RwSignal<Option<String>>,
    /// Of the code that this page was loaded with.
    version: StoredValue<String>,
    /// Whether the server has another one by now.
    pub is_outdated: RwSignal<bool>,
    /// What goes on, in a few words.
    pub progress: RwSignal<Option<String>>,
    /// Set each time that the question box may want the focus.
    pub focus: RwSignal<Option<FocusQuestion>>,
    /// What the server would refuse.
    pub limits: PageLimits,
    /// Whether a picture may be put in from an address.
    pub takes_addresses: bool,
    /// Which model is asked, and what it can be asked.
    pub models: ModelsState,
}

/// Why the question box may want the focus.
#[derive(Clone, Copy, PartialEq)]
pub enum FocusQuestion {
    /// The visitor did what leads to a question: put a picture in, or started over.
    Next,
    /// An answer has ended. Whoever reads or sets something meanwhile is left there.
    Answered,
}

impl State {
    pub fn new(page: &PageState) -> Self {
        let state = Self {
            conversation: ConversationState::new(),
            opening: OpeningState::new(),
            looked: LookedState::new(),
            sharing: SharingState::new(),
            history: HistoryState::new(),
            draft: RwSignal::new(page.draft.clone()),
            texts: TextsState::new(&page.draft_texts),
            address: RwSignal::new(page.draft_address.clone()),
            settings: SettingsState::new(&page.settings),
            alert: RwSignal::new(page.error.as_ref().map(|error| error.message.clone())),
            version: StoredValue::new(page.version.clone()),
            is_outdated: RwSignal::new(false),
            progress: RwSignal::new(None),
            focus: RwSignal::new(None),
            limits: page.limits,
            takes_addresses: page.takes_addresses,
            models: ModelsState::new(page),
        };
        if let Some(conversation) = page.conversation.as_ref().filter(|_| page.chosen.is_empty()) {
            state.models.go_on(conversation);
            state.texts.go_on(conversation);
        }
        state.conversation.show(page.conversation.clone());
        state
    }

    /// Shows a conversation, or none, in the place of what is there.
    pub fn show(self, conversation: Option<Conversation>) {
        self.opening.cancel();
        self.opening.has_replaced.set(false);
        self.looked.close();
        self.sharing.forget();
        self.progress.set(None);
        if let Some(conversation) = &conversation {
            self.models.go_on(conversation);
            self.texts.go_on(conversation);
        }
        self.conversation.show(conversation);
    }

    /// Notes whether the server has other code for the page by now.
    pub fn compare_version(self, page: &PageState) {
        if self.version.with_value(|version| *version != page.version) {
            self.is_outdated.set(true);
        }
    }

    /// Says why a picture is not taken; asked without one, the page says it again.
    pub fn refuse_picture(self, sentence: String) {
        self.opening.refusal.set_value(Some(sentence.clone()));
        self.alert.set(Some(sentence));
    }

    /// Puts a question that got no answer back into its box, unless something new is there; texts that are
    /// compared stay in theirs.
    pub fn give_back(self, turn: &LiveTurn) {
        if turn.scores.is_some() {
            return;
        }
        self.draft.update(|draft| {
            if draft.is_empty() {
                turn.question.clone_into(draft);
            }
        });
    }
}
