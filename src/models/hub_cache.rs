//! Which checkpoints the hub's cache holds.

use std::path::PathBuf;

use super::ModelConfig;
use super::network::says_family;
use crate::checkpoint::Files;
use crate::checkpoint::hub::{self, HubId, HubSettings, cached_folder};
use crate::checkpoint::lenient_json;

/// A checkpoint of the cache that Glimpse can run.
pub struct Cached {
    /// As `--model` takes it, with its revision where that is not `main`.
    pub id: String,
    pub config: ModelConfig,
    /// Where its files are.
    pub folder: PathBuf,
    /// Whether nothing is missing that Glimpse needs.
    pub is_complete: bool,
}

/// The checkpoints in the cache, by name and revision.
pub fn cached() -> Vec<Cached> {
    let settings = HubSettings::from_env();
    let ids = hub::cached(&settings);
    ids.into_iter().filter_map(|id| look(id, &settings)).collect()
}

/// `None` for a repository of another kind, of which a shared cache has many.
fn look(id: HubId, settings: &HubSettings) -> Option<Cached> {
    let folder = cached_folder(&id, settings)?;
    let files = Files::folder_called(folder.clone(), id.to_string());
    let json = files.read_text("config.json").ok()?;
    Some(Cached {
        config: ModelConfig::from_json(&json).ok().filter(|_| is_named(&json))?,
        is_complete: files.are_complete(),
        id: id.to_string(),
        folder,
    })
}

/// A config without a `model_type` is taken for BLIP-2's where the user names it, not here.
fn is_named(json: &str) -> bool {
    lenient_json::parse(json.as_bytes()).is_ok_and(|value| says_family(&value))
}
