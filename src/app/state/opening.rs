//! The picture that is on its way to the server.

use leptos::prelude::*;

use super::conversation::ShownPicture;
use super::turn::LiveTurn;
use crate::api;

/// What happens until the server has the picture that was put in.
#[derive(Clone, Copy)]
pub struct OpeningState {
    /// The picture, shown meanwhile; none when none is on its way.
    pub picture: RwSignal<Option<ShownPicture>>,
    /// A picture that could not be taken in, though nothing is wrong with it: it stays to be seen,
    /// and is sent again with the next question.
    pub kept: RwSignal<Option<KeptPicture>>,
    /// Asked before it had arrived: to be asked when it has.
    pub question: StoredValue<Option<NewQuestion>>,
    /// Why the last picture was not taken, until another one is put in.
    pub refusal: StoredValue<Option<String>>,
    /// Whether the conversation that is shown has taken the place of another.
    pub has_replaced: RwSignal<bool>,
    /// Counts the pictures that were put in, so that only the last one is opened.
    count: StoredValue<usize>,
}

/// A picture to be sent again.
#[derive(Clone)]
pub struct KeptPicture {
    pub shown: ShownPicture,
    /// Sends it, and then asks about it.
    pub send_and_ask: UnsyncCallback<NewQuestion>,
}

/// A question that is about to be asked.
#[derive(Clone)]
pub struct NewQuestion {
    /// Empty asks for a caption, where there are no texts.
    pub text: String,
    /// What is to be compared with the picture, where a model compares.
    pub texts: Vec<String>,
    /// It stands in the question box, which is empty once the question is on its way.
    pub is_draft: bool,
    /// Where it belongs.
    pub place: Place,
}

/// Where a question belongs on the page.
#[derive(Clone)]
pub enum Place {
    /// Behind all that is shown.
    Next,
    /// In the place of this turn and what follows it, which stay to be leafed through.
    Instead(LiveTurn),
    /// Beside the answers of this turn, as another one.
    Again(LiveTurn),
    /// The same, as the last of them with more room.
    Longer(LiveTurn),
}

impl NewQuestion {
    /// A question, or a caption where it is empty.
    pub fn new(text: String, is_draft: bool) -> Self {
        Self {
            text,
            texts: Vec::new(),
            is_draft,
            place: Place::Next,
        }
    }

    /// Texts that are to be compared; they stay in their boxes, for the next picture.
    pub fn comparing(texts: Vec<String>) -> Self {
        Self {
            text: texts.join("\n"),
            texts,
            is_draft: false,
            place: Place::Next,
        }
    }

    /// What was asked in an earlier turn: a question, which may be a caption, or texts.
    pub fn of(turn: &LiveTurn) -> Self {
        match turn.scores {
            Some(_) => Self::comparing(turn.question.lines().map(str::to_owned).collect()),
            None => Self::new(turn.question.clone(), false),
        }
    }

    /// The same elsewhere.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }
}

impl OpeningState {
    pub fn new() -> Self {
        Self {
            picture: RwSignal::new(None),
            kept: RwSignal::new(None),
            question: StoredValue::new(None),
            refusal: StoredValue::new(None),
            has_replaced: RwSignal::new(false),
            count: StoredValue::new(0),
        }
    }

    /// Whether a picture is on its way.
    pub fn is_open(self) -> bool {
        self.picture.with(Option::is_some)
    }

    /// Begins with a picture, and gives its number for [`OpeningState::is_last`].
    pub fn begin(self, picture: ShownPicture, question: Option<NewQuestion>) -> usize {
        self.cancel();
        self.question.set_value(question);
        self.picture.set(Some(picture));
        self.count.get_value()
    }

    /// Whether no other picture was put in meanwhile, and the visitor still waits for it.
    pub fn is_last(self, number: usize) -> bool {
        self.count.get_value() == number
    }

    /// Takes the question that waits for the picture.
    pub fn take_question(self) -> Option<NewQuestion> {
        self.question.try_update_value(Option::take).flatten()
    }

    /// Lets the picture that is on its way arrive in vain.
    pub fn cancel(self) {
        api::stop_sending();
        self.count.update_value(|count| *count += 1);
        self.question.set_value(None);
        self.refusal.set_value(None);
        self.picture.set(None);
        self.kept.set(None);
    }

    /// What is to be seen of pictures that the server does not have.
    pub fn shown(self) -> Option<ShownPicture> {
        let kept = || self.kept.with(|kept| kept.as_ref().map(|kept| kept.shown.clone()));
        self.picture.get().or_else(kept).filter(|shown| !shown.url.is_empty())
    }
}
