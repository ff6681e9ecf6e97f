//! The tensors of a checkpoint: one `model.safetensors`, or shards with an index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use candle_core::safetensors::{BufferedSafetensors, MmapedSafetensors};
use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use serde::Deserialize;

use super::CheckpointError;
use super::files::Files;

const SINGLE_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";

/// The tensors, not yet read.
pub enum Weights {
    Mapped(MmapedSafetensors),
    Buffered(BufferedSafetensors, BTreeSet<String>),
}

impl Weights {
    /// Maps the weight files, reading no more than their headers.
    pub fn open(files: &Files) -> std::result::Result<Self, CheckpointError> {
        let damaged = |error: candle_core::Error| CheckpointError::Damaged {
            file: SINGLE_FILE.into(),
            reason: error.to_string(),
        };
        match files {
            Files::Folder(folder) => Self::open_folder(files, folder),
            Files::Demo => {
                let bytes = files.read(SINGLE_FILE)?;
                let tensors = BufferedSafetensors::new(bytes).map_err(damaged)?;
                let names = tensors.tensors().into_iter().map(|(name, _)| name).collect();
                Ok(Self::Buffered(tensors, names))
            }
        }
    }

    fn open_folder(files: &Files, folder: &Path) -> std::result::Result<Self, CheckpointError> {
        if files.contains(SINGLE_FILE) {
            return map(folder, &[SINGLE_FILE.to_string()]).map(Self::Mapped);
        }
        if files.contains(INDEX_FILE) {
            let index = Index::parse(&files.read_text(INDEX_FILE)?)?;
            let shards = index.shards(files)?;
            let mapped = map(folder, &shards)?;
            index.check(&mapped)?;
            return Ok(Self::Mapped(mapped));
        }
        if files.contains("pytorch_model.bin") || files.contains("pytorch_model.bin.index.json") {
            return Err(CheckpointError::PickledWeights {
                folder: files.describe(),
            });
        }
        Err(files.missing(SINGLE_FILE))
    }

    fn contains(&self, name: &str) -> bool {
        match self {
            Self::Mapped(tensors) => tensors.get(name).is_ok(),
            Self::Buffered(_, names) => names.contains(name),
        }
    }

    fn load(&self, name: &str, device: &Device) -> Result<Tensor> {
        if !self.contains(name) {
            return Err(candle_core::Error::CannotFindTensor { path: name.to_string() });
        }
        match self {
            Self::Mapped(tensors) => tensors.load(name, device),
            Self::Buffered(tensors, _) => tensors.load(name, device),
        }
    }

    fn shape(&self, name: &str) -> Result<Shape> {
        Ok(match self {
            Self::Mapped(tensors) => tensors.get(name)?.shape().into(),
            Self::Buffered(tensors, _) => tensors.get(name)?.shape().into(),
        })
    }
}

/// Maps files one by one, so that a damaged one is named.
fn map(folder: &Path, names: &[String]) -> std::result::Result<MmapedSafetensors, CheckpointError> {
    let mut paths = Vec::with_capacity(names.len());
    for name in names {
        let path = folder.join(name);
        std::fs::File::open(&path).map_err(|error| CheckpointError::Unreadable {
            file: name.clone(),
            reason: error.to_string(),
        })?;
        // SAFETY: the checkpoint's files are not written to while the program runs, as
        // everywhere where weights are mapped; a file cut short under us ends the process.
        unsafe { MmapedSafetensors::new(&path) }.map_err(|error| CheckpointError::Damaged {
            file: name.clone(),
            reason: brief(&error),
        })?;
        paths.push(path);
    }
    // SAFETY: as above.
    unsafe { MmapedSafetensors::multi(&paths) }.map_err(|error| CheckpointError::Damaged {
        file: names.join(", "),
        reason: brief(&error),
    })
}

/// candle's errors repeat the path and may carry a backtrace; the first line says it.
fn brief(error: &candle_core::Error) -> String {
    let text = match error {
        candle_core::Error::WithPath { inner, .. } => inner.to_string(),
        other => other.to_string(),
    };
    text.lines().next().unwrap_or_default().to_string()
}

/// `model.safetensors.index.json`: which shard holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Index {
    fn parse(json: &str) -> std::result::Result<Self, CheckpointError> {
        let damaged = |reason: String| CheckpointError::Damaged {
            file: INDEX_FILE.into(),
            reason,
        };
        let index: Self = serde_json::from_str(json).map_err(|error| damaged(error.to_string()))?;
        if index.weight_map.is_empty() {
            return Err(damaged("its weight_map is empty".into()));
        }
        // Shards lie beside their index; a path out of the folder is no shard.
        match index
            .weight_map
            .values()
            .find(|shard| shard.is_empty() || *shard == ".." || shard.contains(['/', '\\']))
        {
            Some(shard) => Err(damaged(format!("{shard} is not the name of a file beside it"))),
            None => Ok(index),
        }
    }

    /// The shards' names, each once, all of them there.
    fn shards(&self, files: &Files) -> std::result::Result<Vec<String>, CheckpointError> {
        let shards: BTreeSet<&String> = self.weight_map.values().collect();
        match shards.iter().find(|shard| !files.contains(shard)) {
            Some(shard) => Err(files.missing(shard)),
            None => Ok(shards.into_iter().cloned().collect()),
        }
    }

    fn check(&self, tensors: &MmapedSafetensors) -> std::result::Result<(), CheckpointError> {
        match self.weight_map.iter().find(|(name, _)| tensors.get(name).is_err()) {
            Some((name, shard)) => Err(CheckpointError::Damaged {
                file: INDEX_FILE.into(),
                reason: format!("it says that {shard} holds {name}, which it does not"),
            }),
            None => Ok(()),
        }
    }
}

/// Hands the tensors to candle's `VarBuilder`.
pub struct Backend(pub Arc<Weights>);

impl SimpleBackend for Backend {
    fn get(&self, shape: Shape, name: &str, _: candle_nn::Init, dtype: DType, device: &Device) -> Result<Tensor> {
        if !self.0.contains(name) {
            return Err(candle_core::Error::CannotFindTensor { path: name.to_string() });
        }
        let found = self.0.shape(name)?;
        if found != shape {
            // The message is the tensor's name: `Checkpoint::explain` makes the sentence.
            return Err(candle_core::Error::UnexpectedShape {
                msg: name.to_string(),
                expected: shape,
                got: found,
            });
        }
        self.get_unchecked(name, dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let tensor = self.0.load(name, device)?;
        if !tensor.dtype().is_float() {
            candle_core::bail!("{name} holds {} numbers, which are no weights", tensor.dtype().as_str());
        }
        tensor.to_dtype(dtype)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}
