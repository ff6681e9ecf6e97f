//! How much memory a checkpoint needs, from its config alone.
//!
//! The weights are counted tensor by tensor; what the model needs to work in is added.

use super::ModelConfig;
use super::inventory::{Kind, TensorSpec, inventory, is_looked_up_as_matrix};
use crate::blip::config::BlipConfig;
use crate::blip2::config::{LanguageModelConfig, ModelClass};
use crate::nn::Precision;

/// Tokens that a conversation's KV cache is counted for: the prompt and a long answer.
const COUNTED_POSITIONS: usize = 512;

/// The bytes of one tensor in memory: matrices in the format of their part, everything
/// else in the dtype that flows between the layers.
fn bytes(tensor: &TensorSpec, precision: Precision) -> u64 {
    let precision = tensor.precision(precision);
    let is_matrix = tensor.kind == Kind::Matrix || is_looked_up_as_matrix(&tensor.name);
    if is_matrix {
        whole(precision.matrix_bytes(&tensor.shape))
    } else {
        tensor.elements().saturating_mul(precision.dtype.size_in_bytes() as u64)
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
    /// What `--max-memory`, or what is free on the device, is held against.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.working)
    }
}

/// The memory that a model needs in this precision.
///
/// `with_head` counts a head of the language model's own, where the checkpoint holds one
/// although its config ties it to the token table.
pub fn estimate(config: &ModelConfig, with_head: bool, precision: Precision) -> MemoryEstimate {
    let tensors = inventory(config, with_head);
    let precision = config.precision(precision);
    MemoryEstimate {
        weights: tensors
            .iter()
            .map(|tensor| bytes(tensor, precision))
            .fold(0, u64::saturating_add),
        working: whole(working_numbers(config) * precision.dtype.size_in_bytes() as u128),
    }
}

/// A config may ask for more than any number of bytes.
fn whole(bytes: u128) -> u64 {
    bytes.try_into().unwrap_or(u64::MAX)
}

/// Numbers that are alive at once besides the weights, at the larger of two moments: one
/// block of the vision tower, or the language model with a full cache.
fn working_numbers(config: &ModelConfig) -> u128 {
    let vision = config.vision();
    let patches = vision.num_positions() as u128;
    let of_vision = patches
        * (8 * vision.hidden_size as u128
            + 3 * vision.intermediate_size as u128
            + 2 * vision.num_attention_heads as u128 * patches);
    let of_texts = match config {
        ModelConfig::Blip2(config) if config.class() == ModelClass::ImageTextRetrieval => 0,
        ModelConfig::Blip2(config) => language_model_numbers(&config.text_config),
        ModelConfig::Blip(config) => texts_numbers(config),
    };
    of_vision.max(of_texts)
}

/// Keys and values of a long text and of the picture that it looks at, one block, and the logits.
fn texts_numbers(config: &BlipConfig) -> u128 {
    let text = &config.text_config;
    let (hidden, layers) = (text.hidden_size as u128, text.num_hidden_layers as u128);
    let positions = COUNTED_POSITIONS.min(text.max_position_embeddings) as u128;
    let seen = config.vision_config.num_positions() as u128;
    let heads = text.num_attention_heads as u128;
    let block = positions * (8 * hidden + 3 * text.intermediate_size as u128 + 2 * heads * positions.max(seen));
    2 * layers * hidden * (positions + seen) + block + 3 * text.vocab_size as u128
}

/// The cache, one block, and the logits.
fn language_model_numbers(config: &LanguageModelConfig) -> u128 {
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
        LanguageModelConfig::Llama(llama) => (
            COUNTED_POSITIONS.min(llama.max_position_embeddings),
            llama.num_hidden_layers,
            llama.num_attention_heads * llama.head_dim,
            llama.intermediate_size,
            llama.num_attention_heads,
        ),
    };
    let positions = positions as u128;
    let cache = 2 * cached as u128 * inner as u128 * positions;
    let block =
        positions * (8 * config.hidden_size().max(inner) as u128 + 3 * ffn as u128 + 2 * heads as u128 * positions);
    cache + block + 3 * config.vocab_size() as u128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_gpu_the_vision_towers_rows_are_counted_in_the_dtype_that_they_keep_in_q4_k() {
        use crate::cpu::WeightFormat;
        use crate::models::{Kernels, known};
        let of = |id: &str, weights| {
            let config = known()
                .into_iter()
                .find(|known| known.id.ends_with(id))
                .expect("it is known")
                .config;
            let precision = Precision::new(weights, Kernels::Candle, &candle_core::Device::Cpu);
            estimate(&config, false, precision).weights
        };
        // Of the ViT's 1.0 G parameters 0.65 G are in rows of 1408: two bytes each, or where T5 computes
        // in f32 four.
        assert!((3_200_000_000..3_600_000_000).contains(&of("opt-2.7b", WeightFormat::Q4K)));
        assert!((4_600_000_000..5_100_000_000).contains(&of("flan-t5-xl", WeightFormat::Q4K)));
        assert!((4_100_000_000..4_500_000_000).contains(&of("opt-2.7b", WeightFormat::Q8_0)));
    }

    #[test]
    fn a_config_of_the_largest_numbers_needs_more_than_anything_holds() {
        let text = r#"{"model_type": "opt", "hidden_size": 1048576, "ffn_dim": 1048576, "num_hidden_layers": 1024,
                       "num_attention_heads": 1048576, "vocab_size": 1048576, "max_position_embeddings": 1048576}"#;
        let vision = r#"{"image_size": 1024, "patch_size": 1, "hidden_size": 1048576, "num_attention_heads": 1048576}"#;
        let config = format!(r#"{{"text_config": {text}, "vision_config": {vision}}}"#);
        let config = ModelConfig::from_json(&config).expect("each number is allowed");
        let needed = estimate(&config, true, Precision::F32);
        assert!(needed.weights > 1 << 40 && needed.working > 1 << 60, "{needed:?}");
    }
}
