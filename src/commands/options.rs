//! Options that several commands share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use clap::Args;
use clap::builder::{BoolishValueParser, NonEmptyStringValueParser};

use super::flag_names::FlagNames;
use super::number_args::{Bytes, number, of, whole};
use super::preset::{PresetArg, Settings};
use super::threads::Threads;
use super::{UsageError, auto_model, progress};
use crate::checkpoint::Source;
use crate::engine::LoadFailure;
use crate::generation::{EarlyStopping, GenerationOptions, bounds};
use crate::models::auto::{Asked, Machine};
use crate::models::{
    self, DeviceChoice, DeviceError, DtypeChoice, LoadError, MemoryLimit, ModelRequest, OpenModel, Precision,
    available_memory, offered_precisions,
};

/// Which model answers, and where it runs.
#[derive(Args, Clone)]
pub struct ModelArgs {
    /// A folder with a BLIP-2 or BLIP checkpoint, or its id on the Hugging Face hub (owner/name or
    /// owner/name@revision), as `glimpse models` lists them; a folder that exists wins. Or auto: the best
    /// for this machine, and for what is asked, of those in the cache. For serve it may be given several times, or as a list with
    /// commas: visitors then choose, and the first answers who does not. For ask too: each of them answers,
    /// one after the other, with how long it took
    /// [default: the small demo model that is part of this program]
    #[arg(long, env = "GLIMPSE_MODEL", value_name = "ID|DIR|auto", value_parser = NonEmptyStringValueParser::new())]
    model: Vec<String>,

    #[command(flatten)]
    compute: ComputeArgs,
}

/// Where models run, and in what.
#[derive(Args, Clone)]
pub struct ComputeArgs {
    #[command(flatten)]
    place: PlaceArgs,

    /// auto, f32, f16, bf16, q8_0, q4_0 or q4_k: how weights are stored. On a GPU auto is f16 with
    /// OPT (the Q-Former in f32, as in the reference), and with T5, whose numbers are too large for
    /// f16, bf16, or f32 where the GPU has no bf16 (before compute capability 8.0); on the CPU f32
    /// for a small model, and q8_0 for a large one, which is the fastest that shows no loss
    #[arg(long, env = "GLIMPSE_DTYPE", default_value = "auto", value_name = "DTYPE")]
    dtype: DtypeChoice,

    /// A folder in which the model's matrices are kept as they are multiplied on the CPU, so that the
    /// next start takes a fraction of the time, and as much disk as the model takes memory; off for
    /// none [default: for serve the folder "packed" in --data, otherwise none]
    #[arg(long, env = "GLIMPSE_PACKED_WEIGHTS", value_name = "DIR|off")]
    packed_weights: Option<PathBuf>,

    /// How many threads compute; auto is one for each core that this process may use: those of
    /// CPU_CORES where a host sets it, within its container's limit
    #[arg(long, env = "GLIMPSE_THREADS", default_value = "auto", value_name = "N|auto")]
    threads: Threads,
}

/// Where a model is to run, and how much of it may be taken.
#[derive(Args, Clone)]
pub struct PlaceArgs {
    /// auto, cpu, cuda, cuda:N or metal; auto takes a GPU if this program and the machine have one
    #[arg(long, env = "GLIMPSE_DEVICE", default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,

    /// How much memory the model may take, as in 12GB
    /// [default: what is free where it runs]
    #[arg(long, env = "GLIMPSE_MAX_MEMORY", value_name = "SIZE")]
    pub max_memory: Option<Bytes>,
}

impl ModelArgs {
    /// Starts the threads that compute; gives their number.
    pub fn start_threads(&self) -> usize {
        self.compute.threads.start()
    }

    /// Where packed weights are kept unless the user says it.
    pub fn packed_weights_default(&mut self, folder: PathBuf) {
        self.compute.packed_weights.get_or_insert(folder);
    }

    /// Loads the only model that is named, and says where it runs. Where the best is to be found, it is the
    /// best for what is asked.
    ///
    /// # Errors
    /// It cannot be loaded, or several are named.
    pub fn load(&self, asked: Asked) -> Result<OpenModel, LoadFailure> {
        self.start_threads();
        let mut requests = self.requests(asked)?.into_iter();
        let request = requests.next().filter(|_| requests.next().is_none());
        Ok(open(request.ok_or_else(|| UsageError(ONE_MODEL.into()))?)?)
    }

    /// The models that are named, and how each is to be loaded; at least one. Where the best is to be
    /// found for what is asked, somebody at a terminal may be asked.
    ///
    /// # Errors
    /// What is named is no folder and no id, or the device is not there.
    pub fn requests(&self, asked: Asked) -> Result<Vec<ModelRequest>, LoadFailure> {
        let mut requests = Vec::new();
        for name in self.names() {
            let (source, dtype) = match name {
                auto_model::AUTO if !Path::new(name).is_dir() => {
                    auto_model::choose(&self.compute.place, self.compute.dtype, asked)?
                }
                name => (name.parse()?, self.compute.dtype),
            };
            requests.push(self.compute.request(source, dtype));
        }
        if requests.is_empty() {
            requests.push(self.compute.request(Source::Demo, self.compute.dtype));
        }
        Ok(requests)
    }

    /// How many models are named; the demo model is one, where none is.
    pub fn number(&self) -> usize {
        self.names().count().max(1)
    }

    /// What is named, by flags or in a list; a folder's name may have commas.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.model.iter().flat_map(|named| match Path::new(named).is_dir() {
            true => vec![named.as_str()],
            false => named
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .collect(),
        })
    }

    /// What else could be run there; none where the device is not there.
    pub fn machine(&self) -> Option<Machine> {
        let device = self.compute.place.device.open().ok()?;
        Some(Machine {
            asked: Asked::Anything,
            limit: self.compute.place.limit(&device),
            device,
            dtype: self.compute.dtype,
        })
    }

    /// Bytes that all models may take where they run, as far as somebody says it.
    ///
    /// # Errors
    /// The device is not there.
    pub fn memory(&self) -> Result<Option<u64>, DeviceError> {
        let device = self.compute.place.device.open()?;
        Ok(self.compute.place.limit(&device).map(|limit| limit.bytes))
    }
}

impl ComputeArgs {
    /// Loads a model, and says where it runs.
    ///
    /// # Errors
    /// As [`models::open`].
    pub fn load(&self, source: Source) -> Result<OpenModel, LoadError> {
        self.threads.start();
        open(self.request(source, self.dtype))
    }

    fn request(&self, source: Source, dtype: DtypeChoice) -> ModelRequest {
        ModelRequest {
            source,
            device: self.place.device,
            dtype,
            max_memory: self.place.max_bytes(),
            packed_weights: self.packed_weights.clone().filter(|folder| folder.as_os_str() != "off"),
            progress: Arc::new(progress::Terminal),
        }
    }
}

const ONE_MODEL: &str =
    "--model (GLIMPSE_MODEL) names several models, which only `glimpse serve` and `glimpse ask` take. Name one.";

/// Loads a model, and says where it runs.
///
/// # Errors
/// As [`models::open`].
pub fn open(request: ModelRequest) -> Result<OpenModel, LoadError> {
    tracing::info!("loading {}", request.source);
    let model = models::open(request)?;
    tracing::info!(
        "{} on {} in {}, loaded in {:.0} ms",
        model.name,
        model.device,
        model.dtype,
        model.load_ms
    );
    Ok(model)
}

impl PlaceArgs {
    /// The bytes that the user allows.
    pub fn max_bytes(&self) -> Option<u64> {
        self.max_memory.map(|size| size.0)
    }

    /// How much a model may take on a device that was opened.
    pub fn limit(&self, device: &Device) -> Option<MemoryLimit> {
        let limit = self.max_bytes().map(MemoryLimit::chosen);
        limit.or_else(|| available_memory::available(device))
    }

    /// What fits there: the memory, and what `--dtype` can mean there.
    pub fn look(&self) -> Result<(Option<MemoryLimit>, Vec<Precision>), DeviceError> {
        let device = self.device.open()?;
        Ok((self.limit(&device), offered_precisions(&device)))
    }
}

/// How answers are generated; named, and where nothing else is said with the same defaults,
/// as in transformers' `generate`.
#[derive(Args, Clone)]
#[command(next_help_heading = "Generation")]
pub struct GenerationArgs {
    /// The most tokens an answer may have
    #[arg(long, env = "GLIMPSE_MAX_NEW_TOKENS", default_value_t = 50, value_name = "N",
          allow_negative_numbers = true, value_parser = whole::<u16>(of(bounds::MAX_NEW_TOKENS)))]
    max_new_tokens: u16,

    /// The fewest tokens before an answer may end
    #[arg(long, env = "GLIMPSE_MIN_NEW_TOKENS", default_value_t = 0, value_name = "N",
          allow_negative_numbers = true, value_parser = whole::<u16>(of(bounds::MIN_NEW_TOKENS)))]
    min_new_tokens: u16,

    /// Beams of beam search, 1 to 10; 1 takes the likeliest token each time
    #[arg(long, env = "GLIMPSE_NUM_BEAMS", default_value_t = 1, value_name = "N",
          allow_negative_numbers = true, value_parser = whole::<usize>(of(bounds::NUM_BEAMS)))]
    num_beams: usize,

    /// With beams: above 0 prefers long answers, below 0 short ones; -10 to 10
    #[arg(long, env = "GLIMPSE_LENGTH_PENALTY", default_value_t = 1.0, value_name = "X",
          allow_negative_numbers = true, value_parser = number(bounds::LENGTH_PENALTY))]
    length_penalty: f64,

    /// With beams: end when there are as many answers as beams (true), when no better one is
    /// likely (false), or when none is possible (never)
    #[arg(long, env = "GLIMPSE_EARLY_STOPPING", default_value = "false", value_name = "WHEN")]
    early_stopping: EarlyStoppingArg,

    /// Draw tokens by their probabilities
    #[arg(long, env = "GLIMPSE_DO_SAMPLE", value_parser = BoolishValueParser::new())]
    do_sample: bool,

    /// When drawing: below 1 is more predictable, above 1 more varied; 0.01 to 100
    #[arg(long, env = "GLIMPSE_TEMPERATURE", default_value_t = 1.0, value_name = "X",
          allow_negative_numbers = true, value_parser = number(bounds::TEMPERATURE))]
    temperature: f64,

    /// When drawing: from this many likeliest tokens; 0 is all
    #[arg(long, env = "GLIMPSE_TOP_K", default_value_t = 50, value_name = "N",
          allow_negative_numbers = true, value_parser = whole::<usize>(of(bounds::TOP_K)))]
    top_k: usize,

    /// When drawing: from the likeliest tokens that together have this probability; 0 to 1
    #[arg(long, env = "GLIMPSE_TOP_P", default_value_t = 1.0, value_name = "P",
          allow_negative_numbers = true, value_parser = number(bounds::TOP_P))]
    top_p: f64,

    /// When drawing: the same seed gives the same answer [default: another one each time]
    #[arg(long, env = "GLIMPSE_SEED", value_name = "N",
          allow_negative_numbers = true, value_parser = whole::<u64>(0..=u64::MAX))]
    seed: Option<u64>,

    /// Above 1, tokens that are in the question or the answer already become less likely; 0.01 to 100
    #[arg(long, env = "GLIMPSE_REPETITION_PENALTY", default_value_t = 1.0, value_name = "X",
          allow_negative_numbers = true, value_parser = number(bounds::REPETITION_PENALTY))]
    repetition_penalty: f64,

    /// No sequence of this many tokens comes twice; 0 is no such rule
    #[arg(long, env = "GLIMPSE_NO_REPEAT_NGRAM_SIZE", default_value_t = 0, value_name = "N",
          allow_negative_numbers = true, value_parser = whole::<usize>(of(bounds::NO_REPEAT_NGRAM_SIZE)))]
    no_repeat_ngram_size: usize,

    /// How many answers to give, 1 to 10: drawn ones, or the best beams
    #[arg(long, env = "GLIMPSE_NUM_RETURN_SEQUENCES", default_value_t = 1, value_name = "N",
          allow_negative_numbers = true, value_parser = whole::<usize>(of(bounds::NUM_RETURN_SEQUENCES)))]
    num_return_sequences: usize,

    /// End an answer behind this text; may be given several times (the variable holds one)
    #[arg(long, visible_alias = "stop", env = "GLIMPSE_STOP_STRINGS", value_name = "TEXT",
          value_parser = NonEmptyStringValueParser::new())]
    stop_strings: Vec<String>,

    /// Whose settings count where no flag says otherwise: lengths, beams and the like, as that
    /// program has them
    #[arg(long, env = "GLIMPSE_PRESET", default_value = "glimpse", value_name = "WHOSE")]
    preset: PresetArg,
}

/// [`EarlyStopping`] as it is typed.
#[derive(Clone, Copy, clap::ValueEnum)]
enum EarlyStoppingArg {
    False,
    True,
    Never,
}

impl GenerationArgs {
    /// How answers are generated, but for the stop strings, which need a tokenizer.
    ///
    /// # Errors
    /// Values that are out of range or contradict each other.
    pub fn settings(&self, flag_names: &FlagNames) -> Result<Settings, UsageError> {
        self.settings_with(flag_names, |_| ())
    }

    /// The same after a change to what was typed.
    ///
    /// # Errors
    /// As for [`GenerationArgs::settings`].
    pub fn settings_with(
        &self,
        flag_names: &FlagNames,
        change: impl FnOnce(&mut GenerationOptions),
    ) -> Result<Settings, UsageError> {
        let mut options = self.options();
        change(&mut options);
        let settings = Settings::new(options, self.preset, |name| flag_names.is_given(name));
        let checked = settings.first_look().check();
        checked.map_err(|error| UsageError(error.sentence(|setting| flag_names.name(setting))))?;
        Ok(settings)
    }

    fn options(&self) -> GenerationOptions {
        GenerationOptions {
            max_new_tokens: self.max_new_tokens.into(),
            min_new_tokens: self.min_new_tokens.into(),
            num_beams: self.num_beams,
            do_sample: self.do_sample,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            seed: self.seed,
            length_penalty: self.length_penalty,
            early_stopping: match self.early_stopping {
                EarlyStoppingArg::False => EarlyStopping::False,
                EarlyStoppingArg::True => EarlyStopping::True,
                EarlyStoppingArg::Never => EarlyStopping::Never,
            },
            repetition_penalty: self.repetition_penalty,
            no_repeat_ngram_size: self.no_repeat_ngram_size,
            num_return_sequences: self.num_return_sequences,
            // The lengths with what stands in front, and whose habits count, are the preset's.
            ..GenerationOptions::default()
        }
    }

    /// The texts that end an answer.
    pub fn stop_strings(&self) -> &[String] {
        &self.stop_strings
    }
}
