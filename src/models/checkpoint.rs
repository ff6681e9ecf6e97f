//! A checkpoint that holds what its config asks for, and the model that it becomes.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::inventory::{head, inventory, may_be_left};
use super::{CheckpointMetadata, LoadError, ModelConfig, Network};
use crate::blip::Blip;
use crate::blip::config::Task;
use crate::blip2::Blip2;
use crate::blip2::config::ModelClass;
use crate::blip2::retrieval::Blip2Retrieval;
use crate::checkpoint::{CheckpointError, Files, MappedTensors, Source, Tensors, progress};
use crate::cpu::WeightFormat;
use crate::nn::{PackedWeights, Placement, Weights};
use crate::processor::Processor;

/// An opened checkpoint: its small files read, its weights mapped and their shapes checked.
pub struct Checkpoint {
    files: Files,
    config: ModelConfig,
    tensors: Arc<MappedTensors>,
}

impl Checkpoint {
    /// Opens a folder with an unmodified Hugging Face checkpoint.
    ///
    /// # Errors
    /// What is missing, damaged, or no model that Glimpse runs.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, LoadError> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            return Err(CheckpointError::NoFolder(folder.display().to_string()).into());
        }
        CheckpointMetadata::find(&Source::Folder(folder.into()), progress::silent())?.open()
    }

    /// Opens the demo model that is part of the program.
    ///
    /// # Errors
    /// None, as a test sees.
    pub fn demo() -> Result<Self, LoadError> {
        CheckpointMetadata::find(&Source::Demo, progress::silent())?.open()
    }

    pub(super) fn new(files: Files, config: ModelConfig) -> Result<Self, LoadError> {
        let tensors = files.open_tensors()?;
        let config = with_task(config, &tensors)?;
        let has_head = head(&config).is_some_and(|head| tensors.contains(head));
        for wanted in inventory(&config, has_head) {
            // Where there is neither, the first is told.
            let other = wanted.or.filter(|other| tensors.contains(other));
            tensors.check(files.name(), &other.unwrap_or(wanted.name), &wanted.shape)?;
        }
        let checkpoint = Self {
            files,
            config,
            tensors: Arc::new(tensors),
        };
        checkpoint.warn_of_unused_tensors();
        Ok(checkpoint)
    }

    /// The tensors of its files that the model leaves where they are, but for those that sound files
    /// may hold.
    pub fn unused_tensors(&self) -> Vec<&str> {
        let asked = inventory(&self.config, self.has_head());
        let names = asked.iter().flat_map(|tensor| [Some(&tensor.name), tensor.or.as_ref()]);
        let asked: HashSet<&str> = names.flatten().map(String::as_str).collect();
        let is_unused = |name: &&str| !asked.contains(name) && !may_be_left(name, &self.config);
        self.tensors.names().filter(is_unused).collect()
    }

    /// With fewer layers than its weights have, a model answers, and wrongly.
    fn warn_of_unused_tensors(&self) {
        let unused = self.unused_tensors();
        if let Some(first) = unused.first() {
            tracing::warn!(
                "the weights of {} hold {} tensors that its config.json does not ask for, as {first}: its answers may be wrong. Check that config.json belongs to the weights",
                self.name(),
                unused.len()
            );
        }
    }

    /// What the checkpoint is called: the folder's name, or its id on the hub.
    pub fn name(&self) -> &str {
        self.files.name()
    }

    /// Whether this is the demo model that is part of the program.
    pub fn is_demo(&self) -> bool {
        self.files.is_demo()
    }

    /// `config.json`, which the weights were checked against.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Whether the file holds a head of the language model's own.
    pub fn has_head(&self) -> bool {
        head(&self.config).is_some_and(|head| self.tensors.contains(head))
    }

    /// Bytes of the model's tensors in the files.
    pub fn stored_bytes(&self) -> u64 {
        let tensors = inventory(&self.config, self.has_head());
        tensors
            .iter()
            .map(|tensor| {
                let other = tensor.or.as_ref().map_or(0, |other| self.tensors.stored_bytes(other));
                self.tensors.stored_bytes(&tensor.name) + other
            })
            .sum()
    }

    /// The small files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The tensors by name, to be converted onto a device one at a time.
    pub fn tensors(&self) -> Tensors {
        let what = format!("loading {}", self.name());
        let progress = self.files.progress().begin(&what, self.stored_bytes());
        Tensors::new(Arc::clone(&self.tensors), progress)
    }

    /// What tells its weights from others'; none of the demo model.
    pub fn fingerprint(&self) -> Option<String> {
        self.tensors.fingerprint()
    }

    /// Where this checkpoint's matrices are kept in a folder, packed in a format: a file for each
    /// model and format. None for the demo model, which loads at once.
    pub fn packed_in(&self, folder: &Path, format: WeightFormat) -> Option<PackedWeights> {
        let fingerprint = self.fingerprint()?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let name = self.name().trim_end_matches('/').replace(|c| !is_plain(c), "-");
        let name = name.trim_matches(['-', '.']);
        let file = folder.join(format!("{name}-{}.packed", format.name()));
        Some(PackedWeights::open(file, fingerprint))
    }

    /// Reads the weights to where the model computes, converting them tensor by tensor.
    ///
    /// # Errors
    /// No memory, a device that fails, or a tensor that is missing or has another shape.
    pub fn load(&self, placement: &Placement) -> Result<Network, LoadError> {
        self.load_packed(placement, None)
    }

    /// As [`Checkpoint::load`], of a checkpoint that is to be BLIP-2.
    ///
    /// # Errors
    /// As for [`Checkpoint::load`], and another model.
    pub fn load_blip2(&self, placement: &Placement) -> Result<Blip2, LoadError> {
        match self.load(placement)? {
            Network::Blip2(model) => Ok(model),
            _ => Err(self.is_no("BLIP-2 that answers")),
        }
    }

    /// As [`Checkpoint::load`], of a checkpoint that is to be BLIP-2 that compares texts with pictures.
    ///
    /// # Errors
    /// As for [`Checkpoint::load`], and another model.
    pub fn load_retrieval(&self, placement: &Placement) -> Result<Blip2Retrieval, LoadError> {
        match self.load(placement)? {
            Network::Blip2Retrieval(model) => Ok(model),
            _ => Err(self.is_no("BLIP-2 that compares")),
        }
    }

    /// As [`Checkpoint::load`], of a checkpoint that is to be BLIP.
    ///
    /// # Errors
    /// As for [`Checkpoint::load`], and another model.
    pub fn load_blip(&self, placement: &Placement) -> Result<Blip, LoadError> {
        match self.load(placement)? {
            Network::Blip(model) => Ok(model),
            _ => Err(self.is_no("BLIP")),
        }
    }

    fn is_no(&self, wanted: &'static str) -> LoadError {
        LoadError::NotThisModel {
            name: self.name().into(),
            wanted,
        }
    }

    /// As [`Checkpoint::load`], with matrices from where they are kept as our kernels want them.
    ///
    /// # Errors
    /// As for [`Checkpoint::load`].
    pub fn load_packed(&self, placement: &Placement, packed: Option<Arc<PackedWeights>>) -> Result<Network, LoadError> {
        let placement = Placement {
            precision: self.config.precision(placement.precision),
            ..placement.clone()
        };
        let weights = Weights::new(self.tensors(), placement.clone()).packed_in(packed);
        let network = Network::new(&self.config, weights);
        // A GPU's work is queued by thread, and the model answers on another than it is loaded on.
        let loaded = network.and_then(|network| placement.device.synchronize().map(|()| network));
        loaded.map_err(|error| LoadError::of_weights(self.name(), error))
    }

    /// What stands between a visitor and the model.
    ///
    /// # Errors
    /// A file that is missing or makes no sense, by name.
    pub fn processor(&self) -> Result<Processor, LoadError> {
        super::load_processor::load(self)
    }
}

/// What a model of BLIP does is told by its tensors where its config does not say it.
fn with_task(config: ModelConfig, tensors: &MappedTensors) -> Result<ModelConfig, LoadError> {
    match config {
        ModelConfig::Blip(config) if config.task.is_none() => {
            let names: Vec<&str> = tensors.names().collect();
            let task = Task::of_tensors(names.iter().copied());
            Ok(ModelConfig::Blip(config.with_task(task)?))
        }
        ModelConfig::Blip2(mut config) => {
            let class = config.named_class;
            config.named_class = Some(class.unwrap_or_else(|| ModelClass::of_tensors(|name| tensors.contains(name))));
            Ok(ModelConfig::Blip2(config))
        }
        config => Ok(config),
    }
}
