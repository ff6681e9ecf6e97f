//! What a model looked at, where the visitor wants to see it.

use leptos::prelude::*;

use crate::api::{AnswerId, Explanation};

/// The answer that is explained, beside the picture.
#[derive(Clone, Copy)]
pub struct LookedState {
    /// None where no answer is.
    pub answer: RwSignal<Option<AnswerId>>,
    /// Once the server has said it.
    pub explanation: RwSignal<Option<Explanation>>,
    /// The word that is pointed at; none is the whole answer.
    pub word: RwSignal<Option<usize>>,
}

impl LookedState {
    pub fn new() -> Self {
        Self {
            answer: RwSignal::new(None),
            explanation: RwSignal::new(None),
            word: RwSignal::new(None),
        }
    }

    /// Begins with an answer.
    pub fn open(self, answer: AnswerId) {
        self.close();
        self.answer.set(Some(answer));
    }

    /// Shows the picture alone.
    pub fn close(self) {
        if self.answer.with_untracked(Option::is_some) {
            self.answer.set(None);
            self.explanation.set(None);
            self.word.set(None);
        }
    }

    /// Whether this answer is explained.
    pub fn is_of(self, answer: Option<&AnswerId>) -> bool {
        answer.is_some() && self.answer.with(|explained| explained.as_ref() == answer)
    }
}
