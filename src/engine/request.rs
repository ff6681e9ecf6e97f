//! A question that the engine has taken, on its way to its answer.

use std::time::{Duration, Instant};

use super::job::Job;
use super::model::Model;
use super::prompt::SentPrompt;
use super::queue::{Permit, Waiting};
use super::{Event, Summary, Timings, WrittenAnswer};
use crate::chat::PictureId;
use crate::generation::{Answer, FinishReason, GeneratedToken, GenerationError, Needs, Pass, RowLogits, Sequence};
use crate::processor::{TextProcessor, TextStream};

/// What a request needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its picture is to be encoded.
    Picture,
    /// Its prompt is to be read.
    Prompt,
    /// Its answer goes on.
    Tokens,
}

/// A question that was taken from the queue.
pub struct Request<'p, M: Model> {
    pub number: u64,
    pub job: Job,
    permit: Permit<Job>,
    pub phase: Phase,
    pub picture_id: PictureId,
    /// What its keys and values are known by ([`SentPrompt::root`]).
    pub root: PictureId,
    pub prompt: SentPrompt,
    pub encoded: Option<M::Encoded>,
    /// One for each row of the answer; one until the prompt is read.
    pub sequences: Vec<M::Sequence>,
    /// Blocks that are set aside for it.
    pub blocks: usize,
    /// It was in a step that failed, and is tried by itself.
    pub is_alone: bool,
    answer: Answer,
    /// The rows of `sequences` are those of the answer's next pass.
    is_in_order: bool,
    is_being_read: bool,
    text: TextStream<'p>,
    generated_tokens: usize,
    began: Instant,
    /// From the question until the model began, and until the first token.
    waited: Duration,
    first_token: Option<Duration>,
    /// Tokens of its prompt that were read for others.
    cached_tokens: usize,
    timings: Timings,
}

/// What a question has become when it can be answered.
pub struct Prepared {
    pub prompt: SentPrompt,
    pub answer: Answer,
    /// The blocks that it takes at most.
    pub blocks: usize,
}

impl<'p, M: Model> Request<'p, M> {
    pub fn new(number: u64, (job, permit): (Job, Permit<Job>), prepared: Prepared, text: TextStream<'p>) -> Self {
        let picture_id = PictureId(job.submission.picture.pixel_hash());
        Self {
            number,
            phase: Phase::Picture,
            picture_id,
            root: prepared.prompt.root(picture_id),
            job,
            permit,
            prompt: prepared.prompt,
            encoded: None,
            sequences: Vec::new(),
            blocks: prepared.blocks,
            is_alone: false,
            answer: prepared.answer,
            is_in_order: false,
            is_being_read: false,
            text,
            generated_tokens: 0,
            began: Instant::now(),
            waited: Duration::ZERO,
            first_token: None,
            cached_tokens: 0,
            timings: Timings::default(),
        }
    }

    /// Whether it should have begun by now.
    pub fn is_late(&self) -> bool {
        self.job.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }

    /// It is taken among those that run.
    pub fn begin(&mut self) {
        self.began = Instant::now();
        self.waited = self.job.submitted.elapsed();
    }

    /// Milliseconds since it began.
    fn since_begin(&self) -> f64 {
        self.began.elapsed().as_secs_f64() * 1e3
    }

    /// Its picture is encoded, or not needed.
    pub fn picture_is_ready(&mut self, encoded: Option<M::Encoded>) {
        self.encoded = encoded;
        self.phase = Phase::Prompt;
        self.timings.image = self.since_begin();
    }

    /// Its prompt is read on, of which so many tokens are there. Whether this is the first time: then they
    /// were read for others.
    pub fn begins_reading(&mut self, tokens: usize) -> bool {
        let begins = !std::mem::replace(&mut self.is_being_read, true);
        if begins {
            self.cached_tokens = tokens;
        }
        begins
    }

    /// Whether it goes on when this picture is encoded.
    pub fn waits_for(&self, picture: PictureId) -> bool {
        self.phase == Phase::Picture && self.picture_id == picture
    }

    /// A pass that read its prompt with others' has failed: it is read from the beginning, alone.
    pub fn read_again_alone(&mut self) {
        self.is_alone = true;
        self.sequences.clear();
        if self.encoded.is_none() {
            // What was read for others may be gone.
            self.phase = Phase::Picture;
        }
    }

    /// Its prompt is read to the end.
    pub fn prompt_is_read(&mut self) {
        self.is_alone = false;
        self.encoded = None;
        self.phase = Phase::Tokens;
        self.timings.prefill = self.since_begin() - self.timings.image;
    }

    /// What its answer needs of the logits that it takes next.
    pub fn needs(&self) -> Needs {
        self.answer.needs()
    }

    /// The next pass, with the sequences brought into its order.
    pub fn pass(&mut self, model: &M) -> Option<Pass> {
        let pass = self.answer.pass()?;
        if !self.is_in_order {
            if !pass.parents.iter().copied().eq(0..self.sequences.len()) {
                let forked = pass.parents.iter().map(|parent| model.fork(&self.sequences[*parent]));
                self.sequences = forked.collect();
            }
            self.is_in_order = true;
        }
        Some(pass)
    }

    /// Takes the logits behind the prompt or behind a pass, and sends what they bring. Says whether
    /// the answer is complete.
    ///
    /// # Errors
    /// The logits are no numbers to go on with.
    pub fn take(&mut self, logits: &[RowLogits]) -> Result<bool, GenerationError> {
        let tokens = self.answer.take(logits)?;
        (self.is_in_order, self.is_alone) = (false, false);
        let is_complete = self.answer.pass().is_none();
        let last = tokens.len().checked_sub(1);
        if last.is_some() && self.first_token.is_none() {
            self.first_token = Some(self.job.submitted.elapsed());
        }
        for (index, token) in tokens.iter().enumerate() {
            self.generated_tokens += 1;
            let mut piece = push(&mut self.text, *token);
            if Some(index) == last && self.answer.finish_reason().is_some() {
                piece.push_str(&self.text.finish());
            }
            self.job.send(Event::Token {
                token: *token,
                text: piece,
            });
        }
        Ok(is_complete)
    }

    /// A line in the log about how it ended; where it came in no request, as in a terminal, for
    /// those alone who look closely.
    pub fn log_end(&self, finish: &'static str) {
        let first_token_ms = self.first_token.map(milliseconds);
        let tokens_a_second = self.tokens_a_second();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    waited_ms = milliseconds(self.waited),
                    first_token_ms,
                    tokens = self.generated_tokens,
                    tokens_a_second,
                    cached_tokens = self.cached_tokens,
                    finish,
                    "an answer has ended"
                )
            };
        }
        self.job.for_its_request(|| match self.job.request {
            Some(_) => line!(info),
            None => line!(debug),
        });
    }

    /// Of all further tokens than the first, to a tenth; beams show theirs when all is over, and are
    /// measured from where the model began.
    fn tokens_a_second(&self) -> Option<f64> {
        let since_submitted = self.job.submitted.elapsed();
        let (tokens, since) = match self.job.submission.options.num_beams {
            ..=1 => (self.generated_tokens.saturating_sub(1), self.first_token?),
            _ => (self.generated_tokens, self.waited),
        };
        let seconds = since_submitted.saturating_sub(since).as_secs_f64();
        (tokens > 0 && seconds > 0.0).then(|| (tokens as f64 / seconds * 10.0).round() / 10.0)
    }

    /// Ends it. Whoever sees the last event finds its place free.
    pub fn end(self, last: Event) {
        let Self {
            job, permit, sequences, ..
        } = self;
        drop((permit, sequences));
        job.send(last);
    }

    /// What is known of the answer when it is complete.
    pub fn summary(&mut self, processor: &TextProcessor) -> Summary {
        let total = self.since_begin();
        let Timings { image, prefill, .. } = self.timings;
        Summary {
            // A complete answer has one.
            finish_reason: self.answer.finish_reason().unwrap_or(FinishReason::Length),
            prompt_ids: std::mem::take(&mut self.prompt.ids),
            generated_tokens: self.generated_tokens,
            timings: Timings {
                image,
                prefill,
                decode: total - image - prefill,
                total,
            },
            seed: self.answer.seed(),
            answers: written(self.answer.sequences(), processor),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The text that a token completes; an end token is no part of the text.
fn push(text: &mut TextStream, token: GeneratedToken) -> String {
    if token.is_end {
        String::new()
    } else {
        text.push(token.id)
    }
}

/// All answers with their texts.
fn written(sequences: Vec<Sequence>, processor: &TextProcessor) -> Vec<WrittenAnswer> {
    let write = |sequence: Sequence| {
        let mut stream = processor.stream();
        let mut text: String = sequence.tokens.iter().map(|token| push(&mut stream, *token)).collect();
        text.push_str(&stream.finish());
        WrittenAnswer { text, sequence }
    };
    sequences.into_iter().map(write).collect()
}
