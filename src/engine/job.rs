//! A submission on its way through the queue.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::queue::{QueueSender, Waiting};
use super::{EngineError, Event, Events, Submission};

/// A submission with the way back to whoever waits for its answer.
pub struct Job {
    pub submission: Submission,
    events: UnboundedSender<Event>,
}

impl Job {
    /// Puts a submission into the queue.
    ///
    /// # Errors
    /// The queue does not take it.
    pub fn submit(submission: Submission, queue: &QueueSender<Self>) -> Result<Events, EngineError> {
        // Unbounded, but an answer has a bounded number of tokens.
        let (events, receiver) = unbounded_channel();
        queue.submit(submission.client, submission.network, Self { submission, events })?;
        Ok(receiver)
    }

    /// Sends an event, and says whether somebody still listens.
    pub fn send(&self, event: Event) -> bool {
        self.events.send(event).is_ok()
    }
}

impl Waiting for Job {
    fn is_cancelled(&self) -> bool {
        self.events.is_closed()
    }

    fn deadline(&self) -> Option<Instant> {
        self.submission.deadline
    }

    fn tell_position(&self, position: usize, expected: Option<Duration>) {
        self.send(Event::Queued { position, expected });
    }

    fn expire(self) {
        self.send(Event::Failed(EngineError::Deadline));
    }
}
