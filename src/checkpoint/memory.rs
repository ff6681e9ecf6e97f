//! How much memory a checkpoint needs, from its config alone.
//!
//! The weights are counted tensor by tensor; what the model needs to work in is added.

use super::inventory::{HEAD, Kind, SHARED_TABLE, TOKEN_TABLE, TensorSpec, inventory};
use crate::blip2::config::{Blip2Config, LanguageModelConfig};
use crate::blip2::weights::Precision;

/// Tokens that a conversation's KV cache is counted for: the prompt and a long answer.
const COUNTED_POSITIONS: usize = 512;

/// The bytes of one tensor in memory: matrices in the format of their part, everything
/// else in the dtype that flows between the layers.
fn bytes(tensor: &TensorSpec, precision: Precision) -> u64 {
    let precision = tensor.precision(precision);
    let is_matrix = tensor.kind == Kind::Matrix || [TOKEN_TABLE, SHARED_TABLE, HEAD].contains(&tensor.name.as_str());
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
    let vision = &config.vision_config;
    let patches = vision.num_positions() as u64;
    let of_vision = patches
        * (8 * vision.hidden_size as u64
            + 3 * vision.intermediate_size as u64
            + 2 * vision.num_attention_heads as u64 * patches);
    of_vision.max(language_model_numbers(&config.text_config))
}

/// The cache, one block, and the logits.
fn language_model_numbers(config: &LanguageModelConfig) -> u64 {
    let (positions, cached, inner, ffn, heads) = match config {
        LanguageModelConfig::Opt(opt) => (
            COUNTED_POSITIONS.min(opt.max_position_embeddings),
            opt.num_hidden_layers,
            opt.hidden_size,
            opt.ffn_dim,
            opt.num_attention_heads,
        ),
        // The decoder keeps the prompt and the answer.
        LanguageModelConfig::T5(t5) => (
            COUNTED_POSITIONS,
            2 * t5.num_decoder_layers,
            t5.inner_size(),
            t5.d_ff,
            t5.num_heads,
        ),
    };
    let positions = positions as u64;
    let cache = 2 * cached as u64 * inner as u64 * positions;
    let block =
        positions * (8 * config.hidden_size().max(inner) as u64 + 3 * ffn as u64 + 2 * heads as u64 * positions);
    cache + block + 3 * config.vocab_size() as u64
}

/// Bytes as people read them: `15.0 GB`.
pub fn readable_bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..100_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        100_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
