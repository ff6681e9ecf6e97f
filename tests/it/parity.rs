//! Parity with the reference: every golden checkpoint, from its pictures and
//! prompts to the text of its answers.
//!
//! The folders are made by `make golden`, with transformers in f32 on the CPU;
//! `GLIMPSE_GOLDEN=DIR` tests another set (`make golden SEED=1 OUT=DIR`). `checkpoints` are BLIP-2's,
//! `instruct` are InstructBLIP's.
//!
//! `GLIMPSE_TEST_DEVICE=cuda` and `GLIMPSE_TEST_DTYPE=f16` (or bf16) run the model
//! elsewhere and in less precision, as `make gpu-check` does; then every part must be
//! near the reference's f32, and tokens may differ where two were nearly as likely. How near
//! the logits must be at every step of every answer is measured: `half.json` says how far the
//! reference's own are in half precision, checkpoint by checkpoint.
//!
//! What must hold, in f32 on the CPU: pixel values equal to the bit; the
//! vision model, the Q-Former, the projection and the logits within 1e-4 of
//! the largest value; the same tokens; log-probabilities within 1e-3; the same
//! text.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use glimpse::blip2::Blip2;
use glimpse::blip2::config::ModelClass;
use glimpse::cpu::WeightFormat;
use glimpse::generation::{FinishReason, GenerationOptions, Preset};
use glimpse::models::{Checkpoint, ModelConfig};
use glimpse::models::{DeviceChoice, DtypeChoice};
use glimpse::nn::{Kernels, Placement};
use glimpse::processor::{Picture, PictureLimits, Processor, Prompt};
use serde::Deserialize;

const LOGPROB_TOLERANCE: f64 = 1e-3;

/// How many times as far from f32 as the reference's own logits ours may be in half precision: two
/// ways of rounding differ from each other as much as each does from f32, and the worst of a
/// hundred steps is a figure that moves.
const HALF_DISTANCES: f32 = 3.0;

/// How many times an error of a step's logits two tokens may be apart that change places by it:
/// each moves, and read token after token they move otherwise than in one pass.
const ERRORS_APART: f32 = 3.0;

/// Largest difference, relative to the largest value of the reference.
fn tolerance(model: &Blip2) -> f32 {
    match model.precision().weights {
        WeightFormat::F32 => 1e-4,
        // candle's products in f16 sum in f16 on the CPU, and in f32 on a GPU.
        WeightFormat::F16 if model.device().is_cpu() => 5e-2,
        WeightFormat::F16 => 2e-2,
        // The smallest of these random models double a rounding of bf16's eight bits a few times.
        // What is looked for on the CPU are operations that a GPU would compute wrongly.
        _ if model.device().is_cpu() => 4e-1,
        _ => 1e-1,
    }
}

/// How far half of all steps may be from f32, as a part of the logits' spread: about twice what the
/// worst checkpoint has. The worst step says nothing where the reference's own in bf16 is as far from
/// f32 as any other logits would be, as with T5.
fn median_tolerance(model: &Blip2) -> f32 {
    match model.precision().weights {
        WeightFormat::F16 => 0.04,
        _ => 0.16,
    }
}

/// The CPU, unless `GLIMPSE_TEST_DEVICE` says otherwise.
pub fn device_by_env() -> AnyResult<Device> {
    let device = std::env::var("GLIMPSE_TEST_DEVICE").unwrap_or_else(|_| "cpu".into());
    Ok(device.parse::<DeviceChoice>()?.open()?)
}

/// Where the model runs: the CPU in f32, unless the environment says otherwise.
fn placement_by_env(config: &ModelConfig) -> AnyResult<Placement> {
    let device = device_by_env()?;
    let dtype = std::env::var("GLIMPSE_TEST_DTYPE").unwrap_or_else(|_| "f32".into());
    let weights = dtype.parse::<DtypeChoice>()?.resolve(&device, config)?;
    Ok(Placement::new(device, weights)?)
}

type AnyResult<T> = Result<T, Box<dyn Error>>;

/// `expected.json`.
#[derive(Deserialize)]
struct Expected {
    pictures: Vec<ExpectedPicture>,
    max_new_tokens: usize,
    answers: Vec<ExpectedAnswer>,
}

#[derive(Deserialize)]
struct ExpectedPicture {
    file: String,
    checksum: String,
}

#[derive(Deserialize)]
struct ExpectedAnswer {
    picture: usize,
    /// The tensor with the logits of the first token, where they are kept.
    logits: Option<String>,
    kind: String,
    prompt: Option<String>,
    min_new_tokens: usize,
    prompt_ids: Vec<u32>,
    /// What an InstructBLIP's Q-Former reads.
    #[serde(default)]
    instruction_ids: Vec<u32>,
    token_ids: Vec<u32>,
    logprobs: Vec<f64>,
    text: String,
    ended: bool,
}

impl ExpectedAnswer {
    fn prompt(&self) -> AnyResult<Prompt> {
        let text = self.prompt.clone().unwrap_or_default();
        match self.kind.as_str() {
            "caption" => Ok(Prompt::Caption),
            "question" => Ok(Prompt::Question(text)),
            "raw" => Ok(Prompt::Raw(text)),
            kind => Err(format!("no prompt of the kind {kind}").into()),
        }
    }
}

/// A golden folder and what Glimpse makes of it.
struct Case {
    folder: PathBuf,
    expected: Expected,
    tensors: HashMap<String, Tensor>,
    model: Blip2,
    processor: Processor,
    /// Where the model does not compute in f32: the same in f32, and how far the reference's is from
    /// that at the worst step.
    exact: Option<(Blip2, f32)>,
}

impl Case {
    fn open(folder: &Path, placement: impl Fn(&ModelConfig) -> AnyResult<Placement>) -> AnyResult<Self> {
        let checkpoint = Checkpoint::open(folder)?;
        let model = checkpoint.load_blip2(&placement(checkpoint.config())?)?;
        let exact = match model.precision().weights {
            WeightFormat::F32 => None,
            weights => Some((
                checkpoint.load_blip2(&Placement::cpu(WeightFormat::F32))?,
                half_distance(folder, weights)?,
            )),
        };
        Ok(Self {
            folder: folder.to_path_buf(),
            expected: serde_json::from_slice(&std::fs::read(folder.join("expected.json"))?)?,
            tensors: candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu)?,
            model,
            exact,
            processor: checkpoint.processor()?,
        })
    }

    fn pixel_values(&self, picture: usize) -> AnyResult<Tensor> {
        let bytes = std::fs::read(self.folder.join(&self.expected.pictures[picture].file))?;
        let picture = Picture::decode(&bytes, &PictureLimits::default())?;
        Ok(self.processor.image.pixel_values(&picture)?)
    }

    /// What is wrong with a tensor of ours, if anything is. The reference keeps
    /// every n-th value of large tensors.
    fn compare(&self, name: &str, got: &Tensor) -> AnyResult<Option<String>> {
        let want: Vec<f32> = self.tensors[name].to_vec1()?;
        let got: Vec<f32> = got.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let got: Vec<f32> = got.iter().copied().step_by(got.len().div_ceil(SAMPLE)).collect();
        if got.len() != want.len() {
            return Ok(Some(format!("{name}: {} values instead of {}", got.len(), want.len())));
        }
        let largest = want.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let errors = got.iter().zip(&want).map(|(got, want)| (got - want).abs() / largest);
        // A NaN is within no tolerance.
        let worst = errors.max_by(f32::total_cmp).unwrap_or(0.0);
        let within = worst <= self.tolerance_of(name);
        Ok((!within).then(|| format!("{name}: off by {worst:.1e} of the largest value")))
    }

    /// Where the reference's own logits in half precision are further off than the dtype allows
    /// elsewhere, they are the measure, as at every step.
    fn tolerance_of(&self, name: &str) -> f32 {
        let tolerance = tolerance(&self.model);
        match &self.exact {
            Some((_, distance)) if name.starts_with("logits") && *distance > tolerance => HALF_DISTANCES * distance,
            _ => tolerance,
        }
    }

    /// Compares pixel values and every part of the model before the language model.
    fn check_picture(&self, picture: usize, complaints: &mut Vec<String>) -> AnyResult<Tensor> {
        let pixel_values = self.pixel_values(picture)?;
        if checksum(&pixel_values)? != self.expected.pictures[picture].checksum {
            complaints.push(format!("pixel values of picture {picture} differ"));
        }
        if picture == 0 {
            let on_device = pixel_values
                .to_device(self.model.device())?
                .to_dtype(self.model.precision().dtype)?;
            let image_embeds = self.model.vision.forward(&on_device)?;
            complaints.extend(self.compare("image_embeds", &image_embeds)?);
            if !self.is_instructed() {
                complaints.extend(self.compare("query_output", &self.model.qformer.forward(&image_embeds)?)?);
            }
        }
        let encoded = self.model.encode_picture(&pixel_values)?;
        if !self.is_instructed() {
            complaints.extend(self.compare(&format!("projected-{picture}"), &encoded)?);
        }
        Ok(encoded)
    }

    fn is_instructed(&self) -> bool {
        self.model.config().class() == ModelClass::InstructBlip
    }

    /// What the language model sees of a picture for what is asked, compared where the reference's is
    /// kept: for the first answer to each question.
    fn check_instruction(
        &self,
        encoded: &Tensor,
        want: &ExpectedAnswer,
        complaints: &mut Vec<String>,
    ) -> AnyResult<Tensor> {
        let ids = self.processor.text.instruction_ids(&want.prompt()?)?;
        if ids != want.instruction_ids {
            complaints.push(format!("instruction {ids:?} instead of {:?}", want.instruction_ids));
        }
        let seen = self.model.instructed(encoded, &want.instruction_ids)?;
        if let (true, Some(logits)) = (self.is_instructed(), &want.logits) {
            complaints.extend(self.compare(&logits.replace("logits", "projected"), &seen)?);
            if let Some(number) = logits.strip_prefix("logits-0-") {
                let queries = self.model.qformer.forward_instructed(encoded, &want.instruction_ids)?;
                complaints.extend(self.compare(&format!("query_output-{number}"), &queries)?);
            }
        }
        Ok(seen)
    }

    /// What is wrong with an answer, and in less precision than f32 how far each of its steps is from
    /// f32.
    fn check_answer(&self, encoded: &Tensor, want: &ExpectedAnswer) -> AnyResult<(Vec<String>, Vec<f32>)> {
        let mut complaints = Vec::new();
        let picture = self.check_instruction(encoded, want, &mut complaints)?;
        let prompt_ids = self.processor.text.prompt_ids(&want.prompt()?)?;
        if prompt_ids != want.prompt_ids {
            complaints.push(format!("prompt ids {prompt_ids:?} instead of {:?}", want.prompt_ids));
        }
        // More options than these two must not change what these two give.
        #[allow(clippy::needless_update)]
        let options = GenerationOptions {
            max_new_tokens: self.expected.max_new_tokens,
            min_new_tokens: want.min_new_tokens,
            preset: Preset::Transformers,
            ..GenerationOptions::default()
        };
        let mut answer = self.model.generate(&picture, &want.prompt_ids, &options)?;
        if let Some(name) = &want.logits {
            let logits = Tensor::new(answer.logits(), &Device::Cpu)?;
            complaints.extend(self.compare(name, &logits)?);
        }
        let (mut ids, mut logprobs) = (Vec::new(), Vec::new());
        while let Some(token) = answer.next_token()? {
            ids.push(token.id);
            logprobs.push(f64::from(token.logprob));
        }
        if let Some((exact, distance)) = &self.exact {
            let (of_steps, distances) = self.check_steps(exact, *distance, want, &ids)?;
            complaints.extend(of_steps);
            return Ok((complaints, distances));
        }
        if ids != want.token_ids {
            complaints.push(format!("tokens {ids:?} instead of {:?}", want.token_ids));
        }
        let near = |(got, want): (&f64, &f64)| (got - want).abs() <= LOGPROB_TOLERANCE;
        if logprobs.len() != want.logprobs.len() || !logprobs.iter().zip(&want.logprobs).all(near) {
            complaints.push(format!("log-probabilities {logprobs:?} instead of {:?}", want.logprobs));
        }
        let text = self.processor.text.decode(&ids);
        if text != want.text {
            complaints.push(format!("text {text:?} instead of {:?}", want.text));
        }
        if (answer.finish_reason() == Some(FinishReason::Stop)) != want.ended {
            complaints.push(format!("finish reason {:?}", answer.finish_reason()));
        }
        let named = complaints
            .into_iter()
            .map(|what| format!("{} {:?}: {what}", want.kind, want.prompt));
        Ok((named.collect(), Vec::new()))
    }

    /// In less precision than f32: compares the logits behind each of the reference's tokens with
    /// those in f32, and the tokens (`ids`) that were said instead.
    fn check_steps(
        &self,
        exact: &Blip2,
        distance: f32,
        want: &ExpectedAnswer,
        ids: &[u32],
    ) -> AnyResult<(Vec<String>, Vec<f32>)> {
        let mut complaints = Vec::new();
        let pixel_values = self.pixel_values(want.picture)?;
        let (_, read) = want.token_ids.split_last().ok_or("an answer has a token")?;
        let logits = |model: &Blip2| -> AnyResult<Vec<Vec<f32>>> {
            let logits = model.forward_instructed(&pixel_values, &want.instruction_ids, &want.prompt_ids, read)?;
            Ok(logits.to_dtype(DType::F32)?.to_vec2()?)
        };
        let (exact, got) = (logits(exact)?, logits(&self.model)?);
        let distances = exact.iter().zip(&got).map(|(exact, got)| distance_of_step(exact, got));
        let distances: Vec<f32> = distances.collect();
        // A NaN is within no tolerance.
        let worst = distances.iter().copied().max_by(f32::total_cmp).unwrap_or(f32::NAN);
        if worst.is_nan() || worst > HALF_DISTANCES * distance {
            complaints.push(format!("logits off by {worst:.1e} of their spread at a step"));
        }
        let differs = |(ours, theirs): (&u32, &u32)| ours != theirs;
        if let Some(step) = ids.iter().zip(&want.token_ids).position(differs) {
            let (ours, theirs) = (ids[step] as usize, want.token_ids[step] as usize);
            let errors = exact[step]
                .iter()
                .zip(&got[step])
                .map(|(exact, got)| (exact - got).abs());
            let apart = exact[step][theirs] - exact[step][ours];
            if apart > ERRORS_APART * errors.fold(0.0, f32::max) {
                complaints.push(format!(
                    "token {ours} instead of {theirs}, which was {apart:.1e} likelier"
                ));
            }
        } else if ids.len() != want.token_ids.len() {
            complaints.push(format!("{} tokens instead of {}", ids.len(), want.token_ids.len()));
        }
        Ok((complaints, distances))
    }

    fn check(&self) -> AnyResult<Vec<String>> {
        let mut complaints = Vec::new();
        let mut pictures = Vec::new();
        for picture in 0..self.expected.pictures.len() {
            pictures.push(self.check_picture(picture, &mut complaints)?);
        }
        let mut distances = Vec::new();
        for answer in &self.expected.answers {
            let (of_answer, of_steps) = self.check_answer(&pictures[answer.picture], answer)?;
            complaints.extend(of_answer);
            distances.extend(of_steps);
        }
        if let Some((_, distance)) = &self.exact {
            let median = median(&mut distances);
            if median.is_nan() || median > distance.min(median_tolerance(&self.model)) {
                complaints.push(format!(
                    "half of the steps are off by {median:.1e} of the logits' spread"
                ));
            }
        }
        Ok(complaints)
    }
}

fn median(numbers: &mut [f32]) -> f32 {
    numbers.sort_by(f32::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f32::NAN)
}

/// The difference's length as a part of that of the logits around their mean.
fn distance_of_step(exact: &[f32], got: &[f32]) -> f32 {
    let mean = exact.iter().sum::<f32>() / exact.len() as f32;
    let length = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|x| x * x).sum::<f32>().sqrt();
    let difference = length(&mut exact.iter().zip(got).map(|(exact, got)| got - exact));
    difference / length(&mut exact.iter().map(|exact| exact - mean))
}

/// How far the reference's logits in half precision are from its own in f32, at the worst step.
fn half_distance(folder: &Path, weights: WeightFormat) -> AnyResult<f32> {
    let file = folder
        .ancestors()
        .nth(2)
        .ok_or("it lies in a golden folder")?
        .join("half.json");
    let distances: HashMap<String, HashMap<String, f32>> = serde_json::from_slice(&std::fs::read(file)?)?;
    let part = |folder: Option<&Path>| {
        let name = folder.and_then(Path::file_name).unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let name = match part(folder.parent()).as_str() {
        "checkpoints" => part(Some(folder)),
        set => format!("{set}/{}", part(Some(folder))),
    };
    let distance = distances.get(&name).and_then(|distances| distances.get(weights.name()));
    Ok(*distance.ok_or_else(|| format!("half.json knows no {} of {name}", weights.name()))?)
}

/// The most values that the reference keeps of a tensor.
const SAMPLE: usize = 1024;

/// The sum of the values' bits, each times an odd number of its place.
fn checksum(values: &Tensor) -> candle_core::Result<String> {
    let values: Vec<f32> = values.flatten_all()?.to_vec1()?;
    let terms = (0u64..)
        .zip(values)
        .map(|(place, value)| u64::from(value.to_bits()).wrapping_mul(2 * place + 1));
    Ok(terms.fold(0u64, u64::wrapping_add).to_string())
}

/// A set's folders; other ones than the committed may have fewer sets.
fn folders_in(golden: &Path, set: &str) -> AnyResult<Vec<PathBuf>> {
    if !golden.join(set).is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(golden.join(set))?;
    let mut folders = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    folders.sort();
    Ok(folders)
}

#[test]
fn every_checkpoint_answers_as_the_reference_does() -> AnyResult<()> {
    every_checkpoint_answers_so(placement_by_env)
}

/// What a GPU runs, on the CPU: in f32 the reference's tokens, in half precision its logits at every
/// step as nearly as the dtype allows.
#[test]
fn candles_operations_compute_what_the_reference_does_in_every_dtype() -> AnyResult<()> {
    let mut complaints = Vec::new();
    for weights in [WeightFormat::F32, WeightFormat::F16, WeightFormat::Bf16] {
        let placement = Placement::with_kernels(Device::Cpu, weights, Kernels::Candle);
        if let Err(error) = every_checkpoint_answers_so(|_| Ok(placement.clone())) {
            complaints.push(format!("in {}:\n{error}", weights.name()));
        }
    }
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(complaints.join("\n").into())
    }
}

fn every_checkpoint_answers_so(placement: impl Fn(&ModelConfig) -> AnyResult<Placement>) -> AnyResult<()> {
    let golden = std::env::var_os("GLIMPSE_GOLDEN").map_or_else(|| "tests/golden".into(), PathBuf::from);
    let mut folders = folders_in(&golden, "checkpoints")?;
    assert!(
        !folders.is_empty(),
        "no golden checkpoints; make them with `make golden`"
    );
    folders.extend(folders_in(&golden, "instruct")?);
    let mut complaints = Vec::new();
    for folder in &folders {
        let outcome = Case::open(folder, &placement).and_then(|case| case.check());
        let found = outcome.unwrap_or_else(|error| vec![error.to_string()]);
        complaints.extend(found.into_iter().map(|what| format!("{}: {what}", folder.display())));
    }
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(complaints.join("\n").into())
    }
}

#[test]
fn the_committed_set_covers_what_it_should() -> AnyResult<()> {
    let folders = folders_in(Path::new("tests/golden"), "checkpoints")?;
    let configs = folders
        .iter()
        .map(|folder| Ok(serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?))
        .collect::<AnyResult<Vec<serde_json::Value>>>()?;
    let any = |pointer: &str, wanted: serde_json::Value| {
        configs.iter().any(|config| config.pointer(pointer) == Some(&wanted))
    };
    assert!(folders.len() >= 24, "{} checkpoints", folders.len());
    for dtype in ["float32", "float16", "bfloat16"] {
        assert!(any("/dtype", dtype.into()), "no checkpoint is stored as {dtype}");
    }
    for frequency in [1, 3] {
        assert!(
            any("/qformer_config/cross_attention_frequency", frequency.into()),
            "frequency {frequency}"
        );
    }
    assert!(any("/vision_config/image_size", 364.into()));
    assert!(any("/vision_config/qkv_bias", false.into()));
    for flag in [
        "do_layer_norm_before",
        "enable_bias",
        "layer_norm_elementwise_affine",
        "tie_word_embeddings",
    ] {
        assert!(
            any(&format!("/text_config/{flag}"), false.into()),
            "{flag} is true everywhere"
        );
    }
    assert!(
        configs
            .iter()
            .any(|config| config["text_config"]["eos_token_id"].is_array()),
        "no list of end tokens"
    );
    assert!(
        configs.iter().any(|config| config.get("num_query_tokens").is_none()),
        "every key is written out"
    );
    let in_shards = |folder: &&PathBuf| folder.join("model.safetensors.index.json").is_file();
    assert!(
        folders.iter().any(|folder| in_shards(&folder)),
        "no checkpoint in shards"
    );
    let layout = |file: &str| folders.iter().filter(|folder| folder.join(file).is_file()).count();
    assert!(layout("preprocessor_config.json") > 0 && layout("preprocessor_config.json") < folders.len());
    Ok(())
}
