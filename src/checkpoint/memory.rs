//! How much memory a checkpoint needs, from its config alone.
//!
//! The weights are counted tensor by tensor; what the model needs to work in is added.

use super::inventory::{HEAD, Kind, Part, TOKEN_TABLE, TensorSpec, inventory};
use crate::blip2::config::Blip2Config;
use crate::blip2::weights::Precision;

/// Tokens that a conversation's KV cache is counted for: the prompt and a long answer.
const COUNTED_POSITIONS: usize = 512;

/// The bytes of one tensor in memory: matrices in the format of their part, everything
/// else in the dtype that flows between the layers.
fn bytes(tensor: &TensorSpec, precision: Precision) -> u64 {
    let precision = match tensor.part {
        Part::QFormer => precision.of_qformer(),
        _ => precision,
    };
    let is_matrix = tensor.kind == Kind::Matrix || [TOKEN_TABLE, HEAD].contains(&tensor.name.as_str());
    if is_matrix {
        // A block is 32 outputs by 32 inputs.
        let (numbers, block) = (tensor.elements(), precision.weights.block_bytes() as u64);
        numbers * block / 1024
    } else {
        tensor.elements() * precision.dtype.size_in_bytes() as u64
    }
}

/// Bytes that a model needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MemoryEstimate {
    /// Resident for as long as the model is loaded.
    pub weights: u64,
    /// KV cache and activations while it answers.
    pub working: u64,
}

impl MemoryEstimate {
    pub fn total(&self) -> u64 {
        self.weights + self.working
    }
}

/// The memory that a model needs in this precision.
///
/// `with_head` counts a head of the language model's own, where the checkpoint holds one
/// although its config ties it to the token table.
pub fn estimate(config: &Blip2Config, with_head: bool, precision: Precision) -> MemoryEstimate {
    let tensors = inventory(config, with_head);
    MemoryEstimate {
        weights: tensors.iter().map(|tensor| bytes(tensor, precision)).sum(),
        working: working_numbers(config) * precision.dtype.size_in_bytes() as u64,
    }
}

/// Numbers that are alive at once besides the weights, at the larger of two moments: one
/// block of the vision tower, or the language model with a full cache.
fn working_numbers(config: &Blip2Config) -> u64 {
    let (vision, text) = (&config.vision_config, &config.text_config);
    let patches = vision.num_positions() as u64;
    let of_vision = patches
        * (8 * vision.hidden_size as u64
            + 3 * vision.intermediate_size as u64
            + 2 * vision.num_attention_heads as u64 * patches);
    let positions = COUNTED_POSITIONS.min(text.max_position_embeddings) as u64;
    let cache = 2 * text.num_hidden_layers as u64 * text.hidden_size as u64 * positions;
    let block = positions
        * (8 * text.hidden_size as u64 + 3 * text.ffn_dim as u64 + 2 * text.num_attention_heads as u64 * positions);
    of_vision.max(cache + block + 3 * text.vocab_size as u64)
}

/// Bytes as people read them: `15.0 GB`.
pub fn gigabytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..100_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        100_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
