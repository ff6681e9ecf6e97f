//! An engine that answers from a script, for tests.
//!
//! It needs no model and no luck: an answer begins, and each of its tokens comes, when a test
//! says so. The queue before it is the one that a model has, so that positions, turns, limits and
//! cancelling are the real ones.
//!
//! In one process, a test holds the [`Gates`]:
//!
//! ```
//! use glimpse::engine::scripted::{Gates, Script};
//! use glimpse::engine::{ClientKey, Engine, Event, Instruction, QueueLimits, ScriptedEngine, Submission};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let gates = Gates::closed();
//! let limits = QueueLimits { waiting: 9, waiting_per_client: 4 };
//! let engine = ScriptedEngine::start(Script::default(), limits, gates.clone())?;
//! let mut events = engine.submit(Submission {
//!     client: ClientKey::from(1),
//!     network: None,
//!     deadline: None,
//!     picture: engine.prepare(&glimpse::processor::Picture { width: 1, height: 1, rgb: vec![1, 2, 3] }).into(),
//!     instruction: Instruction::question("how many?"),
//!     options: Default::default(),
//!     stop_strings: Vec::new(),
//! })?;
//! assert!(matches!(events.blocking_recv(), Some(Event::Queued { position: 1, .. })));
//! assert!(events.try_recv().is_err(), "nothing begins of itself");
//! gates.begin(1);
//! assert!(matches!(events.blocking_recv(), Some(Event::Started { .. })));
//! gates.release(1);
//! assert!(matches!(events.blocking_recv(), Some(Event::Token { text, .. }) if text == "a"));
//! gates.open();
//! # Ok(())
//! # }
//! ```
//!
//! From outside, `glimpse serve` takes the engine and an address on loopback for the gates, by
//! environment or by flags that `--help` does not list (`--engine`, `--script-control`):
//!
//! ```text
//! GLIMPSE_ENGINE=scripted GLIMPSE_SCRIPT_CONTROL=127.0.0.1:7999 glimpse serve
//! GLIMPSE_ENGINE=scripted:answers.json glimpse serve      # all gates open, for looking at the page
//! ```
//!
//! With a control the gates are closed at first, without one they are open. A script is a JSON
//! object of what is answered to which question, token by token; a caption's question is its
//! prefix, or empty:
//!
//! ```json
//! {"answers": {"how many?": ["two", " circles"], "": ["a red star"]}, "otherwise": ["a", " scripted", " answer"]}
//! ```
//!
//! The control takes, as `curl -X POST '127.0.0.1:7999/release?tokens=2'` or `fetch` would send:
//!
//! | request | what it does |
//! |---|---|
//! | `POST /begin?answers=N` | lets N questions (1) begin, now or when they come |
//! | `POST /release?tokens=N` | lets N tokens (1) come, now or when it is their turn; `tokens=all` lets all of the running answer come, or of the next |
//! | `POST /fail?error=CODE` | ends the running answer, or the next, with an error: `panicked` (default), `prompt_too_long`, `too_much_memory`, `deadline`, `gone`, `device`; or `dies`: the thread that answers panics, and whoever waits learns it by the end of his events |
//! | `POST /break` | the device fails for good: `/readyz` says so, and every question is refused |
//! | `POST /open`, `POST /close` | opens all gates for good; closes them and forgets what was let through |
//! | `POST /answers` | adds to the script: a JSON object of token lists by question |
//! | `GET /state` | `{"waiting", "running", "question", "sent", "begun", "answered", "failed", "cancelled"}` |
//! | `GET /wait?waiting=N&running=N&sent=N&begun=N&answered=N&failed=N&cancelled=N` | the state, as soon as it is this (any of them may be left out); 408 with the state after 30 seconds |
//!
//! A browser test begins with `close`, lets through what it needs, and waits by `wait` in place of
//! a clock:
//!
//! ```text
//! const control = (path: string, method = 'POST') => request.fetch(`http://127.0.0.1:7999/${path}`, { method })
//! await control('close'); await page.getByRole('button', { name: 'Ask' }).click()
//! await control('wait?waiting=1', 'GET'); await control('begin'); await control('release?tokens=2')
//! ```
//!
//! `sent` are the tokens of the answer that is running, `question` is what it answers (null
//! where none is); `begun`, `answered`, `failed` and `cancelled` count from the start.

mod control;
mod gates;
mod script;

pub use control::{ControlError, serve_control};
use gates::Passage;
pub use gates::{Failure, Gates, GatesState};
pub use script::{Script, ScriptError};

use std::time::Duration;

use super::job::Job;
use super::loader::{Ended, LoadedModel};
use super::prompt::as_prompt;
use super::queue::{Permit, Queue, QueueSender, Waiting, queue};
use super::{
    Description, Engine, EngineError, Event, Health, Instruction, Purpose, QueueLimits, QueueState, Submission,
    Summary, Timings, WrittenAnswer,
};
use crate::generation::{FinishReason, GeneratedToken, Sequence};
use crate::models::{AnswerStart, Family};
use crate::processor::image_processor::TargetSize;
use crate::processor::{ImageProcessor, Picture, Resample};

/// How often a closed gate looks whether somebody has come or gone.
const LOOK_AROUND: Duration = Duration::from_millis(2);

/// Pixels of a side of what the script "sees".
const SIDE: usize = 32;

/// Says that its numbers were made up.
const TIMINGS: Timings = Timings {
    image: 1.0,
    prefill: 2.0,
    decode: 3.0,
    total: 6.0,
};

/// Answers from a script, as far as its gates are open.
pub struct ScriptedEngine {
    queue: QueueSender<Job>,
    gates: Gates,
    description: Description,
    ended: Ended,
}

impl ScriptedEngine {
    /// Gives the script a thread, which ends when the engine is gone and the queue is empty.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(script: Script, limits: QueueLimits, gates: Gates) -> std::io::Result<Self> {
        let (sender, queue) = queue(limits);
        gates.read(script);
        let reader = Reader {
            queue,
            gates: gates.clone(),
        };
        let (ends, ended) = Ended::pair();
        std::thread::Builder::new().name("script".into()).spawn(move || {
            reader.run();
            drop(ends);
        })?;
        Ok(Self {
            queue: sender,
            gates,
            description: Self::describe("scripted"),
            ended,
        })
    }

    /// What there is to be known of a script that is called so.
    pub fn describe(name: &str) -> Description {
        Description {
            name: name.into(),
            device: "none".into(),
            dtype: "none".into(),
            is_demo: false,
            purpose: Purpose::Conversation,
            family: Family::Blip2,
            start: AnswerStart::Prompt,
            load_ms: 0.0,
        }
    }
}

impl From<ScriptedEngine> for LoadedModel {
    fn from(engine: ScriptedEngine) -> Self {
        let ended = engine.ended.clone();
        Self::new(engine, ended)
    }
}

impl Engine for ScriptedEngine {
    fn description(&self) -> &Description {
        &self.description
    }

    fn health(&self) -> Health {
        if self.gates.is_broken() {
            Health::Failed("the script says that the device has failed".into())
        } else if self.queue.is_closed() {
            Health::Failed("the script's thread has ended".into())
        } else {
            Health::Ready
        }
    }

    fn prepare(&self, picture: &Picture) -> Picture {
        let size = TargetSize::Exact {
            height: SIDE,
            width: SIDE,
        };
        let processor = ImageProcessor {
            size: Some((size, Resample::Nearest)),
            ..ImageProcessor::default()
        };
        processor.resize(picture)
    }

    fn enqueue(&self, job: Job) -> Result<(), EngineError> {
        if self.gates.is_broken() {
            return Err(EngineError::DeviceFailed);
        }
        let entered = job.enter(&self.queue);
        self.gates.show_queue(self.queue.state());
        entered
    }

    fn queue(&self) -> QueueState {
        self.queue.state()
    }
}

/// Why an answer has no summary.
enum NoSummary {
    /// Nobody waits for it any more.
    Cancelled,
    Failed(EngineError),
}

/// The thread that reads the script out.
struct Reader {
    queue: Queue<Job>,
    gates: Gates,
}

impl Reader {
    fn run(self) {
        while let Some((job, permit)) = self.next() {
            self.gates
                .begun(job.submission.instruction.script_key(), self.queue.state());
            let result = self.answer(&job);
            drop(permit);
            let last = match result {
                Ok(summary) => Some(Event::Done(summary)),
                Err(NoSummary::Failed(error)) => Some(Event::Failed(error)),
                Err(NoSummary::Cancelled) => None,
            };
            self.gates.ended(last.as_ref(), self.queue.state());
            if let Some(last) = last {
                job.send(last);
            }
        }
    }

    /// The next question, when it may begin; `None` when no more can come.
    fn next(&self) -> Option<(Job, Permit<Job>)> {
        loop {
            if let Some(next) = self.gates.begin_next(|| self.queue.try_next()) {
                return Some(next);
            }
            if self.queue.is_over() {
                return None;
            }
            self.look_around();
        }
    }

    /// Notices who has come or gone, until a gate has moved or for a moment.
    fn look_around(&self) {
        self.queue.refresh();
        self.gates.show_queue(self.queue.state());
        self.gates.wait_for_change(LOOK_AROUND);
    }

    fn answer(&self, job: &Job) -> Result<Summary, NoSummary> {
        let Submission {
            instruction, options, ..
        } = &job.submission;
        let prompt = as_prompt(instruction, None).text().unwrap_or_default();
        let prompt_ids = vec![0; prompt.split_whitespace().count()];
        let num_beams = options.num_beams;
        job.send(Event::Started {
            prompt,
            prompt_tokens: prompt_ids.len(),
            num_beams,
        });
        let answer = self.gates.answer_to(instruction.script_key());
        let tokens = &answer[..answer.len().min(options.max_new_tokens)];
        self.send_tokens(job, tokens, num_beams > 1)?;
        let finish_reason = match tokens.len() < answer.len() {
            true => FinishReason::Length,
            false => FinishReason::Stop,
        };
        let sequence = Sequence {
            tokens: (0..).map(token).take(tokens.len()).collect(),
            finish_reason,
            score: None,
        };
        let answers = (1..=options.num_return_sequences).map(|number| WrittenAnswer {
            text: numbered(&tokens.concat(), number),
            sequence: sequence.clone(),
        });
        Ok(Summary {
            finish_reason,
            prompt_ids,
            generated_tokens: tokens.len(),
            timings: TIMINGS,
            seed: options.do_sample.then(|| options.seed.unwrap_or_default()),
            answers: answers.collect(),
        })
    }

    /// Sends tokens as the gates let them through; those of beams, which show nothing before
    /// all are searched, `at_once`.
    fn send_tokens(&self, job: &Job, tokens: &[String], at_once: bool) -> Result<(), NoSummary> {
        let send = |(index, text): (usize, &String)| {
            job.send(Event::Token {
                token: token(index),
                text: text.clone(),
            });
        };
        for token in tokens.iter().enumerate() {
            self.wait_for_token(job)?;
            if !at_once {
                send(token);
            }
            self.gates.sent();
        }
        if at_once {
            tokens.iter().enumerate().for_each(send);
        }
        Ok(())
    }

    fn wait_for_token(&self, job: &Job) -> Result<(), NoSummary> {
        loop {
            if job.is_cancelled() {
                return Err(NoSummary::Cancelled);
            }
            match self.gates.take_token() {
                Passage::Open => return Ok(()),
                Passage::Closed => self.look_around(),
                Passage::Fails(Failure::Dies) => panic!("the script says so"),
                Passage::Fails(failure) => return Err(NoSummary::Failed(failure.into())),
            }
        }
    }
}

/// The first answer is as in the script; further ones are told apart.
fn numbered(text: &str, number: usize) -> String {
    match number {
        1 => text.to_owned(),
        _ => format!("{text} ({number})"),
    }
}

fn token(index: usize) -> GeneratedToken {
    GeneratedToken {
        id: index as u32, // a script is short
        logprob: 0.0,
        is_end: false,
    }
}

impl Instruction {
    /// What a script calls it.
    fn script_key(&self) -> &str {
        match self {
            Self::Caption { prefix } => prefix.as_deref().unwrap_or_default(),
            Self::Raw(text) => text,
            Self::Question { question, .. } => question,
            Self::Compare { texts } => texts.first().map_or("", String::as_str),
        }
    }
}
