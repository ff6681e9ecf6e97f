//! A submission on its way through the queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tracing::Span;

use super::queue::{QueueSender, Waiting};
use super::{EngineError, Event, Events, Submission};
use crate::chat::RequestId;

/// A submission with the way back to whoever waits for its answer.
pub struct Job {
    pub submission: Submission,
    events: UnboundedSender<Event>,
    /// Of the request that asked: what goes wrong in the model's thread is logged for it.
    span: Span,
    /// Its id, where it came in a request.
    pub request: Option<Arc<RequestId>>,
    pub submitted: Instant,
}

impl Job {
    /// Of the request that is being worked for, submitted now; what happens to it comes by the events.
    pub fn new(submission: Submission) -> (Self, Events) {
        // Unbounded, but an answer has a bounded number of tokens.
        let (events, receiver) = unbounded_channel();
        let job = Self {
            submission,
            events,
            span: Span::current(),
            request: RequestId::current().map(Arc::new),
            submitted: Instant::now(),
        };
        (job, receiver)
    }

    /// Puts a submission into a queue.
    #[cfg(test)]
    pub fn submit(submission: Submission, queue: &QueueSender<Self>) -> Result<Events, EngineError> {
        let (job, events) = Self::new(submission);
        job.enter(queue)?;
        Ok(events)
    }

    /// Puts it into a queue.
    ///
    /// # Errors
    /// The queue does not take it.
    pub fn enter(self, queue: &QueueSender<Self>) -> Result<(), EngineError> {
        let (client, network) = (self.submission.client, self.submission.network);
        Ok(queue.submit(client, network, self)?)
    }

    /// The way back to whoever waits, for what is to be told when the job is somewhere else. It is
    /// not to be kept: an event channel that ends says that the engine is gone.
    pub fn reply(&self) -> UnboundedSender<Event> {
        self.events.clone()
    }

    /// Does work whose lines in the log name the request that asked.
    pub fn for_its_request<T>(&self, work: impl FnOnce() -> T) -> T {
        self.span.in_scope(work)
    }

    /// The span of that request.
    pub fn span(&self) -> Span {
        self.span.clone()
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

    fn cost(&self) -> usize {
        self.submission.options.rows()
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
