//! The visitor's conversations, as the list shows them.

use leptos::prelude::*;

use crate::api::{ConversationEntry, ConversationId, History};

/// The list, once it was looked at.
#[derive(Clone, Copy)]
pub struct HistoryState {
    /// None before the server has said it.
    pub known: RwSignal<Option<History>>,
    /// What is searched for.
    pub search: RwSignal<String>,
    /// What is being done with one of them, or with all.
    pub doing: RwSignal<Option<Doing>>,
}

/// What the visitor is about to do.
#[derive(Clone, PartialEq)]
pub enum Doing {
    Rename(ConversationId),
    /// Asked whether he means it.
    Remove(ConversationId),
    RemoveAll,
}

impl HistoryState {
    pub fn new() -> Self {
        Self {
            known: RwSignal::new(None),
            search: RwSignal::new(String::new()),
            doing: RwSignal::new(None),
        }
    }

    /// Those whose title has what is searched for.
    pub fn found(self) -> Vec<ConversationEntry> {
        let search = self.search.get().trim().to_lowercase();
        let is_found = |entry: &&ConversationEntry| entry.title.to_lowercase().contains(&search);
        self.known.with(|known| {
            let entries = known.iter().flat_map(|known| &known.entries);
            entries.filter(is_found).cloned().collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_found_by_a_part_of_its_title() {
        Owner::new().with(|| {
            let entry = |title: &str| ConversationEntry {
                id: ConversationId(title.to_owned()),
                url: String::new(),
                title: title.to_owned(),
                turns: 1,
                is_pinned: false,
                updated: 0,
            };
            let state = HistoryState::new();
            assert!(state.found().is_empty());
            state.known.set(Some(History {
                entries: vec![entry("How many Snails?"), entry("What is this?"), entry("")],
                limit: 9,
                days: None,
            }));
            let titles = || state.found().into_iter().map(|entry| entry.title).collect::<Vec<_>>();
            assert_eq!(titles().len(), 3);
            state.search.set(" snail ".to_owned());
            assert_eq!(titles(), ["How many Snails?"]);
        });
    }
}
