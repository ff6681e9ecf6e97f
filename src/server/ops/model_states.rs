//! What `/status` tells programs: each model of the server, and what it has to do.

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Health};
use crate::service::Service;

/// The answer to `GET /status` with `Accept: application/json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelStates {
    /// The one that answers whoever names none comes first.
    pub models: Vec<ModelState>,
}

/// A model of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelState {
    /// The id on the hub, or the folder's name.
    pub name: String,
    /// Whether it is the demo model that is part of the program.
    pub is_demo: bool,
    /// `loaded`, `loading`, `unloaded` or `failed`.
    pub state: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub device: String,
    /// As `--dtype` calls it.
    pub dtype: String,
    /// Questions that it is answering.
    pub running: usize,
    /// Questions that wait for it.
    pub waiting: usize,
}

impl ModelStates {
    pub fn of(service: &Service) -> Self {
        Self {
            models: service.models().map(|engine| ModelState::of(engine.as_ref())).collect(),
        }
    }
}

impl ModelState {
    fn of(engine: &dyn Engine) -> Self {
        let (model, queue) = (engine.description(), engine.queue());
        let (state, reason) = match engine.health() {
            Health::Ready => (engine.presence().name(), None),
            Health::Failed(reason) => ("failed", Some(reason)),
        };
        Self {
            name: model.name.clone(),
            is_demo: model.is_demo,
            state: state.to_owned(),
            reason,
            device: model.device.clone(),
            dtype: model.dtype.clone(),
            running: queue.running,
            waiting: queue.waiting,
        }
    }

    /// In a word, and why where it failed.
    pub fn told(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{}: {reason}", self.state),
            None => self.state.clone(),
        }
    }
}
