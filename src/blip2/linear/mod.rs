//! The linear layer, where nearly all of a model's time and memory goes.
//!
//! On a GPU it is candle's. On the CPU candle packs the weights anew for every product and
//! knows no bf16, so here they are packed once, when they are loaded, in any of the
//! formats of [`WeightFormat`], and multiplied by kernels of our own: inputs, sums and
//! outputs are f32, whatever the weights are.
//!
//! - [`format`]: the number formats, and how a block of weights is laid out.
//! - [`matrix`]: a packed matrix; `pack` and `quantise`: how weights come into it.
//! - [`product`]: a product on all cores.
//! - `kernel`: the inner loops; `simd`: what they need of a processor.

pub mod format;
mod kernel;
pub mod matrix;
mod pack;
pub mod product;
mod quantise;
pub(super) mod simd;

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{CpuStorage, CustomOp1, Layout, Module, Result, Shape, Tensor};

use super::activation::{Activation, Kernel};
use super::weights::Weights;
pub use format::WeightFormat;
use matrix::{PANEL, PackedMatrix};

/// `y = x W^T + b`, `[…, in]` to `[…, out]`.
pub struct Linear {
    weight: Weight,
    bias: Option<Bias>,
}

enum Bias {
    Tensor(Tensor),
    /// Padded to whole panels.
    Padded(Arc<Vec<f32>>),
}

/// A weight matrix `[out, in]`, wherever it is; cheap to clone.
#[derive(Clone)]
pub enum Weight {
    Packed(Arc<PackedMatrix>),
    Tensor(Tensor),
    /// GGML's formats on a GPU.
    Quantised(Arc<QTensor>),
}

impl Linear {
    /// Reads `weight` `[out, in]` and, where the layer has one, `bias` `[out]`.
    pub fn new(inputs: usize, outputs: usize, bias: bool, vb: Weights) -> Result<Self> {
        let weight = Weight::new(inputs, outputs, "weight", &vb)?;
        let bias = if bias { Some(vb.get(outputs, "bias")?) } else { None };
        Self::from_parts(weight, bias)
    }

    pub fn from_parts(weight: Weight, bias: Option<Tensor>) -> Result<Self> {
        let bias = bias.map(|bias| match &weight {
            Weight::Packed(matrix) => {
                let mut padded = bias.to_vec1::<f32>()?;
                padded.resize(matrix.panels() * PANEL, 0.0);
                Ok::<_, candle_core::Error>(Bias::Padded(Arc::new(padded)))
            }
            _ => Ok(Bias::Tensor(bias)),
        });
        Ok(Self {
            weight,
            bias: bias.transpose()?,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.weight {
            Weight::Packed(matrix) => self.product(matrix, None, x),
            Weight::Tensor(weight) => self.add_bias(candle_nn::Linear::new(weight.clone(), None).forward(x)?),
            Weight::Quantised(weight) => self.add_bias(QMatMul::from_arc(Arc::clone(weight))?.forward(x)?),
        }
    }

    /// The layer and the activation behind it, in place where that can be.
    pub fn forward_activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        match (&self.weight, activation.on_cpu()) {
            (Weight::Packed(matrix), Some(kernel)) => self.product(matrix, Some(kernel), x),
            _ => activation.forward(&self.forward(x)?),
        }
    }

    fn product(&self, matrix: &Arc<PackedMatrix>, activation: Option<Kernel>, x: &Tensor) -> Result<Tensor> {
        let bias = match &self.bias {
            Some(Bias::Padded(bias)) => Some(Arc::clone(bias)),
            _ => None,
        };
        let matrix = Arc::clone(matrix);
        x.contiguous()?.apply_op1_no_bwd(&Product {
            matrix,
            bias,
            activation,
        })
    }

    fn add_bias(&self, y: Tensor) -> Result<Tensor> {
        match &self.bias {
            Some(Bias::Tensor(bias)) => y.broadcast_add(bias),
            _ => Ok(y),
        }
    }
}

impl Weight {
    /// Reads the tensor `name`, `[outputs, inputs]`.
    pub fn new(inputs: usize, outputs: usize, name: &str, vb: &Weights) -> Result<Self> {
        Self::of_shape((outputs, inputs), name, vb)
    }

    /// Reads a tensor of any shape as a matrix with a row for each step of its first dimension:
    /// a convolution's kernels, for one. On the CPU it is packed from where it lies.
    pub fn of_shape(shape: impl Into<Shape>, name: &str, vb: &Weights) -> Result<Self> {
        let shape = shape.into();
        if vb.device().is_cpu() {
            let packed = PackedMatrix::pack(&vb.matrix(shape, name)?, vb.format())?;
            return Ok(Self::Packed(Arc::new(packed)));
        }
        let matrix = vb.get(shape, name)?.flatten_from(1)?;
        match vb.format().ggml() {
            // A row must be whole blocks; what is not stays as it is.
            Some(ggml) if matrix.dim(1)?.is_multiple_of(ggml.block_size()) => {
                Ok(Self::Quantised(Arc::new(QTensor::quantize(&matrix, ggml)?)))
            }
            _ => Ok(Self::Tensor(matrix)),
        }
    }

    /// Rows of the matrix by their index, `[ids, in]`: an embedding's lookup.
    pub fn rows(&self, ids: &[u32]) -> Result<Tensor> {
        match self {
            Self::Packed(matrix) => {
                if let Some(id) = ids.iter().find(|id| **id as usize >= matrix.outputs()) {
                    candle_core::bail!("there is no row {id} among {}", matrix.outputs());
                }
                let rows: Vec<f32> = ids.iter().flat_map(|&id| matrix.row(id as usize)).collect();
                Tensor::from_vec(rows, (ids.len(), matrix.inputs()), &candle_core::Device::Cpu)
            }
            Self::Tensor(matrix) => matrix.index_select(&Tensor::new(ids, matrix.device())?, 0),
            Self::Quantised(matrix) => {
                let device = matrix.device();
                matrix.dequantize(&device)?.index_select(&Tensor::new(ids, &device)?, 0)
            }
        }
    }
}

/// A packed product as candle sees it.
struct Product {
    matrix: Arc<PackedMatrix>,
    bias: Option<Arc<Vec<f32>>>,
    activation: Option<Kernel>,
}

impl CustomOp1 for Product {
    fn name(&self) -> &'static str {
        "packed-product"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = contiguous(storage, layout)?;
        let mut dims = layout.dims().to_vec();
        match dims.last_mut() {
            Some(last) if *last == self.matrix.inputs() => *last = self.matrix.outputs(),
            _ => candle_core::bail!("{:?} are no rows of {} inputs", layout.dims(), self.matrix.inputs()),
        }
        let bias = self.bias.as_ref().map(|bias| bias.as_slice());
        let mut y = product::product(x, &self.matrix, bias);
        if let Some(activation) = self.activation {
            activation.apply(&mut y);
        }
        Ok((CpuStorage::F32(y), dims.into()))
    }
}

/// The numbers of an f32 tensor that lie in order.
pub fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("a kernel needs a contiguous tensor"),
    }
}
