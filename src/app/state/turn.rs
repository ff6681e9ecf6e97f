//! A turn on the page.

use std::sync::atomic::{AtomicUsize, Ordering};

use leptos::prelude::*;

use crate::api::{AnswerId, Feedback, FinishReason, TextScore, Turn, TurnId, TurnState};

/// A turn whose answer may still grow.
#[derive(Clone)]
pub struct LiveTurn {
    /// Tells turns of this page apart, and stays the same while the page shows the turn.
    pub key: usize,
    /// The server's names of the turn and of its answer, once they are known.
    pub ids: ArcStoredValue<Option<(TurnId, AnswerId)>>,
    /// The number of the last event that was shown, by which the stream is taken up.
    pub seq: ArcStoredValue<u64>,
    pub question: String,
    pub answer: ArcRwSignal<String>,
    pub state: ArcRwSignal<TurnState>,
    /// The text that was sent to the model, once it is known.
    pub prompt: ArcRwSignal<Option<String>>,
    pub further_answers: ArcRwSignal<Vec<String>>,
    /// How well each line of the question fits, as far as that is known; none where an answer is written.
    pub scores: Option<ArcRwSignal<Vec<TextScore>>>,
    pub seed: ArcRwSignal<Option<u64>>,
    /// How many beams are being searched for the answer, as far as it is known.
    pub num_beams: ArcRwSignal<usize>,
    /// The name of the model that is asked; empty where an older Glimpse did not say.
    pub model: String,
    /// How long the answer took, in milliseconds, once it is whole.
    pub total_ms: ArcRwSignal<Option<f64>>,
    /// Its tokens, as far as they are known.
    pub tokens: ArcRwSignal<Option<usize>>,
    /// What the visitor thinks of the answer.
    pub feedback: ArcRwSignal<Option<Feedback>>,
    /// The same question to other models.
    pub beside: Vec<LiveTurn>,
    /// The turn that it follows; several that follow the same one are branches.
    pub parent: Option<TurnId>,
    /// Earlier answers to the same question, the first first.
    pub earlier: Vec<LiveTurn>,
}

impl LiveTurn {
    /// A question that is about to be put to a model; `prompt` is how its answer is to begin.
    pub fn asked(question: String, prompt: Option<String>, model: String) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self {
            key: NEXT.fetch_add(1, Ordering::Relaxed),
            ids: ArcStoredValue::new(None),
            seq: ArcStoredValue::new(0),
            question,
            answer: ArcRwSignal::new(String::new()),
            state: ArcRwSignal::new(TurnState::Answering),
            prompt: ArcRwSignal::new(prompt),
            further_answers: ArcRwSignal::new(Vec::new()),
            scores: None,
            seed: ArcRwSignal::new(None),
            num_beams: ArcRwSignal::new(1),
            model,
            total_ms: ArcRwSignal::new(None),
            tokens: ArcRwSignal::new(None),
            feedback: ArcRwSignal::new(None),
            beside: Vec::new(),
            parent: None,
            earlier: Vec::new(),
        }
    }

    /// The same of texts, one a line, which a model compares.
    #[must_use]
    pub fn comparing(mut self) -> Self {
        self.scores = Some(ArcRwSignal::default());
        self
    }

    /// Makes this another answer to what was asked in a turn.
    pub fn follow_attempts_of(&mut self, turn: &Self) {
        let mut last = turn.clone();
        self.parent.clone_from(&turn.parent);
        self.earlier = std::mem::take(&mut last.earlier);
        self.earlier.push(last);
    }

    /// A turn that the server knows.
    pub fn new(turn: Turn) -> Self {
        let mut live = Self::asked(turn.question.clone(), None, turn.model.clone());
        live.scores = turn.scores.as_ref().map(|_| ArcRwSignal::default());
        live.parent.clone_from(&turn.parent);
        live.earlier = turn.earlier.iter().cloned().map(Self::new).collect();
        live.beside = turn.compared.iter().cloned().map(Self::new).collect();
        live.update(turn);
        live
    }

    /// Whether this is the turn that the server names so; one that it has not named yet may be.
    pub fn may_be(&self, turn: &Turn) -> bool {
        let is_named = |(id, _): &(TurnId, AnswerId)| *id == turn.id;
        let is_it = self.ids.with_value(|ids| ids.as_ref().map(is_named));
        self.beside.len() == turn.compared.len()
            && self.earlier.len() == turn.earlier.len()
            && self.scores.is_some() == turn.scores.is_some()
            && is_it.unwrap_or(self.question == turn.question)
    }

    /// Whether this is it, or one beside it.
    pub fn contains(&self, key: usize) -> bool {
        self.all().any(|turn| turn.key == key)
    }

    /// It, and those beside it.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.beside)
    }

    /// What its element is called, where one is made of it now.
    pub fn element_id(&self) -> String {
        // The server counts its turns by itself.
        let known = self.turn_id().map_or_else(|| self.key.to_string(), |turn| turn.0);
        ["turn-", &known].concat()
    }

    /// The turn's name, once it is known.
    pub fn turn_id(&self) -> Option<TurnId> {
        self.ids.with_value(|ids| ids.as_ref().map(|(turn, _)| turn.clone()))
    }

    /// The answer's name, once it is known.
    pub fn answer_id(&self) -> Option<AnswerId> {
        self.ids
            .with_value(|ids| ids.as_ref().map(|(_, answer)| answer.clone()))
    }

    /// Takes over what the server knows of the same turn; only what changed is shown anew.
    pub fn update(&self, turn: Turn) {
        self.ids.set_value(Some((turn.id, turn.answer_id)));
        set_changed(&self.answer, turn.answer);
        set_changed(&self.prompt, turn.prompt);
        set_changed(&self.further_answers, turn.further_answers);
        if let (Some(scores), Some(known)) = (&self.scores, turn.scores) {
            set_changed(scores, known);
        }
        set_changed(&self.seed, turn.seed);
        set_changed(&self.total_ms, turn.total_ms);
        set_changed(&self.tokens, turn.tokens);
        set_changed(&self.feedback, turn.feedback);
        set_changed(&self.state, turn.state);
        for (live, known) in self.beside.iter().zip(turn.compared) {
            live.update(known);
        }
    }

    /// Whether its own answer is coming, or one beside it.
    pub fn is_answering(&self) -> bool {
        // Each is looked at, so that a change of any of them is seen.
        self.all().filter(|turn| turn.is_answering_itself()).count() > 0
    }

    /// Whether an answer has come that the server can explain.
    pub fn can_be_explained(&self) -> bool {
        let is_text = self.scores.is_none() && self.answer.with(|answer| !answer.trim().is_empty());
        is_text && self.state.with(|state| matches!(state, TurnState::Done { .. }))
    }

    /// Whether its answer ended as it had reached its length.
    pub fn is_cut_off(&self) -> bool {
        let finish_reason = FinishReason::Length;
        self.state.with(|state| *state == TurnState::Done { finish_reason })
    }

    /// Whether it is a caption that is whole.
    pub fn is_caption(&self) -> bool {
        self.question.is_empty() && self.can_be_explained()
    }

    /// Whether its own answer is coming.
    pub fn is_answering_itself(&self) -> bool {
        self.state.with(|state| matches!(state, TurnState::Answering))
    }
}

fn set_changed<T: PartialEq + Send + Sync + 'static>(signal: &ArcRwSignal<T>, value: T) {
    if signal.with_untracked(|old| *old != value) {
        signal.set(value);
    }
}
