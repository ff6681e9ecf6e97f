//! A turn on the page.

use std::sync::atomic::{AtomicUsize, Ordering};

use leptos::prelude::*;

use crate::api::{Turn, TurnState};

/// A turn whose answer may still grow.
#[derive(Clone)]
pub struct LiveTurn {
    /// Tells turns of this page apart, and stays the same while the page shows the turn.
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

    /// Takes over what the server knows of the same turn; only what changed is shown anew.
    pub fn update(&self, turn: Turn) {
        set_changed(&self.answer, turn.answer);
        set_changed(&self.prompt, turn.prompt);
        set_changed(&self.further_answers, turn.further_answers);
        set_changed(&self.seed, turn.seed);
        set_changed(&self.state, turn.state);
    }

    pub fn is_answering(&self) -> bool {
        self.state.with(|state| matches!(state, TurnState::Answering))
    }
}

fn set_changed<T: PartialEq + Send + Sync + 'static>(signal: &ArcRwSignal<T>, value: T) {
    if signal.with_untracked(|old| *old != value) {
        signal.set(value);
    }
}
