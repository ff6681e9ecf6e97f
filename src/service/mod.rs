//! What Glimpse does, without HTTP: it takes in pictures, keeps conversations, has questions
//! answered, and lets each visitor have his share.
//!
//! A [`Service`] is what every family of clients stands on. `pictures` decodes within a
//! budget and keeps; `conversations` finds what a visitor owns; `asking` makes a question a
//! submission to the engine, with `settings` checked; `answers` has what outlives a request:
//! answers that are being given, or were given a moment ago; `explaining` says why an
//! answer is as it is; `sharing` lets others read, and keeps what owners think of answers; `export` is
//! the form in which what was said is taken elsewhere; `memory` bounds what is held
//! for visitors, and `quotas` says who has had enough. `activity` counts what happens.

mod activity;
mod answers;
mod asking;
mod blocking;
mod conversations;
pub mod date;
mod errors;
mod event_log;
mod explaining;
pub mod export;
mod fetches;
mod known_files;
mod memory;
mod pictures;
mod quotas;
mod settings;
mod sharing;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::chat::Error;
use crate::engine::{Description, Engine, Engines, Health, QueueState, Steps};
use crate::processor::PictureLimits;
use crate::remote::Fetcher;
use crate::store::{self, Store};

pub use activity::{Activity, LastHour, MINUTES, Minute};
pub use answers::InFlightAnswer;
pub use asking::Request;
#[cfg(test)]
pub use errors::refused_setting;
pub use memory::{MemoryBudget, MemoryError, Reservation};
pub use pictures::LEAST_PICTURE_MEMORY;
pub use settings::NumberLimit;

use answers::AnswerRegistry;
use pictures::Pictures;
use quotas::Quotas;

/// What visitors may have and ask for; each limit has a flag of `serve`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub picture: PictureLimits,
    /// Bytes that pictures may take, on their way and while they are decoded.
    pub picture_memory: u64,
    /// Characters of a question.
    pub question_chars: usize,
    /// Texts that are compared with a picture at once.
    pub texts: usize,
    /// Tokens of an answer, and how many it gets if the visitor does not say.
    pub max_new_tokens: usize,
    /// How many tokens an answer gets if the visitor does not say.
    pub default_new_tokens: usize,
    /// Beams, and answers to one question.
    pub beams: usize,
    /// How long a question may wait until the model begins with it.
    pub wait_time: Duration,
    /// How long one answer may take from then on.
    pub answer_time: Duration,
    /// How long an answer goes on when nobody follows it any more.
    pub grace: Duration,
    /// How long the events of an answer are kept after its end, to be followed again.
    pub keep_answers: Duration,
    /// Questions that a visitor may ask within a minute; a network may ask four times as many.
    pub questions_per_minute: usize,
    /// Pictures that a visitor may have fetched from addresses within a minute; likewise.
    pub fetches_per_minute: usize,
    pub store: store::Limits,
}

/// Cheap to share; everything in it is.
pub struct Service {
    engines: Engines,
    store: Arc<dyn Store>,
    answers: Arc<AnswerRegistry>,
    pictures: Pictures,
    quotas: Quotas,
    /// One answer is explained at a time.
    explaining: Arc<Semaphore>,
    limits: Limits,
    /// See [`Self::photo_side`].
    photo_side: usize,
}

impl Service {
    /// Without a `fetcher` visitors put no pictures in from addresses.
    pub fn new(engines: impl Into<Engines>, store: Arc<dyn Store>, limits: Limits, fetcher: Option<Fetcher>) -> Self {
        let engines = engines.into();
        let first = Arc::clone(engines.first());
        Self {
            answers: Arc::new(AnswerRegistry::new(Arc::clone(&store), &limits)),
            pictures: Pictures::new(first, Arc::clone(&store), &limits, fetcher),
            quotas: Quotas::new(&limits),
            explaining: Arc::new(Semaphore::new(1)),
            photo_side: pictures::photo_side(&engines),
            engines,
            store,
            limits,
        }
    }

    /// The model that answers whoever names none.
    pub fn model(&self) -> &Description {
        self.engines.first().description()
    }

    /// All models that answer, that one first.
    pub fn models(&self) -> impl Iterator<Item = &Arc<dyn Engine>> {
        self.engines.iter()
    }

    /// Whether the first does. Another one that cannot be loaded says so to whoever asks it.
    pub fn health(&self) -> Health {
        self.engines.first().health()
    }

    /// How many questions wait, and how many are being answered.
    pub fn queue(&self) -> QueueState {
        self.engines.queue()
    }

    /// What the model is doing at this moment, and how often it took long.
    pub fn steps(&self) -> Steps {
        self.engines.steps()
    }

    /// What has happened of late.
    pub fn activity(&self) -> &Activity {
        &self.answers.activity
    }

    /// Bytes that are held for visitors, and how many may be.
    pub fn memory(&self) -> (usize, usize) {
        self.pictures.memory.held()
    }

    /// As they were given: what a request is measured by, and what the page is told.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Pixels of a photo's shorter side with which all that models and visitors see of it stays the same; 0 where
    /// a model sees pictures of any size.
    pub fn photo_side(&self) -> usize {
        self.photo_side
    }

    /// Whether pictures may be put in from addresses.
    pub fn takes_addresses(&self) -> bool {
        self.pictures.takes_addresses()
    }

    /// Holds what a request brings, on the account of the network that it came from.
    pub fn room(&self, network: IpAddr) -> Reservation {
        self.pictures.memory.reservation(Some(network))
    }

    /// Says at once that a file of so many bytes would never be taken.
    ///
    /// # Errors
    /// It would not.
    pub fn check_arrival(&self, bytes: usize) -> Result<()> {
        let most = self.limits.picture.max_bytes;
        Ok(self.pictures.memory.check_arrival(bytes.min(most))?)
    }

    /// Whether it takes no more questions, since the process is about to end.
    pub fn is_draining(&self) -> bool {
        self.answers.is_draining()
    }

    /// Takes no more questions, and tells those that wait for the model that it does not come to
    /// them any more; returns when all answers that had begun are given.
    pub async fn drain(&self) {
        self.answers.drain().await;
    }

    /// Ends all answers, and waits until everything is on the disk.
    pub async fn end(&self) {
        self.answers.end().await;
        self.store.close().await;
    }
}

/// What a service does, or why it cannot.
pub type Result<T> = std::result::Result<T, Error>;
