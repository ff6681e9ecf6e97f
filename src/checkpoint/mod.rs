//! The files of a checkpoint: a folder as Hugging Face lays it out, a repository on the hub, or
//! the small demo model that is part of the program. Knows no model: which tensors there
//! must be is [`models`](crate::models)' to say.
//!
//! - [`source`](Source): what `--model` names; [`foreign`]: what people take for a checkpoint.
//! - [`files`](Files): the files, wherever they are; [`hub`] brings them into the cache.
//! - [`lenient_json`]: JSON as those files have it.
//! - [`mapped`](MappedTensors): the weight files, mapped, their headers read; `pickled`: those of torch.
//! - [`tensors`](Tensors): tensors from there onto a device, converted piece by piece.
//! - [`whole_file`]: files that are written whole or not at all.

mod demo;
mod error;
mod files;
mod foreign;
mod hex;
pub mod hub;
pub mod lenient_json;
mod mapped;
mod ordinary_file;
mod pickle_bounds;
mod pickled;
pub mod progress;
mod readable_bytes;
mod shard_index;
mod source;
mod tensors;
pub mod whole_file;

pub use error::CheckpointError;
pub use files::{Files, QFORMER_TOKENIZER, VOCABULARY};
pub use hex::hex;
pub use mapped::MappedTensors;
pub use progress::Progress;
pub use readable_bytes::readable_bytes;
pub use source::Source;
pub use tensors::{StoredMatrix, Tensors};
