//! Where the parts of the model get their weights from.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::VarBuilder;

use super::linear::WeightFormat;

/// How a model computes: in which dtype, and how the matrices of its linear layers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precision {
    /// What flows between the layers.
    pub dtype: DType,
    pub weights: WeightFormat,
}

impl Precision {
    pub const F32: Self = Self {
        dtype: DType::F32,
        weights: WeightFormat::F32,
    };

    /// The name that `--dtype` has for it.
    pub fn name(self) -> &'static str {
        self.weights.name()
    }

    /// The precision of the Q-Former in a model of this one.
    ///
    /// As in the reference, it stays f32 where the rest is f16 (`_keep_in_fp32_modules`)
    /// and follows the rest in bf16; beside quantised weights its own are bf16.
    pub fn of_qformer(self) -> Self {
        match (self.weights, self.dtype) {
            (WeightFormat::F32 | WeightFormat::F16, _) | (_, DType::F16) => Self::F32,
            _ => Self {
                weights: WeightFormat::Bf16,
                ..self
            },
        }
    }

    /// The precision of the last matrix in T5's feed-forward layers, in a model of this one.
    ///
    /// As in the reference, it stays f32 where the rest is f16 (`_keep_in_fp32_modules`).
    pub fn of_t5_wo(self) -> Self {
        match self.weights {
            WeightFormat::F16 => Self::F32,
            _ => self,
        }
    }
}

/// Tensors by name, below a prefix.
#[derive(Clone)]
pub struct Weights<'a> {
    vb: VarBuilder<'a>,
    format: WeightFormat,
}

impl<'a> Weights<'a> {
    pub fn new(vb: VarBuilder<'a>, precision: Precision) -> Self {
        Self {
            vb: vb.set_dtype(precision.dtype),
            format: precision.weights,
        }
    }

    /// The same tensors in another precision.
    pub fn with_precision(&self, precision: Precision) -> Self {
        Self::new(self.vb.clone(), precision)
    }

    /// The tensors below a further part of the name.
    pub fn pp(&self, part: impl ToString) -> Self {
        Self {
            vb: self.vb.pp(part),
            format: self.format,
        }
    }

    /// A tensor in the dtype that the model computes in.
    pub fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        self.vb.get(shape.into(), name)
    }

    pub fn contains_tensor(&self, name: &str) -> bool {
        self.vb.contains_tensor(name)
    }

    /// How matrices are stored.
    pub fn format(&self) -> WeightFormat {
        self.format
    }

    pub fn precision(&self) -> Precision {
        Precision {
            dtype: self.dtype(),
            weights: self.format,
        }
    }

    pub fn dtype(&self) -> DType {
        self.vb.dtype()
    }

    pub fn device(&self) -> &Device {
        self.vb.device()
    }
}
