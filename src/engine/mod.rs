//! Who answers: an engine takes submissions and gives events.
//!
//! [`Engine`] is what the rooms above know. [`LocalEngine`] is a model on this machine: one
//! thread owns it, and a bounded queue stands before it in which clients are served in turn
//! (`queue`); steps of the model that take too long are told (`watch`), and on a GPU it answers
//! once before it counts as started (`warm_up`). [`ScriptedEngine`] answers from a script, for tests ([`scripted`]).
//! A model that compares texts with pictures answers with a score for each text (`comparing`); while nobody asks
//! anything, both kinds encode the pictures of the page's examples (`warming`), and the first reads them as far as
//! every prompt does (`reading_ahead`).
//! [`Original`] has the numbers by which other programs generate answers.
//! [`Engines`] are those of a server; those that share a memory are loaded when somebody asks them (`pool`, by a
//! [`ModelLoader`]).
//!
//! Everything that knows a tokenizer is below this door: questions become prompts (`prompt`),
//! stop strings become tokens, tokens become text.
//!
//! To cancel, drop the [`Events`]. Nothing else is needed, and nothing else counts.

mod comparing;
mod description;
mod engines;
mod error;
mod event;
mod explainer;
mod health;
mod job;
mod loader;
mod local;
mod model;
mod model_metrics;
mod original;
mod picture_cache;
mod pool;
mod prompt;
mod queue;
mod reading_ahead;
mod request;
mod scheduler;
pub mod scripted;
mod submission;
mod warm_up;
mod warming;
mod watch;
mod worker;

pub use crate::models::Purpose;
pub use description::{Description, Presence};
pub use engines::Engines;
pub use error::{EngineError, StartError};
pub use event::{Event, Events, Summary, Timings, WrittenAnswer};
pub use explainer::{ExplainedToken, Explainer, Explanation};
pub use health::Health;
pub use job::Job;
pub use loader::{LoadFailure, LoadedModel, LocalLoader, ModelLoader, PictureSource, Pictures};
pub use local::LocalEngine;
pub use original::{Asked, Length, Original};
pub use pool::{PoolLimits, start_pool};
pub use queue::{CLIENTS_OF_A_NETWORK, ClientKey, QueueLimits, QueueState};
pub use scheduler::BatchLimits;
pub use scripted::ScriptedEngine;
pub use submission::{Instruction, Submission};
pub use watch::{RunningStep, Steps, Work};

use crate::processor::Picture;

/// Something that answers questions about pictures.
pub trait Engine: Send + Sync {
    /// What others may know of the model.
    fn description(&self) -> &Description;

    /// Whether questions have a chance of being answered.
    fn health(&self) -> Health;

    /// The picture as the model sees it: resized, tens of kilobytes. It takes a core for as long
    /// as a picture is large.
    fn prepare(&self, picture: &Picture) -> Picture;

    /// Puts a question into the queue. It returns at once.
    ///
    /// # Errors
    /// The queue is full, altogether or of this client's or network's, or the model is gone. Whether a question
    /// can be put to the model turns out when it begins, and comes as [`Event::Failed`].
    fn submit(&self, submission: Submission) -> Result<Events, EngineError> {
        let (job, events) = Job::new(submission);
        self.enqueue(job)?;
        Ok(events)
    }

    /// The same of a submission that somebody holds the events of.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    fn enqueue(&self, job: Job) -> Result<(), EngineError>;

    /// How many wait, and how many are being answered.
    fn queue(&self) -> QueueState;

    /// Whether the model is in memory. It is, unless the engine loads it when it is asked.
    fn presence(&self) -> Presence {
        Presence::Loaded
    }

    /// What explains its answers, where the model is in memory and can.
    fn explainer(&self) -> Option<Explainer> {
        None
    }

    /// The step of the model that runs, and how many were slow. An engine without steps has none.
    fn steps(&self) -> Steps {
        Steps::default()
    }
}
