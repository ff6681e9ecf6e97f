//! Which models there are, what they need, whether they fit, and how one is opened.
//!
//! A checkpoint is opened in three steps, so that a wrong one is refused as early as can be:
//!
//! 1. [`CheckpointMetadata::find`] has the small files and a sound config, and [`memory_estimate`] says
//!    what that model needs;
//! 2. [`CheckpointMetadata::open`] downloads the weights, maps them, and checks the tensors'
//!    names and shapes against the [`inventory`], all from the files' headers;
//! 3. [`Checkpoint::load`] takes the tensors, [`Checkpoint::processor`] the other files.
//!
//! [`open()`] does all of it for what the command line asks. [`ModelConfig`] and [`Network`] are whichever
//! network a checkpoint holds. [`mod@known`] are the published models,
//! [`hub_cache`] those that were downloaded; [`available_memory`] knows how much memory is free, [`fit`]
//! whether it is enough, [`device`] and [`dtype`] what `--device` and `--dtype` mean.

mod allocator;
pub mod auto;
pub mod available_memory;
mod checkpoint;
mod comparer;
pub mod device;
pub mod dtype;
mod error;
mod fit;
mod hub_cache;
pub mod inventory;
mod known;
mod load_processor;
pub mod memory_estimate;
mod metadata;
mod network;
mod open;
mod plan;

pub use allocator::{bound_arenas, give_freed_memory_back};
pub use checkpoint::Checkpoint;
pub use comparer::Comparer;
pub use device::{DeviceChoice, DeviceError};
pub use dtype::{DtypeChoice, offered_precisions};
pub use error::LoadError;
pub use fit::{LimitOrigin, MemoryLimit, TooLarge};
pub use hub_cache::{Cached, cached};
pub use known::{Known, known, language_model};
pub use metadata::CheckpointMetadata;
pub use network::{AnswerStart, Family, ModelConfig, Network, Purpose};
pub use open::{ModelRequest, OpenModel, open};
pub use plan::ModelPlan;

pub use crate::checkpoint::{hex, readable_bytes, whole_file};
pub use crate::nn::attention_record::AnswerAttention;
pub use crate::nn::embedding::{Embedder, Vectors};
pub use crate::nn::matching::{MatchScore, Matcher};
pub use crate::nn::nearest::{Ranked, nearest};
pub use crate::nn::{Kernels, Precision};
