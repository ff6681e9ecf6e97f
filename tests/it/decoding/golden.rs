//! The golden checkpoints, and what each should answer.

use std::path::{Path, PathBuf};

use candle_core::Device;
use glimpse::blip2::{Blip2, EncodedPicture};
use glimpse::generation::{
    EarlyStopping, FinishReason, GenerationOptions, LogitsProcessors, Preset, Sequence, StopStrings, log_softmax,
    softmax,
};
use glimpse::models::Checkpoint;
use glimpse::nn::Placement;
use glimpse::processor::{Processor, Prompt, TextProcessor};
use serde::Deserialize;

use super::{AnyResult, draw};

const TOLERANCE: f32 = 1e-3;
/// For scores beyond 100, which a negative length penalty makes: a part of the score itself.
const RELATIVE_TOLERANCE: f32 = 1e-5;

/// `decoding/NN.json`.
#[derive(Deserialize)]
pub struct Golden {
    max_new_tokens: usize,
    pub answers: Vec<Asked<Answers>>,
    pub drawn: Asked<Drawn>,
}

#[derive(Deserialize)]
pub struct Asked<T> {
    /// The number that the picture is drawn from.
    picture: u64,
    kind: String,
    text: Option<String>,
    pub options: Settings,
    #[serde(flatten)]
    expected: T,
}

#[derive(Deserialize)]
pub struct Answers {
    sequences: Vec<ExpectedSequence>,
}

#[derive(Deserialize)]
pub struct ExpectedSequence {
    token_ids: Vec<u32>,
    score: Option<f32>,
    logprobs: Option<Vec<f32>>,
}

#[derive(Deserialize)]
pub struct Drawn {
    token_ids: Vec<u32>,
}

/// The reference's names; what is missing is the default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
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
            stop_strings: StopStrings::new(&self.stop_strings, text.token_bytes()),
            preset: Preset::Transformers,
            ..default
        }
    }
}

/// How the names of InstructBLIP's checkpoints begin.
const INSTRUCT: &str = "instruct-";

fn prompt(kind: &str, text: Option<&str>) -> Prompt {
    match text {
        None => Prompt::Caption,
        Some(text) if kind == "raw" => Prompt::Raw(text.into()),
        Some(text) => Prompt::Question(text.into()),
    }
}

/// A golden checkpoint and what it should answer.
pub struct Case {
    pub golden: Golden,
    distribution: Vec<Vec<f32>>,
    pub model: Blip2,
    processor: Processor,
}

impl Case {
    pub fn open(golden: &Path, name: &str, placement: &Placement) -> AnyResult<Self> {
        let folder = match name.strip_prefix(INSTRUCT) {
            Some(number) => golden.join("instruct").join(number),
            None => golden.join("checkpoints").join(name),
        };
        let checkpoint = Checkpoint::open(folder)?;
        let file = golden.join("decoding").join(name);
        let tensors = candle_core::safetensors::load(file.with_extension("safetensors"), &Device::Cpu)?;
        Ok(Self {
            golden: serde_json::from_slice(&std::fs::read(file.with_extension("json"))?)?,
            distribution: tensors["distribution"].to_vec2()?,
            model: checkpoint.load_blip2(placement)?,
            processor: checkpoint.processor()?,
        })
    }

    fn encode(&self, picture: u64) -> AnyResult<EncodedPicture> {
        let pixel_values = self.processor.image.pixel_values(&draw(picture))?;
        Ok(self.model.encode_picture(&pixel_values)?)
    }

    fn prompt_ids<T>(&self, asked: &Asked<T>) -> AnyResult<Vec<u32>> {
        let prompt = prompt(&asked.kind, asked.text.as_deref());
        Ok(self.processor.text.prompt_ids(&prompt)?)
    }

    fn instruction_ids<T>(&self, asked: &Asked<T>) -> AnyResult<Vec<u32>> {
        let prompt = prompt(&asked.kind, asked.text.as_deref());
        Ok(self.processor.text.instruction_ids(&prompt)?)
    }

    fn answer(&self, picture: &EncodedPicture, asked: &Asked<Answers>) -> AnyResult<Vec<Sequence>> {
        let options = asked.options.options(self.golden.max_new_tokens, &self.processor.text);
        let picture = self.model.instructed(picture, &self.instruction_ids(asked)?)?;
        let mut answer = self.model.generate(&picture, &self.prompt_ids(asked)?, &options)?;
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
    pub fn check_answers(&self) -> AnyResult<Vec<String>> {
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
    pub fn check_distribution(&self) -> AnyResult<f32> {
        let drawn = &self.golden.drawn;
        let pixel_values = self.processor.image.pixel_values(&draw(drawn.picture))?;
        let (instruction, prompt_ids) = (self.instruction_ids(drawn)?, self.prompt_ids(drawn)?);
        let language_model = &self.model.config().text_config;
        let mut ids = language_model.ids_before_answer(&prompt_ids).to_vec();
        let before = ids.len();
        let mut options = drawn.options.options(self.golden.max_new_tokens, &self.processor.text);
        options.do_sample = true;
        let rules = LogitsProcessors::new(&options, before, language_model.eos_token_ids());
        assert_eq!(drawn.expected.token_ids.len(), self.distribution.len());
        let mut worst = 0f32;
        for (token, want) in drawn.expected.token_ids.iter().zip(&self.distribution) {
            let logits = self
                .model
                .forward_instructed(&pixel_values, &instruction, &prompt_ids, &ids[before..])?;
            let logits: Vec<f32> = logits.get(ids.len() - before)?.to_vec1()?;
            let is_beams = options.num_beams > 1;
            let mut scores = if is_beams { log_softmax(&logits) } else { logits };
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

pub fn golden() -> PathBuf {
    std::env::var_os("GLIMPSE_GOLDEN").map_or_else(|| "tests/golden".into(), PathBuf::from)
}

pub fn names() -> AnyResult<Vec<String>> {
    let entries = std::fs::read_dir(golden().join("decoding"))?;
    let files: Vec<PathBuf> = entries
        .map(|entry| Ok(PathBuf::from(entry?.file_name())))
        .collect::<AnyResult<_>>()?;
    let is_list = |file: &&PathBuf| file.extension().is_some_and(|extension| extension == "json");
    let names = files.iter().filter(is_list).filter_map(|file| file.file_stem());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
