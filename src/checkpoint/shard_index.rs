//! `model.safetensors.index.json`, or `pytorch_model.bin.index.json`: which shard holds which tensor.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::CheckpointError;

pub const INDEX_FILE: &str = "model.safetensors.index.json";

pub struct Index {
    /// The file's name.
    file: &'static str,
    weight_map: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Content {
    weight_map: BTreeMap<String, String>,
}

impl Index {
    pub fn parse(file: &'static str, json: &str) -> Result<Self, CheckpointError> {
        let content: Content = serde_json::from_str(json).map_err(|error| damaged(file, error.to_string()))?;
        let index = Self {
            file,
            weight_map: content.weight_map,
        };
        if index.weight_map.is_empty() {
            return Err(damaged(file, "its weight_map is empty".into()));
        }
        // Shards lie beside their index; a path out of the folder is no shard.
        match index
            .weight_map
            .values()
            .find(|shard| shard.is_empty() || *shard == ".." || shard.contains(['/', '\\']))
        {
            Some(shard) => Err(damaged(file, format!("{shard} is not the name of a file beside it"))),
            None => Ok(index),
        }
    }

    /// The shards' names, each once.
    pub fn shards(&self) -> Vec<String> {
        let shards: BTreeSet<&String> = self.weight_map.values().collect();
        shards.into_iter().cloned().collect()
    }

    /// Checks that the shards hold what the index says.
    pub fn check(&self, contains: impl Fn(&str) -> bool) -> Result<(), CheckpointError> {
        match self.weight_map.iter().find(|(name, _)| !contains(name)) {
            Some((name, shard)) => Err(damaged(
                self.file,
                format!("it says that {shard} holds {name}, which it does not"),
            )),
            None => Ok(()),
        }
    }
}

fn damaged(file: &str, reason: String) -> CheckpointError {
    CheckpointError::Damaged {
        file: file.into(),
        reason,
    }
}
