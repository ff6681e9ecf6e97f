//! What others may know of the model.

use crate::models::{AnswerStart, Family, OpenModel, Purpose};

/// What others may know of the model.
#[derive(Clone, Debug)]
pub struct Description {
    /// The id on the hub, or the folder's name.
    pub name: String,
    /// As the status line calls it: `CPU`, `CUDA 0`.
    pub device: String,
    /// As `--dtype` calls it.
    pub dtype: String,
    /// Whether it is the demo model that is part of the program.
    pub is_demo: bool,
    /// What it can be asked.
    pub purpose: Purpose,
    pub family: Family,
    /// What stands in front of its answers.
    pub start: AnswerStart,
    /// Opening and loading, in milliseconds.
    pub load_ms: f64,
}

/// Whether a model is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Loaded,
    /// It is on its way there.
    Loading,
    /// It is loaded when somebody asks it.
    Unloaded,
}

impl Presence {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Loading => "loading",
            Self::Unloaded => "unloaded",
        }
    }
}

impl From<&OpenModel> for Description {
    fn from(model: &OpenModel) -> Self {
        Self {
            name: model.name.clone(),
            device: model.device.clone(),
            dtype: model.dtype.clone(),
            is_demo: model.is_demo,
            purpose: model.purpose,
            family: model.network.family(),
            start: model.network.answer_start(),
            load_ms: model.load_ms,
        }
    }
}
