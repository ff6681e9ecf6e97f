//! Where the layers of a network get their tensors from.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Shape, Tensor};

use super::kernels::Kernels;
use super::packed_weights::{Origin, PackedWeights};
use super::precision::{Placement, Precision};
use crate::checkpoint::{StoredMatrix, Tensors};
use crate::cpu::{MatrixSource, PackedMatrix, WeightFormat};

/// Tensors by name, below a prefix.
#[derive(Clone)]
pub struct Weights {
    tensors: Arc<Tensors>,
    placement: Placement,
    packed: Option<Arc<PackedWeights>>,
    prefix: String,
}

impl Weights {
    /// All tensors of a checkpoint, to be converted to where and how the network computes.
    pub fn new(tensors: Tensors, placement: Placement) -> Self {
        Self {
            tensors: Arc::new(tensors),
            placement,
            packed: None,
            prefix: String::new(),
        }
    }

    /// The same tensors, whose packed matrices are read from where they are kept.
    pub fn packed_in(self, packed: Option<Arc<PackedWeights>>) -> Self {
        Self { packed, ..self }
    }

    /// The same tensors in another precision.
    pub fn with_precision(&self, precision: Precision) -> Self {
        let mut other = self.clone();
        other.placement.precision = precision;
        other
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
        self.tensors.tensor(&name, &shape, self.dtype(), self.device())
    }

    /// A tensor in f32 in the host's memory, wherever the model computes.
    pub fn get_for_host(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        let (name, shape) = (self.path(name), shape.into());
        self.tensors.tensor(&name, &shape, DType::F32, &Device::Cpu)
    }

    /// A tensor as a matrix with a row for each step of its first dimension, as our kernels want it:
    /// packed from where it lies, or as it was kept.
    pub fn packed_matrix(&self, shape: impl Into<Shape>, name: &str) -> Result<Arc<PackedMatrix>> {
        let name = self.path(name);
        let stored = self.tensors.matrix(&name, &shape.into())?;
        let pack = || PackedMatrix::pack(&stored, self.format());
        let Some(packed) = &self.packed else {
            return Ok(Arc::new(pack()?));
        };
        let (outputs, inputs) = (stored.outputs(), stored.inputs());
        let (matrix, origin) = packed.matrix(&name, (outputs, inputs), self.format(), pack)?;
        if origin == Origin::File {
            // It counts as loaded.
            stored.done_with(0..outputs);
        }
        Ok(matrix)
    }

    /// Whether there is a tensor of this name below the prefix, whatever its shape.
    pub fn contains_tensor(&self, name: &str) -> bool {
        self.tensors.contains(&self.path(name))
    }

    /// Whether there is a tensor that does not merely repeat `other`, bit for bit. One that
    /// does is as good as none, as in the reference: the model ties the two, and holds the
    /// numbers once.
    pub fn contains_other_than(&self, other: &str, name: &str) -> bool {
        self.contains_tensor(name) && !self.tensors.are_equal(&self.path(name), &self.path(other))
    }

    /// What computes the layers.
    pub fn kernels(&self) -> Kernels {
        self.placement.precision.kernels
    }

    /// How matrices are stored.
    pub fn format(&self) -> WeightFormat {
        self.placement.precision.weights
    }

    /// What the tensors are converted to.
    pub fn precision(&self) -> Precision {
        self.placement.precision
    }

    /// What flows between the layers, and what [`Weights::get`] gives.
    pub fn dtype(&self) -> DType {
        self.placement.precision.dtype
    }

    /// Where [`Weights::get`] puts tensors.
    pub fn device(&self) -> &Device {
        &self.placement.device
    }
}

impl MatrixSource for StoredMatrix<'_> {
    fn outputs(&self) -> usize {
        self.outputs()
    }

    fn inputs(&self) -> usize {
        self.inputs()
    }

    fn read<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        self.read(rows, scratch)
    }

    fn done_with(&self, rows: Range<usize>) {
        self.done_with(rows);
    }
}
