//! How much memory a checkpoint needs, from its config alone.
//!
//! The weights are counted tensor by tensor, with a rule that says how many bytes each one
//! takes; what the model needs to work in is added.

use super::inventory::{Kind, Part, TensorSpec, inventory};
use crate::blip2::config::Blip2Config;

/// Tokens that a conversation's KV cache is counted for: the prompt and a long answer.
const COUNTED_POSITIONS: usize = 512;

/// Numbers in a block of a quantised format, whatever its width.
const BLOCK: usize = 32;

/// How weights are kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightFormat {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
}

impl WeightFormat {
    /// Widest first.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::Bf16, Self::Q8_0, Self::Q4_0];

    /// The name that `--dtype` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
        }
    }

    /// The bytes of one tensor in memory.
    ///
    /// With f16 the Q-Former stays f32, as in the reference. The quantised formats are
    /// GGML's: blocks of 32 numbers along a row with one f16 scale each; what is not a
    /// linear layer's matrix, or does not divide into blocks, stays f32.
    pub fn bytes(self, tensor: &TensorSpec) -> u64 {
        let elements = tensor.elements();
        let in_blocks = |block_bytes: u64| match (tensor.kind, tensor.shape.last()) {
            (Kind::Matrix, Some(row)) if row.is_multiple_of(BLOCK) => elements / BLOCK as u64 * block_bytes,
            _ => elements * 4,
        };
        match self {
            Self::F32 => elements * 4,
            Self::F16 if tensor.part == Part::QFormer => elements * 4,
            Self::F16 | Self::Bf16 => elements * 2,
            Self::Q8_0 => in_blocks(34),
            Self::Q4_0 => in_blocks(18),
        }
    }

    /// Bytes of a number that the model computes with.
    fn activation_bytes(self) -> u64 {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::Q8_0 | Self::Q4_0 => 4,
        }
    }
}

impl From<candle_core::DType> for WeightFormat {
    fn from(dtype: candle_core::DType) -> Self {
        match dtype {
            candle_core::DType::F16 => Self::F16,
            candle_core::DType::BF16 => Self::Bf16,
            _ => Self::F32,
        }
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

/// The memory that a model needs with its weights in this format.
///
/// `with_head` counts a head of the language model's own, where the checkpoint holds one
/// although its config ties it to the token table.
pub fn estimate(config: &Blip2Config, with_head: bool, format: WeightFormat) -> MemoryEstimate {
    let bytes_of = |tensor: &TensorSpec| format.bytes(tensor);
    estimate_with(config, with_head, bytes_of, format.activation_bytes())
}

/// As [`estimate`], with any rule for the bytes of a tensor and of an activation.
pub fn estimate_with(
    config: &Blip2Config,
    with_head: bool,
    bytes_of: impl Fn(&TensorSpec) -> u64,
    activation_bytes: u64,
) -> MemoryEstimate {
    MemoryEstimate {
        weights: inventory(config, with_head).iter().map(bytes_of).sum(),
        working: working_numbers(config) * activation_bytes,
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
