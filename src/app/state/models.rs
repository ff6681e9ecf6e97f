//! The models that answer, and which of them are asked.

use leptos::prelude::*;

use crate::api::{Conversation, ModelInfo, Offers, PageState};

/// Which model is asked, of those that answer.
#[derive(Clone, Copy)]
pub struct ModelsState {
    /// At least one; the first is asked where nobody chooses.
    all: StoredValue<Vec<ModelInfo>>,
    /// The name of the one that is asked.
    pub chosen: RwSignal<String>,
    /// That of another which is asked the same beside it; empty where none is.
    pub beside: RwSignal<String>,
}

impl ModelsState {
    pub fn new(page: &PageState) -> Self {
        let mut asked = page
            .chosen
            .iter()
            .filter(|name| page.models.iter().any(|model| model.name == **name));
        let chosen = asked.next().unwrap_or(&page.model.name).clone();
        let beside = asked.next().cloned().unwrap_or_default();
        Self {
            all: StoredValue::new(page.models.clone()),
            chosen: RwSignal::new(chosen),
            beside: RwSignal::new(beside),
        }
    }

    /// All of them.
    pub fn all(self) -> Vec<ModelInfo> {
        self.all.get_value()
    }

    /// Whether there is something to choose.
    pub fn are_several(self) -> bool {
        self.all.with_value(|all| all.len() > 1)
    }

    /// That of this name, if it still answers.
    pub fn named(self, name: &str) -> Option<ModelInfo> {
        self.all
            .with_value(|all| all.iter().find(|model| model.name == name).cloned())
    }

    /// The one that is asked.
    pub fn info(self) -> ModelInfo {
        let chosen = self.named(&self.chosen.get());
        // There is at least one, which a page has to know.
        chosen.unwrap_or_else(|| self.all.with_value(|all| all[0].clone()))
    }

    /// Those that can be asked something that the chosen one can be asked too.
    pub fn comparable(self) -> Vec<ModelInfo> {
        let chosen = self.info();
        let is_alike =
            |model: &ModelInfo| model.name != chosen.name && model.offers.common(chosen.offers).is_something();
        self.all().into_iter().filter(is_alike).collect()
    }

    /// The other model that is asked, where two are compared.
    pub fn compared(self) -> Option<ModelInfo> {
        let beside = self.beside.get();
        self.comparable().into_iter().find(|model| model.name == beside)
    }

    /// What can be asked: of two, what both can be asked.
    pub fn offers(self) -> Offers {
        let offers = self.info().offers;
        self.compared().map_or(offers, |other| other.offers.common(offers))
    }

    /// Goes on with those that answered last in a conversation, as far as they are still there.
    pub fn go_on(self, conversation: &Conversation) {
        let Some(last) = conversation.turns.last() else { return };
        if self.named(&last.model).is_some() {
            self.chosen.set(last.model.clone());
            let beside = last.compared.first().map(|other| other.model.clone());
            self.beside.set(beside.unwrap_or_default());
        }
    }
}
