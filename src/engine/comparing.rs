//! A model that compares pictures with texts, behind the same queue as those that write.
//!
//! One question is taken after the other, in the order of the queue, so that clients have their turns. Its picture
//! is encoded a layer at a time and its texts are read one by one: in between whoever has gone is noticed, and a
//! question that nobody waits for ends there. What the vision tower sees of a picture is kept for whoever goes on
//! with other texts (`--picture-cache`); the keys and values that texts look at are many times as large, and are
//! computed for each question.

use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::Tensor;

use super::health::DeviceHealth;
use super::job::Job;
use super::model::Looks;
use super::model_metrics::{Cache, Held, ModelMetrics};
use super::picture_cache::PictureCache;
use super::queue::{Queue, Waiting};
use super::scheduler::guarded;
use super::warming::Warming;
use super::watch::{StepWatch, Work};
use super::{EngineError, Event, Instruction, Summary, Timings, worker};
use crate::blip2::PictureEncoding;
use crate::chat::{PictureId, RequestId, TextScore};
use crate::generation::{FinishReason, GenerationError};
use crate::models::{Comparer, Matcher};
use crate::processor::{Picture, Processor, TextError};

/// A model for matching with what stands before it.
pub struct ComparingModel<'m> {
    pub comparer: Comparer<'m>,
    pub processor: &'m Processor,
}

impl Looks for ComparingModel<'_> {
    /// Hidden states, `[1, 1 + patches, width]`.
    type Encoded = Tensor;
    type Looking = PictureEncoding;

    fn begin_picture(&mut self, picture: &Picture) -> Result<PictureEncoding, GenerationError> {
        let pixel_values = self.processor.image.pixel_values(picture)?;
        Ok(self.comparer.begin_picture(&pixel_values)?)
    }

    fn look_on(&mut self, looking: &mut PictureEncoding) -> Result<Option<Tensor>, GenerationError> {
        Ok(self.comparer.look_on(looking)?)
    }

    fn encoded_bytes(&self) -> u64 {
        self.comparer.states_bytes()
    }
}

impl ComparingModel<'_> {
    /// Compares a picture, as the model sees it, with a text before anybody asks: on a device where much happens
    /// for the first time, what cannot be done shows now.
    ///
    /// # Errors
    /// What would have failed the first question.
    pub fn compare_once(&mut self, picture: &Picture) -> Result<(), GenerationError> {
        let mut looking = self.begin_picture(picture)?;
        let states = loop {
            if let Some(states) = self.look_on(&mut looking)? {
                break states;
            }
        };
        let ids = self.processor.text.text_ids("a picture");
        let ids = ids.map_err(candle_core::Error::wrap)?;
        let seen = self.comparer.seen(&states)?;
        self.comparer.score(&seen, &self.comparer.text(&ids)?)?;
        Ok(())
    }
}

/// What goes on in the model's thread.
pub struct Comparing<'m> {
    model: ComparingModel<'m>,
    queue: Queue<Job>,
    health: Arc<DeviceHealth>,
    watch: Arc<StepWatch>,
    metrics: ModelMetrics,
    pictures: PictureCache<Tensor>,
    warming: Warming<ComparingModel<'m>>,
}

type Step<T> = Result<T, EngineError>;

/// A text as it was given, and its ids.
struct ReadText<'t> {
    text: &'t str,
    ids: Vec<u32>,
}

impl<'m> Comparing<'m> {
    pub fn new(model: ComparingModel<'m>, work: worker::Work) -> Self {
        let kept = work.limits.picture_cache / model.encoded_bytes().max(1);
        Self {
            pictures: PictureCache::new(usize::try_from(kept).unwrap_or(usize::MAX)),
            warming: Warming::of(work.pictures),
            queue: work.queue,
            health: work.health,
            watch: work.watch,
            metrics: work.metrics,
            model,
        }
    }

    /// Runs until no more questions can come and all are answered.
    pub fn run(mut self) {
        loop {
            let next = match self.queue.try_next() {
                None if rayon::scope(|_| self.warm_on()) => continue,
                None => {
                    self.watch.idle();
                    self.queue.next()
                }
                next => next,
            };
            let Some((job, permit)) = next else { return };
            self.watch.begin(Work::Scheduling, 0, request_of(&job));
            // On a thread of the pool: the work is then shared out without waking anybody first.
            let last = rayon::scope(|_| self.answer(&job));
            self.note_usage();
            // Whoever sees the last event finds its place free.
            drop(permit);
            if let Some(last) = last {
                job.send(last);
            }
        }
    }

    /// Encodes a piece of a picture that nobody has asked about; says whether there was one.
    fn warm_on(&mut self) -> bool {
        let is_over = self.queue.is_over() || self.health.failure().is_some();
        if !self.warming.has_work(is_over, &self.pictures) {
            return false;
        }
        self.watch.begin(Work::Ahead, 1, Vec::new());
        self.warming.go_on(&mut self.model, &mut self.pictures, &self.health);
        self.note_usage();
        true
    }

    fn note_usage(&self) {
        self.metrics.held(Held {
            picture_bytes: self.pictures.len() as u64 * self.model.encoded_bytes(),
            ..Held::default()
        });
    }

    /// Compares what a question asks; gives its last event, and none where nobody waits any more.
    fn answer(&mut self, job: &Job) -> Option<Event> {
        if self.health.failure().is_some() {
            return Some(Event::Failed(EngineError::DeviceFailed));
        }
        let waited = job.submitted.elapsed();
        let outcome = match self.read_texts(job) {
            Ok(texts) => self.compare(job, &texts),
            Err(error) => return Some(Event::Failed(error)),
        };
        match outcome {
            Ok(timings) => {
                if timings.is_some() {
                    self.health.succeeded();
                }
                log_end(job, waited, timings.map_or("cancelled", |_| FinishReason::Stop.name()));
                Some(Event::Done(summary(timings?)))
            }
            Err(error) => {
                self.health.failed(&error);
                job.for_its_request(|| tracing::warn!("no answer: {error}"));
                Some(Event::Failed(error))
            }
        }
    }

    /// The texts of a question, each as the model reads it.
    fn read_texts<'j>(&self, job: &'j Job) -> Step<Vec<ReadText<'j>>> {
        let Instruction::Compare { texts } = &job.submission.instruction else {
            return Err(TextError::WritesNothing.into());
        };
        let (reader, most) = (&self.model.processor.text, self.model.comparer.most_tokens());
        let read = |text: &'j String| {
            let ids = reader.text_ids_within(text, most)?;
            Ok(ReadText { text, ids })
        };
        job.for_its_request(|| guarded(tracing::Span::current, || texts.iter().map(read).collect()))
    }

    /// Sends a score for each text. Says how long that took, or nothing where nobody waits any more.
    fn compare(&mut self, job: &Job, texts: &[ReadText]) -> Step<Option<Timings>> {
        let began = Instant::now();
        let started = Event::Started {
            prompt: String::new(),
            prompt_tokens: 0,
            num_beams: 1,
        };
        if !job.send(started) {
            return Ok(None);
        }
        let Some(states) = self.states(job)? else {
            return Ok(None);
        };
        let (comparer, span) = (self.model.comparer, || self.watch.span());
        let seen = guarded(span, || Ok(comparer.seen(&states)?))?;
        let image = milliseconds(began);
        for ReadText { text, ids } in texts {
            self.queue.refresh();
            if job.is_cancelled() {
                return Ok(None);
            }
            self.watch.begin(Work::Text, ids.len(), request_of(job));
            let score = guarded(span, || Ok(comparer.score(&seen, &comparer.text(ids)?)?))?;
            if !score.probability.is_finite() || !score.cosine.is_finite() {
                return Err(GenerationError::NotFinite.into());
            }
            job.send(Event::Score(TextScore {
                text: (*text).to_owned(),
                probability: score.probability,
                cosine: score.cosine,
            }));
        }
        let total = milliseconds(began);
        Ok(Some(Timings {
            image,
            prefill: total - image,
            decode: 0.0,
            total,
        }))
    }

    /// What the vision tower sees of the picture of a question; nothing where nobody waits any more.
    fn states(&mut self, job: &Job) -> Step<Option<Tensor>> {
        let picture: &Picture = &job.submission.picture;
        let id = PictureId(picture.pixel_hash());
        if let Some(states) = self.pictures.get(&id) {
            self.metrics.looked_up(Cache::Picture, true);
            return Ok(Some(states));
        }
        self.metrics.looked_up(Cache::Picture, false);
        let mut begun = self.warming.hand_over(id);
        loop {
            self.queue.refresh();
            if job.is_cancelled() {
                return Ok(None);
            }
            self.watch.begin(Work::Picture, 1, request_of(job));
            let (model, watch) = (&mut self.model, &self.watch);
            let looked = guarded(
                || watch.span(),
                || {
                    let mut looking = match begun.take() {
                        Some(looking) => looking,
                        None => model.begin_picture(picture)?,
                    };
                    let states = model.look_on(&mut looking)?;
                    Ok((looking, states))
                },
            );
            let (looking, states) = looked?;
            if let Some(states) = states {
                self.pictures.insert(id, states.clone());
                return Ok(Some(states));
            }
            begun = Some(looking);
        }
    }
}

fn summary(timings: Timings) -> Summary {
    Summary {
        finish_reason: FinishReason::Stop,
        prompt_ids: Vec::new(),
        generated_tokens: 0,
        timings,
        seed: None,
        answers: Vec::new(),
    }
}

/// The request that a question came in, for what is told of a step.
fn request_of(job: &Job) -> Vec<Arc<RequestId>> {
    job.request.iter().cloned().collect()
}

/// A line in the log about how it ended; where it came in no request, for those alone who look closely.
fn log_end(job: &Job, waited: Duration, finish: &'static str) {
    let waited_ms = waited.as_millis() as u64; // of a wait that is minutes at most
    let texts = match &job.submission.instruction {
        Instruction::Compare { texts } => texts.len(),
        _ => 0,
    };
    job.for_its_request(|| match job.request {
        Some(_) => tracing::info!(waited_ms, texts, finish, "an answer has ended"),
        None => tracing::debug!(waited_ms, texts, finish, "an answer has ended"),
    });
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests;
