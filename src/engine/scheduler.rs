//! Continuous batching: many questions, one model.
//!
//! The model's thread goes round: questions are taken from the queue while there is room, all
//! answers go on by a token in one pass, and then, for as long as the running answers can wait
//! ([`BatchLimits::max_gap`]), prompts are read and pictures encoded, a layer at a time. Whoever is
//! cancelled is let go before the next pass. While nobody asks, pictures are encoded ahead
//! ([`warming`](super::warming)).
//!
//! Source: Yu et al. 2022, *Orca: A Distributed Serving System for Transformer-Based Generative
//! Models*; chunked prefill as in Agrawal et al. 2023, *SARATHI* (arXiv 2308.16369).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use tracing::Span;

use super::health::DeviceHealth;
use super::job::Job;
use super::model::{Model, Part};
use super::model_metrics::{Cache, Held, ModelMetrics};
use super::picture_cache::PictureCache;
use super::prompt::{PromptWriter, SentPrompt};
use super::queue::{Permit, Queue, Waiting};
use super::reading_ahead::ReadingAhead;
use super::request::{Phase, Prepared, Request};
use super::warming::Warming;
use super::watch::{StepWatch, Work};
use super::{EngineError, Event, Instruction};
use crate::blip2::passes::PromptPart;
use crate::chat::{PictureId, RequestId};
use crate::generation::{Answer, GenerationError, GenerationOptions, RowLogits, StopStrings};
use crate::processor::{Picture, TextProcessor};

/// How much an engine does at once.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Rows of the model: answers that go on together, each beam one.
    pub rows: usize,
    /// How long running answers wait for prompts and pictures between two tokens, where a layer
    /// takes less.
    pub max_gap: Duration,
    /// Bytes of pictures and of their keys and values that are kept for whoever asks about them
    /// again.
    pub picture_cache: u64,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            rows: 16,
            max_gap: Duration::from_millis(250),
            picture_cache: 1 << 30,
        }
    }
}

/// Tokens of prompts that are read in one pass, but for a prompt that cannot be cut.
const PROMPT_ROWS: usize = 64;

/// What questions become prompts by.
pub struct Prompts<'p> {
    pub processor: &'p TextProcessor,
    pub is_demo: bool,
    /// Tokens that earlier turns may fill, by the most tokens of an answer.
    pub room_for_turns: &'p (dyn Fn(usize) -> usize + Sync),
}

impl<'p> Prompts<'p> {
    fn writer(&self) -> PromptWriter<'p> {
        PromptWriter {
            processor: self.processor,
            is_demo: self.is_demo,
        }
    }
}

/// What goes on in the model's thread.
pub struct Scheduler<'p, M: Model> {
    model: M,
    prompts: Prompts<'p>,
    queue: Queue<Job>,
    limits: BatchLimits,
    health: Arc<DeviceHealth>,
    watch: Arc<StepWatch>,
    metrics: ModelMetrics,
    pictures: PictureCache<M::Encoded>,
    /// Taken from the queue, and there is no room for it yet.
    next_up: Option<Request<'p, M>>,
    /// In the order in which they were taken.
    running: Vec<Request<'p, M>>,
    looking: Option<(PictureId, M::Looking)>,
    /// Of pictures that nobody has asked about yet.
    warming: Warming<M>,
    /// One of those, and any prompt, whose beginning is the same as others'.
    ahead: Option<ReadingAhead<M>>,
    any_prompt: Option<SentPrompt>,
    reading: Option<(M::Reading, Vec<Taken>)>,
    /// How long the latest layer of a prompt or a picture took.
    latest_layer: Duration,
    numbers: u64,
}

/// A request whose prompt, or a part of it, is being read.
#[derive(Clone, Copy)]
struct Taken {
    number: u64,
    tokens: usize,
}

type Step<T> = Result<T, EngineError>;

impl<'p, M: Model + Send> Scheduler<'p, M> {
    pub fn new(
        model: M,
        prompts: Prompts<'p>,
        queue: Queue<Job>,
        limits: BatchLimits,
        health: Arc<DeviceHealth>,
        watch: Arc<StepWatch>,
        metrics: ModelMetrics,
    ) -> Self {
        let of_pictures = if model.reads_in_parts() {
            limits.picture_cache / 8
        } else {
            limits.picture_cache
        };
        Self {
            pictures: PictureCache::new((of_pictures / model.encoded_bytes().max(1)) as usize),
            model,
            prompts,
            queue,
            limits,
            health,
            watch,
            metrics,
            next_up: None,
            running: Vec::new(),
            looking: None,
            warming: Warming::default(),
            ahead: None,
            any_prompt: None,
            reading: None,
            latest_layer: Duration::ZERO,
            numbers: 0,
        }
    }

    /// Runs until no more questions can come and all are answered.
    pub fn run(mut self) {
        loop {
            if self.running.is_empty() && self.next_up.is_none() {
                let next = match self.queue.try_next() {
                    None if rayon::scope(|_| self.warm_on()) => continue,
                    None => {
                        self.watch.idle();
                        self.queue.next()
                    }
                    next => next,
                };
                let Some((job, permit)) = next else { return };
                // What it has taken of the memory was set aside for nobody.
                self.ahead = None;
                self.take(job, permit);
            }
            // On a thread of the pool, for as long as there is work: it is then shared out without
            // waking anybody first.
            rayon::scope(|_| self.run_until_idle());
        }
    }

    /// Pictures, as the model sees them, to be encoded while there is nothing else to do.
    #[must_use]
    pub fn warm(mut self, pictures: Box<dyn Iterator<Item = Picture> + Send>) -> Self {
        self.warming = Warming::of(pictures);
        // Without one, pictures are encoded and not read.
        self.any_prompt = self.prompts.writer().write(&Instruction::Raw("a".into()), 0).ok();
        self
    }

    /// Does a piece of that, and says whether there was one.
    fn warm_on(&mut self) -> bool {
        let is_over = self.queue.is_over() || self.health.failure().is_some();
        let ahead = self.ahead.take().filter(|_| !is_over);
        if ahead.is_none() && !self.warming.has_work(is_over, &self.pictures) {
            return false;
        }
        self.watch.begin(Work::Ahead, 1, Vec::new());
        let (model, health) = (&mut self.model, &*self.health);
        self.ahead = match (ahead, &self.any_prompt) {
            (Some(ahead), Some(prompt)) => ahead.go_on(model, prompt, health),
            (_, prompt) => {
                let encoded = self.warming.go_on(model, &mut self.pictures, health);
                let begin = |(prompt, encoded)| ReadingAhead::begin(model, prompt, encoded, health);
                prompt.as_ref().zip(encoded).and_then(begin)
            }
        };
        self.note_usage();
        true
    }

    fn run_until_idle(&mut self) {
        while !self.running.is_empty() || self.next_up.is_some() {
            self.watch.begin(Work::Scheduling, 0, ids(&self.running));
            self.step();
            self.queue.refresh();
            self.note_usage();
            if rayon::current_num_threads() == 1 {
                // Whoever else has work for the pool, a picture to be resized, has no other thread.
                rayon::yield_now();
            }
        }
    }

    fn note_usage(&self) {
        let usage = self.model.usage();
        self.metrics.held(Held {
            used_blocks: usage.held,
            free_blocks: usage.blocks - usage.held,
            prefix_bytes: usage.kept as u64 * self.model.block_bytes(),
            picture_bytes: self.pictures.len() as u64 * self.model.encoded_bytes(),
        });
    }

    /// One round.
    fn step(&mut self) {
        self.let_go();
        self.admit();
        let began = Instant::now();
        let is_answering = self.decode();
        loop {
            let layer = Instant::now();
            if !self.advance() {
                return;
            }
            self.latest_layer = layer.elapsed();
            let next = if is_answering {
                self.latest_layer
            } else {
                Duration::ZERO
            };
            if began.elapsed() + next >= self.limits.max_gap {
                return;
            }
        }
    }

    /// Lets go of whoever is cancelled. A prompt that is being read with others' stays until it is.
    fn let_go(&mut self) {
        let is_cancelled = |request: &Request<'p, M>| request.job.is_cancelled();
        self.next_up.take_if(|request| is_cancelled(request));
        let running = &self.running;
        let waits = |taken: &Taken| running.iter().any(|r| r.number == taken.number && !is_cancelled(r));
        self.reading.take_if(|(_, taken)| !taken.iter().any(waits));
        let reading: Vec<u64> = self
            .reading
            .iter()
            .flat_map(|(_, taken)| taken)
            .map(|taken| taken.number)
            .collect();
        self.running.retain(|request| {
            let stays = !is_cancelled(request) || reading.contains(&request.number);
            if !stays {
                request.log_end("cancelled");
            }
            stays
        });
        let running = &self.running;
        let is_wanted = |id: &PictureId| running.iter().any(|request| request.waits_for(*id));
        self.looking.take_if(|(id, _)| !is_wanted(id));
    }

    /// Takes questions from the queue while there is room.
    fn admit(&mut self) {
        loop {
            if self.next_up.is_none() {
                // Whoever is taken from the queue has lost his place there.
                let (rows, is_free) = (self.rows(), self.running.is_empty());
                let fits = |job: &Job| is_free || rows + job.cost() <= self.limits.rows;
                let Some((job, permit)) = self.queue.try_next_if(fits) else {
                    return;
                };
                self.take(job, permit);
            }
            match self.next_up.take() {
                Some(request) if request.is_late() => request.end(Event::Failed(EngineError::Deadline)),
                Some(request) if self.has_room_for(&request) => self.start(request),
                waiting => {
                    self.next_up = waiting;
                    if self.next_up.is_some() {
                        return;
                    }
                }
            }
        }
    }

    /// Rows that are set aside for what runs.
    fn rows(&self) -> usize {
        self.running.iter().map(|running| running.job.cost()).sum()
    }

    fn has_room_for(&self, request: &Request<'p, M>) -> bool {
        let rows = self.rows() + request.job.cost();
        let blocks: usize = self.running.iter().map(|running| running.blocks).sum();
        self.running.is_empty() || (rows <= self.limits.rows && blocks + request.blocks <= self.model.usage().blocks)
    }

    fn start(&mut self, mut request: Request<'p, M>) {
        let started = Event::Started {
            prompt: request.prompt.text.clone(),
            prompt_tokens: self.model.told_prompt(&request.prompt.ids).len(),
            num_beams: request.job.submission.options.num_beams,
        };
        if request.job.send(started) {
            request.begin();
            self.find_picture(&mut request);
            self.running.push(request);
        }
    }

    /// Makes a question a request; one that cannot be answered ends here.
    fn take(&mut self, job: Job, permit: Permit<Job>) {
        if self.health.failure().is_some() {
            drop(permit);
            job.send(Event::Failed(EngineError::DeviceFailed));
            return;
        }
        let prepared = job.for_its_request(|| guarded(Span::current, || self.prepare(&job)));
        match prepared {
            Ok(prepared) => {
                self.numbers += 1;
                let text = self.prompts.processor.stream();
                self.next_up = Some(Request::new(self.numbers, (job, permit), prepared, text));
            }
            Err(error) => {
                self.health.failed(&error);
                drop(permit);
                job.send(Event::Failed(error));
            }
        }
    }

    fn prepare(&self, job: &Job) -> Step<Prepared> {
        let submission = &job.submission;
        let room = (self.prompts.room_for_turns)(submission.options.max_new_tokens);
        let prompt = self.prompts.writer().write(&submission.instruction, room)?;
        let options = GenerationOptions {
            stop_strings: stop_strings(&submission.stop_strings, self.prompts.processor),
            ..submission.options.clone()
        };
        let beginning = self.model.beginning(&prompt.ids, &options)?;
        let blocks = self.model.most_blocks(prompt.ids.len(), &beginning, options.rows());
        let all = self.model.usage().blocks;
        if blocks > all {
            return Err(GenerationError::TooMuchMemory {
                rows: options.rows(),
                needed: blocks as u64 * self.model.block_bytes(),
                budget: all as u64 * self.model.block_bytes(),
            }
            .into());
        }
        Ok(Prepared {
            prompt,
            answer: Answer::new(&beginning, &options)?,
            blocks,
        })
    }

    /// All answers go on by a token; says whether there are any.
    fn decode(&mut self) -> bool {
        let answering = |request: &&Request<'p, M>| request.phase == Phase::Tokens;
        let numbers = |is_alone: bool| -> Vec<u64> {
            let requests = self.running.iter().filter(answering);
            requests.filter(|r| r.is_alone == is_alone).map(|r| r.number).collect()
        };
        let (together, alone) = (numbers(false), numbers(true));
        if !together.is_empty() {
            self.decode_together(&together);
        }
        for number in &alone {
            self.decode_together(&[*number]);
        }
        !together.is_empty() || !alone.is_empty()
    }

    /// One pass of these requests. Where it fails for several, each is tried by itself, so that only
    /// whose fault it is fails.
    fn decode_together(&mut self, numbers: &[u64]) {
        let Self {
            running,
            model,
            watch,
            metrics,
            ..
        } = self;
        let ids = ids(running.iter().filter(|request| numbers.contains(&request.number)));
        let mut requests: Vec<&mut Request<'p, M>> = running
            .iter_mut()
            .filter(|request| numbers.contains(&request.number))
            .collect();
        let (mut tokens, mut counts, mut needs) = (Vec::new(), Vec::new(), Vec::new());
        for request in &mut requests {
            let pass = request.pass(model);
            let count = pass.as_ref().map_or(0, |pass| pass.tokens.len());
            counts.push(count);
            needs.extend(std::iter::repeat_n(request.needs(), count));
            tokens.extend(pass.into_iter().flat_map(|pass| pass.tokens));
        }
        let mut rows: Vec<&mut M::Sequence> = requests
            .iter_mut()
            .flat_map(|request| request.sequences.iter_mut())
            .collect();
        metrics.batch(rows.len());
        watch.begin(Work::Tokens, rows.len(), ids);
        let decoded = guarded(|| watch.span(), || Ok(model.decode(&mut rows, &tokens, &needs)?));
        match decoded {
            Ok(logits) => {
                let mut logits = logits.as_slice();
                let mut taken = Vec::with_capacity(requests.len());
                for (request, count) in requests.into_iter().zip(counts) {
                    let (own, rest) = logits.split_at(count.min(logits.len()));
                    taken.push((request, own));
                    logits = rest;
                }
                let taken = take_all(taken);
                self.settle(taken);
            }
            Err(error) if numbers.len() == 1 => self.fail(numbers[0], error),
            Err(error) => {
                self.watch.span().in_scope(|| {
                    tracing::warn!(
                        "a step of {} answers failed, each is tried by itself: {error}",
                        numbers.len()
                    );
                });
                let failed = self
                    .running
                    .iter_mut()
                    .filter(|request| numbers.contains(&request.number));
                failed.for_each(|request| request.is_alone = true);
            }
        }
    }

    /// Ends those that are complete, or cannot go on.
    fn settle(&mut self, taken: Vec<(u64, Step<bool>)>) {
        for (number, outcome) in taken {
            match outcome {
                Ok(false) => {}
                Ok(true) => {
                    if let Some(mut request) = self.remove(number) {
                        self.health.succeeded();
                        let mut summary = request.summary(self.prompts.processor);
                        summary.prompt_ids = self.model.told_prompt(&summary.prompt_ids).to_vec();
                        request.log_end(summary.finish_reason.name());
                        request.end(Event::Done(summary));
                    }
                }
                Err(error) => self.fail(number, error),
            }
        }
    }

    fn remove(&mut self, number: u64) -> Option<Request<'p, M>> {
        let index = self.running.iter().position(|request| request.number == number)?;
        Some(self.running.remove(index))
    }

    fn fail(&mut self, number: u64, error: EngineError) {
        self.health.failed(&error);
        if let Some(request) = self.remove(number) {
            request.job.for_its_request(|| tracing::warn!("no answer: {error}"));
            request.end(Event::Failed(error));
        }
    }

    /// A layer of a prompt or of a picture; says whether there was anything to do.
    fn advance(&mut self) -> bool {
        if self.reading.is_none() {
            self.begin_reading();
        }
        if self.reading.is_some() {
            self.read_on();
            return true;
        }
        if self.looking.is_none() {
            self.begin_looking();
        }
        if self.looking.is_some() {
            self.look_on();
            return true;
        }
        // What could not begin has failed, and others may be able to.
        self.running.iter().any(|request| request.phase != Phase::Tokens)
    }

    /// A picture that is known, or was read before, needs no encoding.
    fn find_picture(&mut self, request: &mut Request<'p, M>) {
        let (id, model) = (request.picture_id, &self.model);
        if let Some(encoded) = self.pictures.get(&id) {
            request.picture_is_ready(Some(encoded));
        } else if model.known(request.root, &request.prompt.ids) >= model.picture_tokens() {
            request.sequences = vec![model.new_sequence(request.root, &request.prompt.ids)];
            request.picture_is_ready(None);
        } else {
            return;
        }
        self.metrics.looked_up(Cache::Picture, true);
    }

    fn begin_looking(&mut self) {
        let Some(request) = self.running.iter().find(|request| request.phase == Phase::Picture) else {
            return;
        };
        let (id, picture) = (request.picture_id, Arc::clone(&request.job.submission.picture));
        self.metrics.looked_up(Cache::Picture, false);
        if let Some(looking) = self.warming.hand_over(id) {
            self.looking = Some((id, looking));
            return;
        }
        self.watch_picture(id);
        match guarded(|| self.watch.span(), || Ok(self.model.begin_picture(&picture)?)) {
            Ok(looking) => self.looking = Some((id, looking)),
            Err(error) => self.fail_picture(id, error),
        }
    }

    /// A layer of this picture begins.
    fn watch_picture(&self, id: PictureId) {
        let waiting = self.running.iter().filter(|request| request.waits_for(id));
        self.watch.begin(Work::Picture, 1, ids(waiting));
    }

    fn look_on(&mut self) {
        let Some((id, mut looking)) = self.looking.take() else {
            return;
        };
        self.watch_picture(id);
        match guarded(|| self.watch.span(), || Ok(self.model.look_on(&mut looking)?)) {
            Ok(None) => self.looking = Some((id, looking)),
            Ok(Some(encoded)) => {
                let waiting = self.running.iter_mut().filter(|request| request.waits_for(id));
                waiting.for_each(|request| request.picture_is_ready(Some(encoded.clone())));
                self.pictures.insert(id, encoded);
            }
            Err(error) => self.fail_picture(id, error),
        }
    }

    /// A picture that cannot be encoded fails who asked about it first; it is tried again for others.
    fn fail_picture(&mut self, id: PictureId, error: EngineError) {
        let first = self.running.iter().find(|request| request.waits_for(id));
        if let Some(number) = first.map(|request| request.number) {
            self.fail(number, error);
        }
    }

    /// Begins to read as many prompts, or parts of them, as go into a pass.
    fn begin_reading(&mut self) {
        let taken = self.next_to_read();
        if taken.is_empty() {
            return;
        }
        self.watch_prompts(&taken);
        let Self {
            running, model, watch, ..
        } = self;
        let begun = guarded(
            || watch.span(),
            || Ok(model.begin_reading(&mut parts(running, &taken))?),
        );
        match begun {
            Ok(reading) => self.reading = Some((reading, taken)),
            Err(error) => self.reading_failed(&taken, error),
        }
    }

    /// A layer of these prompts begins.
    fn watch_prompts(&self, taken: &[Taken]) {
        let is_taken = |request: &&Request<'p, M>| taken.iter().any(|taken| taken.number == request.number);
        let rows = taken.iter().map(|taken| taken.tokens).sum();
        self.watch
            .begin(Work::Prompt, rows, ids(self.running.iter().filter(is_taken)));
    }

    fn next_to_read(&mut self) -> Vec<Taken> {
        let Self {
            running,
            model,
            metrics,
            ..
        } = self;
        let (mut taken, mut rows) = (Vec::new(), 0);
        let mut new_pictures: Vec<PictureId> = Vec::new();
        for request in running.iter_mut().filter(|request| request.phase == Phase::Prompt) {
            if rows >= PROMPT_ROWS || (request.is_alone && rows > 0) {
                break;
            }
            if request.sequences.is_empty() {
                // The first to ask about a picture reads it, and others go on from there.
                if new_pictures.contains(&request.root) {
                    continue;
                }
                request.sequences = vec![model.new_sequence(request.root, &request.prompt.ids)];
            }
            let read = model.read_of_prompt(&request.sequences[0]);
            if read < model.picture_tokens() {
                new_pictures.push(request.root);
            }
            if request.begins_reading(read) {
                metrics.looked_up(Cache::Prefix, read > 0);
            }
            let rest = request.prompt.ids.len() - read;
            let tokens = if model.reads_in_parts() {
                rest.min(PROMPT_ROWS - rows)
            } else {
                rest
            };
            taken.push(Taken {
                number: request.number,
                tokens,
            });
            rows += tokens;
            if request.is_alone {
                break;
            }
        }
        taken
    }

    fn read_on(&mut self) {
        let Some((mut reading, taken)) = self.reading.take() else {
            return;
        };
        self.watch_prompts(&taken);
        match guarded(|| self.watch.span(), || Ok(self.model.read_on(&mut reading)?)) {
            Ok(false) => self.reading = Some((reading, taken)),
            Ok(true) => self.finish_reading(reading, &taken),
            Err(error) => self.reading_failed(&taken, error),
        }
    }

    fn finish_reading(&mut self, reading: M::Reading, taken: &[Taken]) {
        let Self {
            running, model, watch, ..
        } = self;
        let needs: Vec<_> = of(running, taken).map(|request| request.needs()).collect();
        let finished = guarded(
            || watch.span(),
            || Ok(model.finish_reading(reading, &mut parts(running, taken), &needs)?),
        );
        match finished {
            Ok(logits) => {
                let requests = of(running, taken).zip(&logits).filter_map(|(request, logits)| {
                    let logits = logits.as_ref()?;
                    request.prompt_is_read();
                    Some((request, std::slice::from_ref(logits)))
                });
                let taken = take_all(requests.collect());
                self.settle(taken);
            }
            Err(error) => self.reading_failed(taken, error),
        }
    }

    fn reading_failed(&mut self, taken: &[Taken], error: EngineError) {
        if let [alone] = taken {
            return self.fail(alone.number, error);
        }
        self.watch.span().in_scope(|| {
            tracing::warn!(
                "reading {} prompts failed, each is tried by itself: {error}",
                taken.len()
            );
        });
        of(&mut self.running, taken).for_each(Request::read_again_alone);
    }
}

/// The requests that were taken, in that order, which is `running`'s.
fn of<'r, 'p, M: Model>(
    running: &'r mut [Request<'p, M>],
    taken: &'r [Taken],
) -> impl Iterator<Item = &'r mut Request<'p, M>> {
    running
        .iter_mut()
        .filter(|request| taken.iter().any(|taken| taken.number == request.number))
}

fn parts<'r, M: Model>(running: &'r mut [Request<'_, M>], taken: &'r [Taken]) -> Vec<Part<'r, M>> {
    of(running, taken)
        .zip(taken)
        .filter_map(|(request, taken)| {
            Some(PromptPart {
                sequence: request.sequences.first_mut()?,
                ids: &request.prompt.ids,
                picture: request.encoded.as_ref(),
                instruction: &request.prompt.instruction,
                tokens: taken.tokens,
            })
        })
        .collect()
}

/// Each request takes its logits: the rules of a large vocabulary take as long as a small layer.
fn take_all<M: Model>(taken: Vec<(&mut Request<'_, M>, &[RowLogits])>) -> Vec<(u64, Step<bool>)> {
    let take = |(request, logits): (&mut Request<'_, M>, &[RowLogits])| {
        let number = request.number;
        let span = request.job.span();
        (number, guarded(|| span, || Ok(request.take(logits)?)))
    };
    match taken.len() {
        0 | 1 => taken.into_iter().map(take).collect(),
        _ => taken.into_par_iter().map(take).collect(),
    }
}

/// A step of the model, whose panic is an error like others; `span` names whose it is.
pub fn guarded<T>(span: impl FnOnce() -> Span, step: impl FnOnce() -> Step<T>) -> Step<T> {
    // A step that broke has changed nothing that the next would build on: see [`Model`].
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|panic| {
        span().in_scope(|| tracing::error!("the model panicked: {}", words_of(&*panic)));
        Err(EngineError::Panicked)
    })
}

/// The ids of requests, for what is told of a step.
fn ids<'r, 'p: 'r, M: Model + 'r>(requests: impl IntoIterator<Item = &'r Request<'p, M>>) -> Vec<Arc<RequestId>> {
    let ids = requests.into_iter().filter_map(|request| request.job.request.clone());
    ids.collect()
}

/// What a panic says.
fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let formatted = panic.downcast_ref::<String>().map(String::as_str);
    formatted
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it does not say why")
}

/// Texts that end an answer, ready to be found in its tokens.
fn stop_strings(strings: &[String], processor: &TextProcessor) -> StopStrings {
    if strings.is_empty() {
        return StopStrings::default();
    }
    StopStrings::new(strings, processor.token_bytes())
}

#[cfg(test)]
mod tests;
