//! `glimpse ask`: an answer in the terminal.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::options::{GenerationArgs, ModelArgs};
use super::prompt::PromptArgs;
use super::{CommandResult, batch, picture};
use crate::api::{FinishReason, Timings};
use crate::blip2::processor::{Picture, PictureLimits};
use crate::engine::{Engine, EngineError, Event, Question, Summary};

#[derive(Args)]
pub struct AskArgs {
    /// A picture file, an http(s) address (fetched as curl would, from private networks
    /// too: this is your own machine), or - for standard input
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    picture: Option<OsString>,

    /// What to ask; a caption without it
    #[arg(conflicts_with = "batch")]
    question: Option<String>,

    #[command(flatten)]
    prompt: PromptArgs,

    /// Print a JSON object with the answer, its tokens and how long each part took
    #[arg(long)]
    json: bool,

    /// A file of {"picture","question"} objects, one a line (- for standard input);
    /// prints one JSON object a line, in the same order
    #[arg(long, value_name = "FILE.jsonl")]
    batch: Option<PathBuf>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    generation: GenerationArgs,
}

/// What `--json` and `--batch` print.
#[derive(Serialize)]
pub struct AnswerRecord {
    answer: String,
    /// The generated tokens, with the end token if it came.
    token_ids: Vec<u32>,
    prompt_ids: Vec<u32>,
    /// Of each generated token, natural logarithm, of the unmodified distribution.
    logprobs: Vec<f32>,
    finish_reason: FinishReason,
    timings_ms: Timings,
}

/// Asks one question after another.
pub struct Asker {
    engine: Engine,
    load_ms: f64,
}

impl Asker {
    /// Waits for the whole answer, handing on each piece of its text as it comes.
    pub fn ask(
        &self,
        question: Question,
        mut on_text: impl FnMut(&str) -> std::io::Result<()>,
    ) -> Result<AnswerRecord, Box<dyn std::error::Error + Send + Sync>> {
        let mut events = self.engine.ask(question)?;
        let (mut answer, mut token_ids, mut logprobs) = (String::new(), Vec::new(), Vec::new());
        while let Some(event) = events.blocking_recv() {
            match event {
                Event::Queued { .. } => {}
                Event::Token { token, text } => {
                    on_text(&text)?;
                    answer.push_str(&text);
                    token_ids.push(token.id);
                    logprobs.push(token.logprob);
                }
                Event::Failed(error) => return Err(error.into()),
                Event::Done(Summary {
                    finish_reason,
                    prompt_ids,
                    timings,
                    ..
                }) => {
                    let timings_ms = Timings {
                        load: self.load_ms,
                        ..timings.into()
                    };
                    let finish_reason = finish_reason.into();
                    return Ok(AnswerRecord {
                        answer,
                        token_ids,
                        prompt_ids,
                        logprobs,
                        finish_reason,
                        timings_ms,
                    });
                }
            }
        }
        Err(EngineError::Gone.into())
    }
}

pub fn run(args: AskArgs) -> CommandResult {
    let options = args.generation.options()?;
    let limits = PictureLimits::default();
    if let Some(file) = args.batch {
        let questions = batch::Questions::open(&file)?;
        return batch::run(&load(args.model)?, questions, &options, &args.prompt, &limits);
    }
    // clap has seen to it that there is a picture where there is no batch.
    let argument = args.picture.unwrap_or_default();
    let prompt = args.prompt.prompt(args.question)?;
    // Before the model, so that a wrong picture is told at once.
    let picture: Arc<Picture> = picture::open(&argument, &limits)?.into();
    let asker = load(args.model)?;
    let question = Question {
        picture,
        prompt,
        options,
    };
    if args.json {
        let record = asker.ask(question, |_| Ok(()))?;
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&record)?)?;
    } else {
        asker.ask(question, print_now)?;
        print_now("\n")?;
    }
    Ok(())
}

fn load(model: ModelArgs) -> Result<Asker, Box<dyn std::error::Error + Send + Sync>> {
    let model = model.load()?;
    let load_ms = model.description().load_ms;
    Ok(Asker {
        engine: Engine::start(model, 1)?,
        load_ms,
    })
}

fn print_now(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
