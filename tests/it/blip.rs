//! BLIP, the first of the family: every golden checkpoint captions, answers or compares as the reference.
//!
//! The folders are made by `make golden`, with transformers in f32 on the CPU; `GLIMPSE_GOLDEN=DIR` tests
//! another set. What must hold, in f32 on the CPU: pixel values equal to the bit; hidden states and
//! logits within 1e-4 of the largest value, or of 1; the same tokens and texts; log-probabilities and scores
//! within 1e-4; what tokens are drawn from within 2e-5.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use glimpse::blip::Blip;
use glimpse::blip::config::Task;
use glimpse::blip::passes::EncodedPicture;
use glimpse::checkpoint::Source;
use glimpse::cpu::WeightFormat;
use glimpse::engine::{
    BatchLimits, ClientKey, Engine, Event, Events, Instruction, LocalEngine, QueueLimits, Submission, Summary,
};
use glimpse::generation::{EarlyStopping, GenerationOptions, LogitsProcessors, Sequence, log_softmax, softmax};
use glimpse::models::{self, Checkpoint, DtypeChoice, ModelRequest};
use glimpse::nn::{Kernels, Placement};
use glimpse::processor::{Picture, PictureLimits, Processor, Prompt};
use serde::Deserialize;
use serde_json::Value;

mod command;
mod files;

type AnyResult<T> = Result<T, Box<dyn Error>>;

const TOLERANCE: f32 = 1e-4;
const LOGPROB_TOLERANCE: f32 = 1e-4;
/// Twice what BLIP-2 is held to: the generator takes models that round a little more.
const DISTRIBUTION_TOLERANCE: f32 = 2e-5;

/// Numbers of a tensor in the file, at most; see `sample` in the generator.
const SAMPLED: usize = 1024;

#[derive(Deserialize)]
struct Expected {
    pictures: Vec<ExpectedPicture>,
    #[serde(default)]
    max_new_tokens: usize,
    #[serde(default)]
    answers: Vec<ExpectedAnswer>,
    drawn: Option<Drawn>,
    #[serde(default)]
    scores: Vec<ExpectedScore>,
}

#[derive(Deserialize)]
struct ExpectedPicture {
    file: String,
    checksum: String,
}

#[derive(Deserialize)]
struct ExpectedAnswer {
    picture: usize,
    text: Option<String>,
    options: Options,
    prompt_ids: Vec<u32>,
    sequences: Vec<ExpectedSequence>,
    first_logits: String,
}

#[derive(Deserialize)]
struct ExpectedSequence {
    token_ids: Vec<u32>,
    text: String,
    score: Option<f32>,
    logprobs: Option<Vec<f32>>,
}

#[derive(Deserialize)]
struct Drawn {
    picture: usize,
    text: Option<String>,
    options: Options,
    token_ids: Vec<u32>,
}

#[derive(Deserialize)]
struct ExpectedScore {
    picture: usize,
    text: String,
    ids: Vec<u32>,
    logits: [f32; 2],
    #[serde(rename = "match")]
    matching: f32,
    cosine: f32,
}

/// As the reference calls them; what is missing has its default.
#[derive(Default, Deserialize)]
struct Options {
    num_beams: Option<usize>,
    min_new_tokens: Option<usize>,
    length_penalty: Option<f64>,
    early_stopping: Option<Value>,
    repetition_penalty: Option<f64>,
    no_repeat_ngram_size: Option<usize>,
    num_return_sequences: Option<usize>,
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    #[serde(default)]
    stop_strings: Vec<String>,
}

impl Options {
    fn options(&self, max_new_tokens: usize) -> GenerationOptions {
        let default = GenerationOptions::default();
        GenerationOptions {
            max_new_tokens,
            min_new_tokens: self.min_new_tokens.unwrap_or(0),
            num_beams: self.num_beams.unwrap_or(1),
            length_penalty: self.length_penalty.unwrap_or(1.0),
            early_stopping: match &self.early_stopping {
                Some(Value::Bool(true)) => EarlyStopping::True,
                Some(Value::String(_)) => EarlyStopping::Never,
                _ => EarlyStopping::False,
            },
            repetition_penalty: self.repetition_penalty.unwrap_or(1.0),
            no_repeat_ngram_size: self.no_repeat_ngram_size.unwrap_or(0),
            num_return_sequences: self.num_return_sequences.unwrap_or(1),
            temperature: self.temperature.unwrap_or(1.0),
            top_k: self.top_k.unwrap_or(50),
            top_p: self.top_p.unwrap_or(1.0),
            ..default
        }
    }
}

/// Where the golden folders are, the first of a task first.
fn folders(task: Task) -> AnyResult<Vec<PathBuf>> {
    let root = std::env::var_os("GLIMPSE_GOLDEN").map_or_else(|| "tests/golden".into(), PathBuf::from);
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root.join("blip"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<AnyResult<_>>()?;
    folders.sort();
    let first = match task {
        Task::Caption => 0,
        Task::Question => 8,
        Task::Match => 16,
    };
    let folders: Vec<PathBuf> = folders.into_iter().skip(first).take(8).collect();
    assert_eq!(folders.len(), 8, "eight of each class");
    Ok(folders)
}

/// A golden checkpoint with what is expected of it.
struct Golden {
    folder: PathBuf,
    expected: Expected,
    tensors: std::collections::HashMap<String, Tensor>,
    model: Blip,
    processor: Processor,
}

impl Golden {
    fn open(folder: &Path, placement: &Placement) -> AnyResult<Self> {
        let checkpoint = Checkpoint::open(folder)?;
        assert!(
            checkpoint.unused_tensors().is_empty(),
            "{:?}",
            checkpoint.unused_tensors()
        );
        Ok(Self {
            folder: folder.into(),
            expected: serde_json::from_slice(&std::fs::read(folder.join("expected.json"))?)?,
            tensors: candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu)?,
            model: checkpoint.load_blip(placement)?,
            processor: checkpoint.processor()?,
        })
    }

    fn picture(&self, index: usize) -> AnyResult<Picture> {
        let bytes = std::fs::read(self.folder.join(&self.expected.pictures[index].file))?;
        Ok(Picture::decode(&bytes, &PictureLimits::default())?)
    }

    fn pixel_values(&self, index: usize) -> AnyResult<Tensor> {
        let pixels = self.processor.image.pixel_values(&self.picture(index)?)?;
        let numbers = pixels.flatten_all()?.to_vec1::<f32>()?;
        let odd = |place: usize| 2 * place as u64 + 1;
        let sum = numbers.iter().enumerate().fold(0u64, |sum, (place, number)| {
            sum.wrapping_add(u64::from(number.to_bits()).wrapping_mul(odd(place)))
        });
        assert_eq!(sum.to_string(), self.expected.pictures[index].checksum, "pixel values");
        Ok(pixels)
    }

    fn encoded(&self, index: usize) -> AnyResult<EncodedPicture> {
        let encoded = self.model.encode_picture(&self.pixel_values(index)?)?;
        self.near(&encoded.states, &format!("picture-{index}"))?;
        Ok(encoded)
    }

    /// Whether a tensor, or what was kept of it, is the reference's.
    fn near(&self, got: &Tensor, name: &str) -> AnyResult<()> {
        let got = got.flatten_all()?.to_vec1::<f32>()?;
        let want = self.tensors.get(name).ok_or(name)?.flatten_all()?.to_vec1::<f32>()?;
        let step = match got.len() == want.len() {
            true => 1,
            false => got.len().div_ceil(SAMPLED),
        };
        let got: Vec<f32> = got.into_iter().step_by(step).collect();
        assert_eq!(got.len(), want.len(), "{name}");
        let largest = want.iter().fold(1f32, |largest, number| largest.max(number.abs()));
        for (got, want) in got.iter().zip(&want) {
            assert!(
                (got - want).abs() <= TOLERANCE * largest,
                "{}: {name} has {got} instead of {want}",
                self.folder.display()
            );
        }
        Ok(())
    }

    fn prompt(&self, text: Option<&str>) -> Prompt {
        text.map_or(Prompt::Caption, |text| Prompt::Raw(text.into()))
    }

    /// What the decoder computes: logits at every step of every greedy answer, and hidden states.
    fn check_logits(&self) -> AnyResult<()> {
        for asked in &self.expected.answers {
            let picture = self.encoded(asked.picture)?;
            let ids = self.processor.text.prompt_ids(&self.prompt(asked.text.as_deref()))?;
            assert_eq!(self.model.ids_before_answer(&ids), asked.prompt_ids);
            let answer = &asked.sequences[0];
            let logits = self.model.forward(&picture, &ids, &answer.token_ids)?;
            self.near(&logits.get(0)?, &asked.first_logits)?;
            let question = asked.first_logits.replace("logits", "question");
            if self.tensors.contains_key(&question) {
                self.near(&self.model.encode_question(&picture, &ids)?, &question)?;
            }
            for (step, want) in answer.logprobs.iter().flatten().enumerate() {
                let logprobs = log_softmax(&logits.get(step)?.to_vec1::<f32>()?);
                let got = logprobs[answer.token_ids[step] as usize];
                assert!(
                    (got - want).abs() <= LOGPROB_TOLERANCE,
                    "{}: {got} instead of {want}",
                    self.folder.display()
                );
            }
        }
        Ok(())
    }

    /// What the tokens of an answer were drawn from.
    fn check_distribution(&self) -> AnyResult<()> {
        let drawn = self.expected.drawn.as_ref().ok_or("an answer that was drawn")?;
        let wanted = self.tensors["distribution"].to_vec2::<f32>()?;
        let picture = self.encoded(drawn.picture)?;
        let prompt_ids = self.processor.text.prompt_ids(&self.prompt(drawn.text.as_deref()))?;
        let before = self.model.ids_before_answer(&prompt_ids).to_vec();
        let mut options = drawn.options.options(self.expected.max_new_tokens);
        options.do_sample = true;
        let ends = [self.model.config().text_config.sep_token_id];
        let rules = LogitsProcessors::new(&options, before.len(), &ends);
        let logits = self.model.forward(&picture, &prompt_ids, &drawn.token_ids)?;
        for (step, want) in wanted.iter().enumerate() {
            let ids = [&before, &drawn.token_ids[..step]].concat();
            let logits: Vec<f32> = logits.get(step)?.to_vec1()?;
            let mut scores = if options.num_beams > 1 {
                log_softmax(&logits)
            } else {
                logits
            };
            rules.apply(&ids, &mut scores);
            let got = softmax(&scores);
            assert_eq!(got.len(), want.len());
            for (got, want) in got.iter().zip(want) {
                let off = (got - want).abs();
                assert!(
                    off <= DISTRIBUTION_TOLERANCE,
                    "{}: step {step}, off by {off}",
                    self.folder.display()
                );
            }
        }
        Ok(())
    }

    fn check_scores(&self) -> AnyResult<()> {
        let matching = self.model.matcher().ok_or("a model that compares")?.matching;
        for want in &self.expected.scores {
            let picture = matching.picture(&self.encoded(want.picture)?.states)?;
            let ids = self.processor.text.text_ids(&want.text)?;
            assert_eq!(ids, want.ids);
            let text = matching.text(&ids)?;
            let logits = matching.itm_logits(&picture, &text)?;
            let score = matching.score(&picture, &text)?;
            let pairs = [
                (logits[0], want.logits[0]),
                (logits[1], want.logits[1]),
                (score.probability, want.matching),
                (score.cosine, want.cosine),
            ];
            for (got, want) in pairs {
                let allowed = TOLERANCE * want.abs().max(1.0);
                assert!(
                    (got - want).abs() <= allowed,
                    "{}: {got} instead of {want}",
                    self.folder.display()
                );
            }
        }
        Ok(())
    }
}

fn own() -> Placement {
    Placement::cpu(WeightFormat::F32)
}

/// What a GPU runs, on the CPU.
fn candles() -> Placement {
    Placement::with_kernels(Device::Cpu, WeightFormat::F32, Kernels::Candle)
}

#[test]
fn captions_and_answers_are_computed_as_in_the_reference() -> AnyResult<()> {
    for placement in [own(), candles()] {
        for folder in [folders(Task::Caption)?, folders(Task::Question)?].concat() {
            let golden = Golden::open(&folder, &placement)?;
            golden.check_logits()?;
            golden.check_distribution()?;
        }
    }
    Ok(())
}

#[test]
fn texts_fit_pictures_as_in_the_reference() -> AnyResult<()> {
    for placement in [own(), candles()] {
        for folder in folders(Task::Match)? {
            Golden::open(&folder, &placement)?.check_scores()?;
        }
    }
    Ok(())
}

/// What a checkpoint computes of its first picture and its first answer or text: logits.
fn first_logits(folder: &Path, task: Task, placement: &Placement) -> AnyResult<Vec<f32>> {
    let golden = Golden::open(folder, &own())?;
    let model = Checkpoint::open(folder)?.load_blip(placement)?;
    let states = model.encode_picture(&golden.pixel_values(0)?)?;
    if task == Task::Match {
        let matching = model.matcher().ok_or("it compares")?.matching;
        let picture = matching.picture(&states.states)?;
        let text = matching.text(&golden.expected.scores[0].ids)?;
        return Ok(matching.itm_logits(&picture, &text)?.to_vec());
    }
    let asked = &golden.expected.answers[0];
    let prompt = golden.prompt(asked.text.as_deref());
    let ids = golden.processor.text.prompt_ids(&prompt)?;
    let logits = model.forward(&states, &ids, &asked.sequences[0].token_ids)?;
    Ok(logits.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()?)
}

/// Random models make much of a rounding, each of its own: half of them are as near as the format allows.
#[test]
fn every_format_computes_what_f32_does_but_for_rounding() -> AnyResult<()> {
    let length = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|x| x * x).sum::<f32>().sqrt();
    for task in [Task::Caption, Task::Question, Task::Match] {
        let folders = folders(task)?;
        for kernels in [Kernels::Own, Kernels::Candle] {
            for (weights, tolerance) in [
                (WeightFormat::F16, 1e-2),
                (WeightFormat::Bf16, 0.1),
                (WeightFormat::Q8_0, 0.1),
                (WeightFormat::Q4_0, 0.8),
                (WeightFormat::Q4K, 0.8),
            ] {
                if kernels == Kernels::Candle && weights == WeightFormat::Bf16 {
                    continue; // candle has no product of bf16 on the CPU
                }
                let placement = Placement::with_kernels(Device::Cpu, weights, kernels);
                let off = folders.iter().map(|folder| {
                    let exact = first_logits(folder, task, &own())?;
                    let got = first_logits(folder, task, &placement)?;
                    let difference = length(&mut got.iter().zip(&exact).map(|(a, b)| a - b));
                    Ok(difference / length(&mut exact.iter().copied()))
                });
                let mut off = off.collect::<AnyResult<Vec<f32>>>()?;
                off.sort_by(f32::total_cmp);
                let median = off[(off.len() - 1) / 2];
                assert!(
                    median < tolerance,
                    "{task:?} {} {kernels:?}: off by {off:?}",
                    weights.name()
                );
            }
        }
    }
    Ok(())
}

/// An engine with a golden checkpoint, as `glimpse ask` and `glimpse serve` have it.
fn engine(folder: &Path) -> AnyResult<LocalEngine> {
    let f32 = DtypeChoice::Format(WeightFormat::F32);
    let limits = QueueLimits {
        waiting: 1000,
        waiting_per_client: 1000,
    };
    let model = models::open(ModelRequest::on_cpu(Source::Folder(folder.into()), f32))?;
    Ok(LocalEngine::start(model, limits, BatchLimits::default())?)
}

fn submit(engine: &LocalEngine, picture: &Arc<Picture>, asked: &ExpectedAnswer, most: usize) -> AnyResult<Events> {
    let instruction = match &asked.text {
        None => Instruction::Caption { prefix: None },
        Some(text) => Instruction::Raw(text.clone()),
    };
    Ok(engine.submit(Submission {
        client: ClientKey::from(1),
        network: None,
        deadline: None,
        picture: Arc::clone(picture),
        instruction,
        options: asked.options.options(most),
        stop_strings: asked.options.stop_strings.clone(),
    })?)
}

fn summary(mut events: Events) -> AnyResult<Summary> {
    loop {
        match events.blocking_recv().ok_or("the engine is gone")? {
            Event::Done(summary) => return Ok(summary),
            Event::Failed(error) => return Err(error.into()),
            _ => {}
        }
    }
}

/// What is wrong with an answer, if anything is.
fn complaint(asked: &ExpectedAnswer, got: &Summary) -> Option<String> {
    let what = format!("picture {}, {:?}", asked.picture, asked.text);
    if got.prompt_ids != asked.prompt_ids {
        return Some(format!("{what}: prompt {:?}", got.prompt_ids));
    }
    let ids = |written: &glimpse::engine::WrittenAnswer| -> Vec<u32> {
        written.sequence.tokens.iter().map(|token| token.id).collect()
    };
    let got_ids: Vec<Vec<u32>> = got.answers.iter().map(ids).collect();
    let want_ids: Vec<Vec<u32>> = asked.sequences.iter().map(|want| want.token_ids.clone()).collect();
    if got_ids != want_ids {
        return Some(format!("{what}: {got_ids:?} instead of {want_ids:?}"));
    }
    let near = |got: f32, want: f32| (got - want).abs() <= LOGPROB_TOLERANCE.max(1e-5 * want.abs());
    for (got, want) in got.answers.iter().zip(&asked.sequences) {
        if got.text != want.text.trim() {
            return Some(format!("{what}: {:?} instead of {:?}", got.text, want.text));
        }
        match (got.sequence.score, want.score) {
            (None, None) => {}
            (Some(got), Some(want)) if near(got, want) => {}
            scores => return Some(format!("{what}: scores {scores:?}")),
        }
        let logprobs = got.sequence.tokens.iter().map(|token| token.logprob);
        if let Some(pair) = logprobs
            .zip(want.logprobs.iter().flatten())
            .find(|(got, want)| !near(*got, **want))
        {
            return Some(format!("{what}: log-probabilities {pair:?}"));
        }
    }
    None
}

/// All at once, so that rows of different answers go on together.
#[test]
fn the_engine_answers_as_the_reference_does_however_many_ask() -> AnyResult<()> {
    let mut complaints = Vec::new();
    for folder in [folders(Task::Caption)?, folders(Task::Question)?].concat() {
        let golden = Golden::open(&folder, &own())?;
        let engine = engine(&folder)?;
        let pictures: Vec<Arc<Picture>> = (0..golden.expected.pictures.len())
            .map(|index| Ok(Arc::new(engine.prepare(&golden.picture(index)?))))
            .collect::<AnyResult<_>>()?;
        let most = golden.expected.max_new_tokens;
        let events: Vec<Events> = golden
            .expected
            .answers
            .iter()
            .map(|asked| submit(&engine, &pictures[asked.picture], asked, most))
            .collect::<AnyResult<_>>()?;
        assert!(events.len() >= 28, "{}", events.len());
        for (index, (asked, events)) in golden.expected.answers.iter().zip(events).enumerate() {
            let got = summary(events)?;
            if index % 9 == 0 {
                let alone = summary(submit(&engine, &pictures[asked.picture], asked, most)?)?;
                let sequences = |of: &Summary| -> Vec<Sequence> {
                    of.answers.iter().map(|answer| answer.sequence.clone()).collect()
                };
                assert_eq!(sequences(&got), sequences(&alone), "to the bit");
            }
            complaints.extend(complaint(asked, &got).map(|what| format!("{}: {what}", folder.display())));
        }
    }
    assert!(
        complaints.is_empty(),
        "{}:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
    Ok(())
}
