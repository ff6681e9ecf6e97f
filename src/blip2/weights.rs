//! Where the parts of the model get their weights from.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Shape, Tensor};

use super::linear::WeightFormat;
use crate::checkpoint::{StoredMatrix, Tensors};

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
pub struct Weights {
    tensors: Arc<Tensors>,
    device: Device,
    precision: Precision,
    prefix: String,
}

impl Weights {
    pub fn new(tensors: Tensors, device: Device, precision: Precision) -> Self {
        Self {
            tensors: Arc::new(tensors),
            device,
            precision,
            prefix: String::new(),
        }
    }

    /// The same tensors in another precision.
    pub fn with_precision(&self, precision: Precision) -> Self {
        Self {
            precision,
            ..self.clone()
        }
    }

    /// The tensors below a further part of the name.
    pub fn pp(&self, part: impl ToString) -> Self {
        Self {
            prefix: self.path(&part.to_string()),
            ..self.clone()
        }
    }

    fn path(&self, name: &str) -> String {
        if self.prefix.is_empty() {
            return name.to_string();
        }
        format!("{}.{name}", self.prefix)
    }

    /// A tensor in the dtype that the model computes in.
    pub fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        let (name, shape) = (self.path(name), shape.into());
        self.tensors.tensor(&name, &shape, self.precision.dtype, &self.device)
    }

    /// A tensor as a matrix, to be packed from where it lies: a row for each step of its first
    /// dimension.
    pub fn matrix(&self, shape: impl Into<Shape>, name: &str) -> Result<StoredMatrix<'_>> {
        self.tensors.matrix(&self.path(name), &shape.into())
    }

    pub fn contains_tensor(&self, name: &str) -> bool {
        self.tensors.contains(&self.path(name))
    }

    /// How matrices are stored.
    pub fn format(&self) -> WeightFormat {
        self.precision.weights
    }

    pub fn precision(&self) -> Precision {
        self.precision
    }

    pub fn dtype(&self) -> DType {
        self.precision.dtype
    }

    pub fn device(&self) -> &Device {
        &self.device
    }
}
