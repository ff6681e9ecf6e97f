//! `glimpse ask`: an answer in the terminal.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Serialize;

use super::attention_file::AttentionFile;
use super::flag_names::FlagNames;
use super::log::tell;
use super::options::{GenerationArgs, ModelArgs};
use super::preset::{ModelSettings, Settings};
use super::prompt::PromptArgs;
use super::{CommandResult, UsageError, batch, compared_models, picture, several_pictures};
use crate::engine::{
    BatchLimits, ClientKey, Engine, EngineError, Event, Events, Instruction, LoadedModel, LocalEngine, Purpose,
    QueueLimits, StartError, Submission, Summary, Timings, WrittenAnswer,
};
use crate::models::auto::Asked;
use crate::models::{AnswerAttention, OpenModel};
use crate::processor::Picture;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Args)]
#[command(
    override_usage = "glimpse ask [OPTIONS] <PICTURE> [QUESTION]\n       glimpse ask [OPTIONS] --question <TEXT> <PICTURE>...\n       glimpse ask [OPTIONS] --batch <FILE.jsonl>"
)]
pub struct AskArgs {
    /// A picture file, an http(s) address (fetched as curl would, from private networks
    /// too: this is your own machine), or - for standard input
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    picture: Option<OsString>,

    /// What to ask; a caption without it. With --question, further pictures stand here
    #[arg(value_name = "QUESTION", conflicts_with = "batch")]
    rest: Vec<OsString>,

    /// One question about all pictures that are named; of several, each answer is a line of the
    /// picture's name, a tab and the answer (with --json, an object with `picture`)
    #[arg(long, env = "GLIMPSE_QUESTION", value_name = "TEXT", conflicts_with = "batch")]
    question: Option<String>,

    #[command(flatten)]
    prompt: PromptArgs,

    /// Print a JSON object with the answer, its tokens and how long each part took
    #[arg(long, env = "GLIMPSE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,

    /// A file of {"picture","question"} objects, one a line (- for standard input);
    /// prints one JSON object a line, in the same order
    #[arg(long, env = "GLIMPSE_BATCH", value_name = "FILE.jsonl")]
    batch: Option<PathBuf>,

    /// Also write what each token of the (first) answer looked at to a file: the cross-attention to the
    /// picture of each layer (`layer.N`, [heads, queries, 1 + patches], the class token first), how much each
    /// token drew on each query (`weights`, [tokens, queries]) and on each patch (`maps`, [tokens, rows, columns])
    #[arg(
        long,
        env = "GLIMPSE_ATTENTION",
        value_name = "FILE.safetensors",
        conflicts_with = "batch"
    )]
    attention: Option<PathBuf>,

    #[command(flatten)]
    limits: picture::PictureLimitArgs,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    generation: GenerationArgs,
}

/// What `--json` and `--batch` print.
#[derive(Serialize)]
pub struct AnswerRecord {
    #[serde(flatten)]
    first: OneAnswer,
    prompt_ids: Vec<u32>,
    timings_ms: TimingsRecord,
    /// What the tokens were drawn from: with `--seed`, it gives the same answer again.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// All answers, the first one too, where more than one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<Vec<OneAnswer>>,
}

/// How long each part took, in milliseconds.
#[derive(Serialize)]
struct TimingsRecord {
    /// Opening the checkpoint; 0 where the model was there already.
    load: f64,
    image: f64,
    prefill: f64,
    decode: f64,
    /// All but opening the checkpoint.
    total: f64,
}

impl TimingsRecord {
    fn new(load: f64, timings: Timings) -> Self {
        let Timings {
            image,
            prefill,
            decode,
            total,
        } = timings;
        Self {
            load,
            image,
            prefill,
            decode,
            total,
        }
    }
}

/// One of the answers to a question.
#[derive(Clone, Serialize)]
struct OneAnswer {
    answer: String,
    /// The generated tokens, with the end token if it came.
    token_ids: Vec<u32>,
    /// Of each generated token, natural logarithm, of the unmodified distribution.
    logprobs: Vec<f32>,
    /// `stop` or `length`.
    finish_reason: &'static str,
    /// Of beam search.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_score: Option<f32>,
}

impl From<WrittenAnswer> for OneAnswer {
    fn from(WrittenAnswer { text, sequence }: WrittenAnswer) -> Self {
        Self {
            answer: text,
            token_ids: sequence.tokens.iter().map(|token| token.id).collect(),
            logprobs: sequence.tokens.iter().map(|token| token.logprob).collect(),
            finish_reason: sequence.finish_reason.name(),
            sequence_score: sequence.score,
        }
    }
}

impl AnswerRecord {
    fn new(summary: Summary, load_ms: f64, several: bool) -> Option<Self> {
        let answers: Vec<OneAnswer> = summary.answers.into_iter().map(OneAnswer::from).collect();
        Some(Self {
            first: answers.first()?.clone(),
            prompt_ids: summary.prompt_ids,
            timings_ms: TimingsRecord::new(load_ms, summary.timings),
            seed: summary.seed,
            answers: several.then_some(answers),
        })
    }

    /// Milliseconds of answering, without opening the checkpoint.
    pub fn took(&self) -> f64 {
        self.timings_ms.total
    }

    /// The texts of all answers.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let further = self.answers.iter().flatten().skip(1);
        std::iter::once(&self.first)
            .chain(further)
            .map(|answer| answer.answer.as_str())
    }
}

/// Asks one question after another, all with the same settings.
pub struct Asker {
    engine: LocalEngine,
    settings: ModelSettings,
    stop_strings: Vec<String>,
}

/// A question that was asked. Dropping it cancels it.
pub struct Pending {
    events: Events,
    /// How long resizing its picture took, in milliseconds.
    resizing: f64,
}

/// A picture as the model sees it.
#[derive(Clone)]
pub struct PreparedPicture {
    picture: Arc<Picture>,
    /// How long resizing took, in milliseconds.
    took: f64,
}

impl Asker {
    /// Loads the model, where it is to be found the best for what is asked. So many questions may wait for it.
    ///
    /// # Errors
    /// There is no such model, or it answers nothing.
    pub fn load(
        model: ModelArgs,
        asked: Asked,
        settings: &Settings,
        generation: &GenerationArgs,
        waiting: usize,
    ) -> Result<Self, AnyError> {
        Self::start(model.load(asked)?, settings, generation, waiting)
    }

    /// The same with a model that was opened.
    ///
    /// # Errors
    /// It writes nothing, or there is no memory for what it reads.
    pub fn start(
        mut model: OpenModel,
        settings: &Settings,
        generation: &GenerationArgs,
        waiting: usize,
    ) -> Result<Self, AnyError> {
        let limits = QueueLimits {
            waiting,
            waiting_per_client: waiting,
        };
        if model.purpose == Purpose::Matching {
            return Err(StartError::WritesNothing { model: model.name }.into());
        }
        // At once: a process that ends with its answer would not get to the end of it.
        model.keep_packed();
        Ok(Self {
            settings: settings.for_model(&model),
            engine: LocalEngine::start(model, limits, BatchLimits::default())?,
            stop_strings: generation.stop_strings().to_vec(),
        })
    }

    /// What the model is called.
    pub fn name(&self) -> &str {
        &self.engine.description().name
    }

    /// Takes the model out of memory, and returns when it is.
    pub fn unload(self) {
        LoadedModel::from(self.engine).unload();
    }

    /// What each token of an answer looked at.
    ///
    /// # Errors
    /// There is no answer, or the device's.
    fn attention(
        &self,
        picture: &PreparedPicture,
        instruction: &Instruction,
        record: &AnswerRecord,
    ) -> Result<AnswerAttention, EngineError> {
        let (instruction, _) = self.settings.of(instruction.clone());
        let ids = &record.first.token_ids;
        let explainer = self.engine.explainer().ok_or(EngineError::Gone)?;
        explainer.attention(&picture.picture, &instruction, ids)
    }

    /// Resizes a picture for the model.
    pub fn prepare(&self, picture: &Picture) -> PreparedPicture {
        let start = Instant::now();
        let picture = Arc::new(self.engine.prepare(picture));
        let took = start.elapsed().as_secs_f64() * 1e3;
        PreparedPicture { picture, took }
    }

    /// What the model is for.
    pub fn purpose(&self) -> Purpose {
        self.engine.description().purpose
    }

    /// How its answers are generated.
    pub fn settings(&self) -> &ModelSettings {
        &self.settings
    }

    /// Waits for the whole answer, handing on each piece of the first one's text as it comes.
    ///
    /// # Errors
    /// The model cannot be asked that, or `on_text` failed.
    pub fn ask(
        &self,
        picture: &PreparedPicture,
        instruction: Instruction,
        on_text: impl FnMut(&str) -> std::io::Result<()>,
    ) -> Result<AnswerRecord, AnyError> {
        self.wait(self.submit(picture, instruction)?, on_text)
    }

    /// Asks, without waiting for the answer.
    ///
    /// # Errors
    /// Too many wait, or the model is gone.
    pub fn submit(&self, picture: &PreparedPicture, instruction: Instruction) -> Result<Pending, EngineError> {
        let (instruction, options) = self.settings.of(instruction);
        let events = self.engine.submit(Submission {
            client: ClientKey::from(0),
            network: None,
            deadline: None,
            picture: Arc::clone(&picture.picture),
            instruction,
            options,
            stop_strings: self.stop_strings.clone(),
        })?;
        Ok(Pending {
            events,
            resizing: picture.took,
        })
    }

    /// As [`Asker::ask`], of what was asked before.
    ///
    /// # Errors
    /// As for that.
    pub fn wait(
        &self,
        mut pending: Pending,
        mut on_text: impl FnMut(&str) -> std::io::Result<()>,
    ) -> Result<AnswerRecord, AnyError> {
        while let Some(event) = pending.events.blocking_recv() {
            match event {
                Event::Queued { .. } | Event::Loading | Event::Started { .. } | Event::Score(_) => {}
                Event::Token { text, .. } => on_text(&text)?,
                Event::Failed(error) => return Err(error.into()),
                Event::Done(summary) => return self.record(summary, pending.resizing),
            }
        }
        Err(EngineError::Gone.into())
    }

    fn record(&self, mut summary: Summary, resizing: f64) -> Result<AnswerRecord, AnyError> {
        summary.timings.image += resizing;
        summary.timings.total += resizing;
        let several = self.settings.num_return_sequences() > 1;
        let record = AnswerRecord::new(summary, self.engine.description().load_ms, several);
        record.ok_or_else(|| EngineError::Gone.into())
    }
}

pub fn run(args: AskArgs, flag_names: &FlagNames) -> CommandResult {
    let settings = args.generation.settings(flag_names)?;
    let limits = args.limits.limits();
    let models = args.model.number();
    let load = |asked| Asker::load(args.model.clone(), asked, &settings, &args.generation, 1);
    if models > 1 && args.batch.is_some() {
        return Err(UsageError(compared_models::ONE_PICTURE.into()).into());
    }
    if let Some(file) = args.batch {
        let questions = batch::Questions::open(&file)?;
        // A wrong prefix is told once, not in every line.
        args.prompt.instruction(None)?;
        return batch::run(&load(Asked::Anything)?, questions, &args.prompt, &limits);
    }
    // clap has seen to it that there is a picture where there is no batch.
    let argument = args.picture.unwrap_or_default();
    // A script that names the question gets the same objects for one picture as for several.
    let names_pictures = args.json && args.question.is_some();
    let (pictures, question) = several_pictures::tell_apart(args.question, argument, args.rest)?;
    let instruction = args.prompt.only_instruction(question)?;
    let asked = asked_by(&instruction);
    let attention = args.attention.as_deref().map(AttentionFile::new).transpose()?;
    if attention.is_some() && (models > 1 || pictures.len() > 1) {
        return Err(UsageError(ONE_ANSWER.into()).into());
    }
    if models > 1 {
        let [picture] = pictures.as_slice() else {
            return Err(UsageError(compared_models::ONE_PICTURE.into()).into());
        };
        let picture = picture::open(picture, &limits)?;
        let start = |model| Asker::start(model, &settings, &args.generation, 1);
        return compared_models::run(args.model.requests(asked)?, start, &picture, &instruction, args.json);
    }
    if attention.is_none() && (pictures.len() > 1 || names_pictures) {
        return several_pictures::run(&load(asked)?, &pictures, &instruction, &limits, args.json);
    }
    let argument = pictures.into_iter().next().unwrap_or_default();
    // Before the model, so that a wrong picture is told at once.
    let picture = picture::open(&argument, &limits)?;
    let asker = load(asked)?;
    let picture = asker.prepare(&picture);
    let record = if args.json {
        let record = asker.ask(&picture, instruction.clone(), |_| Ok(()))?;
        let line = if names_pictures {
            several_pictures::json_of(&argument, &record)
        } else {
            serde_json::to_string(&record)
        };
        writeln!(std::io::stdout(), "{}", line?)?;
        record
    } else {
        let record = asker.ask(&picture, instruction.clone(), |text| print_now(&harmless(text)))?;
        print_now("\n")?;
        for text in record.texts().skip(1) {
            print_now(&format!("{}\n", harmless(text)))?;
        }
        record
    };
    say_no_answer(&record, None);
    if let Some(file) = attention {
        file.write(&asker.attention(&picture, &instruction, &record)?)?;
    }
    Ok(())
}

/// What a model must be able to do.
fn asked_by(instruction: &Instruction) -> Asked {
    match instruction {
        Instruction::Caption { .. } => Asked::Caption,
        _ => Asked::Question,
    }
}

const ONE_ANSWER: &str =
    "--attention (GLIMPSE_ATTENTION) is for one answer of one model. Name one picture and one model.";

/// Says on standard error that an answer is empty, which standard output shows as nothing.
pub fn say_no_answer(record: &AnswerRecord, picture: Option<&str>) {
    if record.texts().all(|text| text.trim().is_empty()) {
        let picture = picture.map(|picture| format!("{picture}: ")).unwrap_or_default();
        tell(format_args!("{picture}{NO_ANSWER}"));
    }
}

const NO_ANSWER: &str = "The model gave no answer. Ask in other words, ask for one with --min-new-tokens 1, or leave QUESTION out for a caption.";

/// What a terminal shows and does not obey, at the end of a pipe too: a model may generate any character,
/// and its vocabulary is somebody else's file.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let is_command = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(is_command) {
        text.replace(is_command, "\u{fffd}").into()
    } else {
        text.into()
    }
}

fn print_now(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
