//! The bounded queue before the model, owned by the model's thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;

use tokio::sync::mpsc::UnboundedSender;

use super::{EngineError, Event, Question};

/// A question on its way to the model.
pub struct Job {
    pub question: Question,
    pub events: UnboundedSender<Event>,
    /// Given back when the model takes the job, or whoever asked has gone.
    place: Option<Place>,
}

impl Job {
    /// Whether nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }
}

/// The end of the queue where questions come in.
#[derive(Clone)]
pub struct Entrance {
    jobs: std_mpsc::Sender<Job>,
    taken: Arc<AtomicUsize>,
    capacity: usize,
}

impl Entrance {
    pub fn enter(&self, question: Question, events: UnboundedSender<Event>) -> Result<(), EngineError> {
        let (place, position) = Place::take(&self.taken, self.capacity)?;
        // The receiver is in the hands of our caller: it cannot be gone yet.
        let _ = events.send(Event::Queued { position });
        self.jobs
            .send(Job {
                question,
                events,
                place: Some(place),
            })
            .map_err(|_| EngineError::Gone)
    }
}

/// A place in the queue, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>, capacity: usize) -> Result<(Self, usize), EngineError> {
        taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                (count < capacity).then_some(count + 1)
            })
            .map(|before| (Self(Arc::clone(taken)), before + 1))
            .map_err(|_| EngineError::Overloaded { capacity })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The end where the model's thread takes them out, first come, first served.
pub struct Queue {
    arrivals: std_mpsc::Receiver<Job>,
    waiting: VecDeque<Job>,
}

impl Queue {
    pub fn new(capacity: usize) -> (Entrance, Self) {
        let (jobs, arrivals) = std_mpsc::channel();
        let entrance = Entrance {
            jobs,
            taken: Arc::default(),
            capacity,
        };
        (
            entrance,
            Self {
                arrivals,
                waiting: VecDeque::new(),
            },
        )
    }

    /// Waits for the next question that somebody still waits for; `None` when no more can come.
    pub fn next(&mut self) -> Option<Job> {
        loop {
            self.take_in();
            let mut job = match self.waiting.pop_front() {
                Some(job) => job,
                None => self.arrivals.recv().ok()?,
            };
            if !job.is_abandoned() {
                job.place = None;
                self.announce_positions();
                return Some(job);
            }
        }
    }

    /// Takes in what has arrived and forgets whoever has gone; called between tokens, so
    /// that places are free and positions true while an answer is being generated.
    pub fn refresh(&mut self) {
        self.take_in();
        let before = self.waiting.len();
        self.waiting.retain(|job| !job.is_abandoned());
        if self.waiting.len() != before {
            self.announce_positions();
        }
    }

    fn take_in(&mut self) {
        self.waiting.extend(self.arrivals.try_iter());
    }

    fn announce_positions(&self) {
        for (index, job) in self.waiting.iter().enumerate() {
            // A closed channel is noticed by `refresh`.
            let _ = job.events.send(Event::Queued { position: index + 1 });
        }
    }
}
