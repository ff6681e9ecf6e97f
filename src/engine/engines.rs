//! The engines of a server, one a model.

use std::sync::Arc;

use super::{Engine, QueueState, Steps};

/// One engine or several, each with a name of its own. The first answers whoever names none.
#[derive(Clone)]
pub struct Engines {
    first: Arc<dyn Engine>,
    others: Vec<Arc<dyn Engine>>,
}

impl Engines {
    /// The first, and the others in the order in which visitors see them.
    pub fn new(first: Arc<dyn Engine>, others: Vec<Arc<dyn Engine>>) -> Self {
        Self { first, others }
    }

    /// That of whoever names no model.
    pub fn first(&self) -> &Arc<dyn Engine> {
        &self.first
    }

    /// All of them, the first one first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Engine>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// That of the model with this name.
    pub fn named(&self, name: &str) -> Option<&Arc<dyn Engine>> {
        self.iter().find(|engine| engine.description().name == name)
    }

    /// How many wait for any of them, and are being answered.
    pub fn queue(&self) -> QueueState {
        let states = self.iter().map(|engine| engine.queue());
        states.fold(QueueState::default(), |all, one| QueueState {
            waiting: all.waiting + one.waiting,
            running: all.running + one.running,
        })
    }

    /// Of all steps that run the one that runs the longest, and how many were slow in all.
    pub fn steps(&self) -> Steps {
        let age = |steps: &Steps| steps.running.as_ref().map(|step| step.age);
        let all = self.iter().map(|engine| engine.steps());
        let both = |one: Steps, other: Steps| {
            let slow = one.slow + other.slow;
            let longer = if age(&other) > age(&one) { other } else { one };
            Steps { slow, ..longer }
        };
        all.reduce(both).unwrap_or_default()
    }
}

impl<E: Engine + 'static> From<Arc<E>> for Engines {
    fn from(engine: Arc<E>) -> Self {
        Self::new(engine, Vec::new())
    }
}
