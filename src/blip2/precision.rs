//! The parts of the model that compute in another precision than the rest.

use candle_core::DType;

use super::config::{Blip2Config, LanguageModelConfig};
use crate::cpu::WeightFormat;
use crate::nn::Precision;

/// The precision of a model where this one was asked for.
///
/// T5's numbers are too large for f16: beside quantised weights they stay f32.
pub fn of_model(config: &Blip2Config, asked: Precision) -> Precision {
    match config.text_config {
        LanguageModelConfig::T5(_) if asked.weights.is_quantised() => Precision {
            dtype: DType::F32,
            ..asked
        },
        _ => asked,
    }
}

/// The precision of the Q-Former in a model of this one.
///
/// As in the reference, it stays f32 where the rest is f16 (`_keep_in_fp32_modules`)
/// and follows the rest in bf16; beside quantised weights its own are bf16.
pub fn of_qformer(model: Precision) -> Precision {
    match (model.weights, model.dtype) {
        (WeightFormat::F32 | WeightFormat::F16, _) | (_, DType::F16) => model.in_f32(),
        _ => Precision {
            weights: WeightFormat::Bf16,
            ..model
        },
    }
}

/// The precision of the last matrix in T5's feed-forward layers, in a model of this one.
///
/// As in the reference, it stays f32 where the rest is f16 (`_keep_in_fp32_modules`).
pub fn of_t5_wo(model: Precision) -> Precision {
    match model.weights {
        WeightFormat::F16 => model.in_f32(),
        _ => model,
    }
}
