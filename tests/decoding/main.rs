//! Every way of decoding gives the reference's answers, on every golden checkpoint.
//!
//! The files under `decoding/` are made by `make golden`, with transformers in f32 on the
//! CPU; `GLIMPSE_GOLDEN=DIR` tests another set (`make golden SEED=1 OUT=DIR`).
//!
//! What must hold: greedy decoding and beam search give the same tokens, sequence scores
//! and log-probabilities within 1e-3 (scores beyond 100 within a hundred-thousandth of
//! themselves, which is what f32 sums leave of them); what tokens are drawn from is the reference's
//! distribution within 1e-5 at every step; the same seed gives the same answer.
#![cfg(feature = "ssr")]

mod support;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use glimpse::blip2::generation::{
    EarlyStopping, FinishReason, GenerationOptions, LogitsProcessors, Sequence, Step, log_softmax, softmax,
};
use glimpse::blip2::linear::WeightFormat;
use glimpse::blip2::processor::{Picture, Processor, Prompt, TextProcessor};
use glimpse::blip2::weights::Precision;
use glimpse::blip2::{Blip2, EncodedPicture};
use glimpse::checkpoint::{Checkpoint, Source};
use glimpse::engine::{DeviceChoice, DtypeChoice, Engine, Event, Model, Question, Summary};
use serde::Deserialize;
use support::TinyCheckpoint;

const TOLERANCE: f32 = 1e-3;
/// For scores beyond 100, which a negative length penalty makes: a part of the score itself.
const RELATIVE_TOLERANCE: f32 = 1e-5;
const DISTRIBUTION_TOLERANCE: f32 = 1e-5;

type AnyResult<T> = Result<T, Box<dyn Error>>;

/// `decoding/NN.json`.
#[derive(Deserialize)]
struct Golden {
    max_new_tokens: usize,
    answers: Vec<Asked<Answers>>,
    drawn: Asked<Drawn>,
}

#[derive(Deserialize)]
struct Asked<T> {
    /// The number that the picture is drawn from.
    picture: u64,
    kind: String,
    text: Option<String>,
    options: Settings,
    #[serde(flatten)]
    expected: T,
}

#[derive(Deserialize)]
struct Answers {
    sequences: Vec<ExpectedSequence>,
}

#[derive(Deserialize)]
struct ExpectedSequence {
    token_ids: Vec<u32>,
    score: Option<f32>,
    logprobs: Option<Vec<f32>>,
}

#[derive(Deserialize)]
struct Drawn {
    token_ids: Vec<u32>,
}

/// The reference's names; what is missing is the default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    min_new_tokens: Option<usize>,
    num_beams: Option<usize>,
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    length_penalty: Option<f64>,
    early_stopping: Option<serde_json::Value>,
    repetition_penalty: Option<f64>,
    no_repeat_ngram_size: Option<usize>,
    num_return_sequences: Option<usize>,
    #[serde(default)]
    stop_strings: Vec<String>,
}

impl Settings {
    fn options(&self, max_new_tokens: usize, text: &TextProcessor) -> GenerationOptions {
        let default = GenerationOptions::default();
        GenerationOptions {
            max_new_tokens,
            min_new_tokens: self.min_new_tokens.unwrap_or(default.min_new_tokens),
            num_beams: self.num_beams.unwrap_or(default.num_beams),
            temperature: self.temperature.unwrap_or(default.temperature),
            top_k: self.top_k.unwrap_or(default.top_k),
            top_p: self.top_p.unwrap_or(default.top_p),
            length_penalty: self.length_penalty.unwrap_or(default.length_penalty),
            early_stopping: match &self.early_stopping {
                Some(serde_json::Value::Bool(true)) => EarlyStopping::True,
                Some(serde_json::Value::String(_)) => EarlyStopping::Never,
                _ => EarlyStopping::False,
            },
            repetition_penalty: self.repetition_penalty.unwrap_or(default.repetition_penalty),
            no_repeat_ngram_size: self.no_repeat_ngram_size.unwrap_or(default.no_repeat_ngram_size),
            num_return_sequences: self.num_return_sequences.unwrap_or(default.num_return_sequences),
            stop_strings: text.stop_strings(&self.stop_strings),
            ..default
        }
    }
}

/// A picture of rectangles, the same here and in `decoding.py`.
fn draw(seed: u64) -> Picture {
    let mut state = seed;
    let mut number = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (width, height) = (16 + number(33), 16 + number(33));
    let colour = |number: &mut dyn FnMut(usize) -> usize| [number(256) as u8, number(256) as u8, number(256) as u8];
    let mut rgb = colour(&mut number).repeat(width * height);
    for _ in 0..6 {
        let (left, top) = (number(width), number(height));
        let (right, bottom) = (left + 1 + number(width), top + 1 + number(height));
        let colour = colour(&mut number);
        for y in top..bottom.min(height) {
            for x in left..right.min(width) {
                rgb[3 * (y * width + x)..][..3].copy_from_slice(&colour);
            }
        }
    }
    Picture { width, height, rgb }
}

fn prompt(kind: &str, text: Option<&str>) -> Prompt {
    match text {
        None => Prompt::Caption,
        Some(text) if kind == "raw" => Prompt::Raw(text.into()),
        Some(text) => Prompt::Question(text.into()),
    }
}

/// A golden checkpoint and what it should answer.
struct Case {
    golden: Golden,
    distribution: Vec<Vec<f32>>,
    model: Blip2,
    processor: Processor,
}

impl Case {
    fn open(golden: &Path, name: &str) -> AnyResult<Self> {
        let checkpoint = Checkpoint::open(golden.join("checkpoints").join(name))?;
        let file = golden.join("decoding").join(name);
        let tensors = candle_core::safetensors::load(file.with_extension("safetensors"), &Device::Cpu)?;
        Ok(Self {
            golden: serde_json::from_slice(&std::fs::read(file.with_extension("json"))?)?,
            distribution: tensors["distribution"].to_vec2()?,
            model: Blip2::load(&checkpoint, &Device::Cpu, Precision::F32)?,
            processor: Processor::load(&checkpoint)?,
        })
    }

    fn encode(&self, picture: u64) -> AnyResult<EncodedPicture> {
        let pixel_values = self.processor.image.pixel_values(&draw(picture))?;
        Ok(self.model.encode_picture(&pixel_values)?.into())
    }

    fn prompt_ids<T>(&self, asked: &Asked<T>) -> AnyResult<Vec<u32>> {
        let prompt = prompt(&asked.kind, asked.text.as_deref());
        Ok(self.processor.text.prompt_ids(&prompt)?)
    }

    fn answer(&self, picture: &EncodedPicture, asked: &Asked<Answers>) -> AnyResult<Vec<Sequence>> {
        let options = asked.options.options(self.golden.max_new_tokens, &self.processor.text);
        let mut answer = self.model.generate(picture, &self.prompt_ids(asked)?, &options)?;
        let (mut streamed, mut is_over) = (Vec::new(), false);
        while let Some(token) = answer.next_token()? {
            assert!(!is_over, "the finish reason was known before the last token");
            streamed.push(token);
            is_over = answer.finish_reason().is_some();
        }
        let sequences = answer.sequences();
        assert_eq!(streamed, sequences[0].tokens, "what was streamed is the first answer");
        Ok(sequences)
    }

    /// What is wrong with the answers, if anything is.
    fn check_answers(&self) -> AnyResult<Vec<String>> {
        let mut complaints = Vec::new();
        let mut encoded: Option<(u64, EncodedPicture)> = None;
        for asked in &self.golden.answers {
            let picture = match encoded.take() {
                Some((number, picture)) if number == asked.picture => picture,
                _ => self.encode(asked.picture)?,
            };
            let got = self.answer(&picture, asked)?;
            if let Some(complaint) = complaint(&got, &asked.expected.sequences, self.golden.max_new_tokens) {
                complaints.push(format!("picture {} {:?}: {complaint}", asked.picture, asked.options));
            }
            encoded = Some((asked.picture, picture));
        }
        Ok(complaints)
    }

    /// The largest difference between our distribution and the reference's, at every step
    /// of the answer that the reference drew.
    fn check_distribution(&self) -> AnyResult<f32> {
        let drawn = &self.golden.drawn;
        let (picture, mut ids) = (self.encode(drawn.picture)?, self.prompt_ids(drawn)?);
        let mut options = drawn.options.options(self.golden.max_new_tokens, &self.processor.text);
        options.do_sample = true;
        let end_tokens = self.model.config().text_config.eos_token_id.as_slice();
        let rules = LogitsProcessors::new(&options, ids.len(), end_tokens);
        assert_eq!(drawn.expected.token_ids.len(), self.distribution.len());
        let mut worst = 0f32;
        for (token, want) in drawn.expected.token_ids.iter().zip(&self.distribution) {
            let answer = self.model.generate(&picture, &ids, &GenerationOptions::default())?;
            let is_beams = options.num_beams > 1;
            let mut scores = if is_beams {
                log_softmax(answer.logits())
            } else {
                answer.logits().to_vec()
            };
            rules.apply(&ids, &mut scores);
            let got = softmax(&scores);
            assert_eq!(got.len(), want.len());
            let differences = got.iter().zip(want).map(|(got, want)| (got - want).abs());
            worst = differences.fold(worst, f32::max);
            assert!(!worst.is_nan());
            ids.push(*token);
        }
        Ok(worst)
    }
}

fn complaint(got: &[Sequence], want: &[ExpectedSequence], max_new_tokens: usize) -> Option<String> {
    let ids = |sequence: &Sequence| sequence.tokens.iter().map(|token| token.id).collect::<Vec<u32>>();
    let got_ids: Vec<Vec<u32>> = got.iter().map(ids).collect();
    let want_ids: Vec<&Vec<u32>> = want.iter().map(|sequence| &sequence.token_ids).collect();
    if !got_ids.iter().eq(want_ids.iter().copied()) {
        return Some(format!("tokens {got_ids:?} instead of {want_ids:?}"));
    }
    let near = |got: f32, want: f32| (got - want).abs() <= TOLERANCE.max(RELATIVE_TOLERANCE * want.abs());
    for (got, want) in got.iter().zip(want) {
        match (got.score, want.score) {
            (None, None) => {}
            (Some(got), Some(want)) if near(got, want) => {}
            scores => return Some(format!("scores {scores:?}")),
        }
        let logprobs = got.tokens.iter().map(|token| token.logprob);
        let mut pairs = logprobs.zip(want.logprobs.iter().flatten());
        if let Some(pair) = pairs.find(|(got, want)| !near(*got, **want)) {
            return Some(format!("log-probabilities {pair:?}"));
        }
        if want.token_ids.len() < max_new_tokens && got.finish_reason != FinishReason::Stop {
            return Some("a short answer that did not stop".into());
        }
    }
    None
}

fn golden() -> PathBuf {
    std::env::var_os("GLIMPSE_GOLDEN").map_or_else(|| "tests/golden".into(), PathBuf::from)
}

fn names() -> AnyResult<Vec<String>> {
    let entries = std::fs::read_dir(golden().join("checkpoints"))?;
    let mut names: Vec<String> = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<AnyResult<_>>()?;
    names.sort();
    Ok(names)
}

#[test]
fn greedy_and_beam_search_answer_as_the_reference_does() -> AnyResult<()> {
    let mut complaints = Vec::new();
    let (mut answers, mut checkpoints) = (0, 0);
    for name in names()? {
        let case = Case::open(&golden(), &name)?;
        complaints.extend(case.check_answers()?.into_iter().map(|what| format!("{name}: {what}")));
        answers += case.golden.answers.len();
        checkpoints += 1;
    }
    let is_committed_set = golden() == Path::new("tests/golden");
    assert!(
        checkpoints >= if is_committed_set { 24 } else { 1 },
        "{checkpoints} checkpoints"
    );
    assert_eq!(answers, checkpoints * 8 * 4, "eight pictures, four settings");
    assert!(
        complaints.is_empty(),
        "{} of {answers}:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
    Ok(())
}

#[test]
fn tokens_are_drawn_from_the_references_distribution() -> AnyResult<()> {
    for name in names()? {
        let case = Case::open(&golden(), &name)?;
        let worst = case.check_distribution()?;
        let options = &case.golden.drawn.options;
        assert!(worst <= DISTRIBUTION_TOLERANCE, "{name} {options:?}: off by {worst:e}");
    }
    Ok(())
}

fn engine(capacity: usize) -> AnyResult<(Engine, TinyCheckpoint)> {
    let checkpoint = TinyCheckpoint::new();
    let model = Model::load(
        &Source::Folder(checkpoint.path().into()),
        DeviceChoice::Cpu,
        DtypeChoice::Format(WeightFormat::F32),
        None,
    )?;
    Ok((Engine::start(model, capacity)?, checkpoint))
}

fn question(picture: u64, options: GenerationOptions) -> Question {
    Question {
        picture: Arc::new(draw(picture)),
        prompt: Prompt::Question("what?".into()),
        options,
    }
}

fn sampled(seed: u64) -> GenerationOptions {
    GenerationOptions {
        do_sample: true,
        seed: Some(seed),
        ..GenerationOptions::default()
    }
}

fn ids(summary: &Summary) -> Vec<Vec<u32>> {
    let ids = |tokens: &[glimpse::blip2::generation::GeneratedToken]| tokens.iter().map(|token| token.id).collect();
    summary
        .answers
        .iter()
        .map(|answer| ids(&answer.sequence.tokens))
        .collect()
}

fn wait(mut events: tokio::sync::mpsc::UnboundedReceiver<Event>) -> Summary {
    while let Some(event) = events.blocking_recv() {
        match event {
            Event::Done(summary) => return summary,
            Event::Failed(error) => panic!("{error}"),
            Event::Queued { .. } | Event::Token { .. } => {}
        }
    }
    panic!("no answer");
}

#[test]
fn a_seed_gives_the_same_answer_while_others_ask() -> AnyResult<()> {
    let (engine, _checkpoint) = engine(100)?;
    let alone = ids(&wait(engine.ask(question(1, sampled(7)))?));
    let others: Vec<_> = (0..20)
        .map(|number| {
            let options = match number % 4 {
                0 => sampled(7),
                1 => sampled(number),
                2 => GenerationOptions {
                    num_beams: 3,
                    ..sampled(7)
                },
                _ => GenerationOptions {
                    num_beams: 2,
                    ..GenerationOptions::default()
                },
            };
            let picture = if number % 4 == 0 { 1 } else { number };
            engine.ask(question(picture, options)).map(|events| (number, events))
        })
        .collect::<Result<_, _>>()?;
    let mut different = 0;
    for (number, events) in others {
        let answer = ids(&wait(events));
        if number % 4 == 0 {
            assert_eq!(answer, alone, "question {number}");
        } else {
            different += usize::from(answer != alone);
        }
    }
    assert_eq!(different, 15, "another seed, another answer");
    Ok(())
}

#[test]
fn several_drawn_answers_begin_with_the_one_that_would_come_alone() -> AnyResult<()> {
    let (engine, _checkpoint) = engine(9)?;
    let several = GenerationOptions {
        num_return_sequences: 4,
        ..sampled(3)
    };
    let four = ids(&wait(engine.ask(question(1, several))?));
    let one = ids(&wait(engine.ask(question(1, sampled(3)))?));
    assert_eq!((four.len(), one.len()), (4, 1));
    assert_eq!(four[0], one[0]);
    assert!(four[1..].iter().all(|other| *other != four[0]), "{four:?}");
    Ok(())
}

#[test]
fn without_a_seed_the_seed_is_told_and_gives_the_answer_again() -> AnyResult<()> {
    let (engine, _checkpoint) = engine(9)?;
    let unseeded = GenerationOptions {
        seed: None,
        ..sampled(0)
    };
    let first = wait(engine.ask(question(1, unseeded.clone()))?);
    let other = wait(engine.ask(question(1, unseeded))?);
    assert_ne!(first.seed, other.seed);
    let again = wait(engine.ask(question(1, sampled(first.seed.ok_or("there is a seed")?)))?);
    assert_eq!(ids(&again), ids(&first));
    Ok(())
}

#[test]
fn beam_search_can_be_given_up_between_two_steps() -> AnyResult<()> {
    let (engine, _checkpoint) = engine(9)?;
    let endless = GenerationOptions {
        num_beams: 10,
        max_new_tokens: 8000,
        ..GenerationOptions::default()
    };
    let receiver = engine.ask(question(1, endless))?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    drop(receiver);
    let short = GenerationOptions {
        max_new_tokens: 2,
        ..GenerationOptions::default()
    };
    let begin = std::time::Instant::now();
    wait(engine.ask(question(1, short))?);
    assert!(
        begin.elapsed().as_secs() < 5,
        "the next question waited for a search that nobody wanted"
    );
    Ok(())
}

#[test]
fn beams_give_nothing_before_they_are_done() -> AnyResult<()> {
    let checkpoint = TinyCheckpoint::new();
    let opened = Checkpoint::open(checkpoint.path())?;
    let (model, processor) = (
        Blip2::load(&opened, &Device::Cpu, Precision::F32)?,
        Processor::load(&opened)?,
    );
    let picture = model.encode_picture(&processor.image.pixel_values(&draw(1))?)?.into();
    let ids = processor.text.prompt_ids(&Prompt::Caption)?;
    let options = GenerationOptions {
        num_beams: 3,
        max_new_tokens: 6,
        ..GenerationOptions::default()
    };
    let mut answer = model.generate(&picture, &ids, &options)?;
    let mut steps = Vec::new();
    while let Some(step) = answer.step()? {
        steps.push(matches!(step, Step::Token(_)));
    }
    assert_eq!(steps, [vec![false; 6], vec![true; 6]].concat());
    Ok(())
}
