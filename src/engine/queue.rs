//! The bounded queue before the model, owned by the model's thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{UnboundedSender, WeakUnboundedSender};

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
    places: Arc<Places>,
    capacity: usize,
}

impl Entrance {
    pub fn enter(&self, question: Question, events: UnboundedSender<Event>) -> Result<(), EngineError> {
        let (place, position) = Place::take(&self.places, self.capacity, &events)?;
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

/// The places that are taken, and who waits there: whoever has gone holds none, even while
/// the model's thread has no time to look.
#[derive(Default)]
struct Places {
    taken: Mutex<Vec<(u64, WeakUnboundedSender<Event>)>>,
    next: AtomicU64,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Vec<(u64, WeakUnboundedSender<Event>)>> {
        // Every change is a single step, so that a panic elsewhere leaves nothing half done.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue, given back when dropped.
struct Place {
    places: Arc<Places>,
    number: u64,
}

impl Place {
    fn take(
        places: &Arc<Places>,
        capacity: usize,
        events: &UnboundedSender<Event>,
    ) -> Result<(Self, usize), EngineError> {
        let mut taken = places.lock();
        taken.retain(|(_, events)| events.upgrade().is_some_and(|events| !events.is_closed()));
        if taken.len() >= capacity {
            return Err(EngineError::Overloaded { capacity });
        }
        let number = places.next.fetch_add(1, Ordering::Relaxed);
        taken.push((number, events.downgrade()));
        let place = Self {
            places: Arc::clone(places),
            number,
        };
        Ok((place, taken.len()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().retain(|(number, _)| *number != self.number);
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
            places: Arc::default(),
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

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::generation::GenerationOptions;
    use crate::processor::{Picture, Prompt};

    fn question() -> Question {
        let picture = Picture {
            width: 1,
            height: 1,
            rgb: vec![1, 2, 3],
        };
        Question {
            picture: Arc::new(picture),
            prompt: Prompt::Caption,
            options: GenerationOptions::default(),
        }
    }

    #[test]
    fn who_has_gone_holds_no_place_while_the_model_is_busy() {
        // Nobody takes anything out: the model is busy.
        let (entrance, _queue) = Queue::new(1);
        let (events, gone) = unbounded_channel();
        entrance.enter(question(), events).expect("there is a place");
        let (events, _waiting) = unbounded_channel();
        let refused = entrance.enter(question(), events);
        assert!(matches!(refused, Err(EngineError::Overloaded { capacity: 1 })));
        drop(gone);
        let (events, mut receiver) = unbounded_channel();
        entrance.enter(question(), events).expect("the place is free");
        assert!(matches!(receiver.try_recv(), Ok(Event::Queued { position: 1 })));
    }
}
