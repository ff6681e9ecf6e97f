//! The linear layer, where nearly all of a model's time and memory goes.
//!
//! candle packs the weights anew for every product on the CPU, and knows no bf16 there: our own
//! kernels have them packed once, when they are loaded, in any of the formats of
//! [`WeightFormat`], and multiply with inputs, sums and outputs in f32.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{D, DType, Device, Result, Shape, Tensor};

use super::activation::Activation;
use super::kernels::Kernels;
use super::weights::Weights;
use super::{cpu_ops, cuda_rules};
use crate::cpu::matrix::PANEL;
use crate::cpu::{PackedMatrix, Rows, WeightFormat};

/// `y = x W^T + b`, `[…, in]` to `[…, out]`.
pub struct Linear {
    weight: WeightMatrix,
    bias: Option<Bias>,
}

enum Bias {
    Tensor(Tensor),
    /// Padded to whole panels.
    Padded(Arc<Vec<f32>>),
}

/// A weight matrix `[out, in]` as its kernels want it; cheap to clone.
#[derive(Clone)]
pub enum WeightMatrix {
    /// For our kernels, on the CPU.
    Packed(Arc<PackedMatrix>),
    /// For candle's products, in the dtype that the network computes in.
    Tensor(Tensor),
    /// In one of GGML's formats, for candle; its rows are looked up in the dtype.
    Quantised { matrix: Arc<QTensor>, dtype: DType },
}

impl Linear {
    /// Reads `weight` `[out, in]` and, where the layer has one, `bias` `[out]`.
    pub fn new(inputs: usize, outputs: usize, bias: bool, vb: Weights) -> Result<Self> {
        let weight = WeightMatrix::new(inputs, outputs, "weight", &vb)?;
        let bias = if bias { Some(vb.get(outputs, "bias")?) } else { None };
        Self::from_parts(weight, bias)
    }

    /// Of a matrix that is there, such as a token table that is the head too; `bias` is `[out]`, in
    /// f32 where the matrix is packed.
    ///
    /// # Errors
    /// The bias cannot be read as that.
    pub fn from_parts(weight: WeightMatrix, bias: Option<Tensor>) -> Result<Self> {
        let bias = bias.map(|bias| match &weight {
            WeightMatrix::Packed(matrix) => {
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

    /// `[…, in]` to `[…, out]`, where no row is another request's: what is fastest for so many rows
    /// ([`Rows::by_count`]).
    ///
    /// # Errors
    /// `x` has another width, or what the device says.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_of(rows_by_count(x), x)
    }

    /// The layer of rows that are these: an answer must not depend on how many others are in the
    /// pass, and their number does not say it.
    pub fn forward_of(&self, rows: Rows, x: &Tensor) -> Result<Tensor> {
        match &self.weight {
            WeightMatrix::Packed(matrix) => cpu_ops::product(rows, x, matrix, self.padded_bias(), None),
            WeightMatrix::Tensor(weight) => self.add_bias(product_by_candle(x, weight)?),
            WeightMatrix::Quantised { matrix, .. } => {
                self.add_bias(cuda_rules::quantised_product(&x.contiguous()?, matrix)?)
            }
        }
    }

    /// The layer and the activation behind it, in place where that can be.
    pub fn forward_activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        self.forward_activated_of(rows_by_count(x), x, activation)
    }

    /// The same of rows that are these; see [`Linear::forward_of`].
    pub fn forward_activated_of(&self, rows: Rows, x: &Tensor, activation: Activation) -> Result<Tensor> {
        match (&self.weight, activation.kernel()) {
            (WeightMatrix::Packed(matrix), Some(kernel)) => {
                cpu_ops::product(rows, x, matrix, self.padded_bias(), Some(kernel))
            }
            _ => activation.by_candle(&self.forward_of(rows, x)?),
        }
    }

    /// The width of what comes out.
    pub fn outputs(&self) -> usize {
        match &self.weight {
            WeightMatrix::Packed(matrix) => matrix.outputs(),
            WeightMatrix::Tensor(matrix) => matrix.dims()[0],
            WeightMatrix::Quantised { matrix, .. } => matrix.shape().dims()[0],
        }
    }

    /// One layer whose output is that of all of these, one behind the other; `None` where they are for
    /// our kernels, in different formats, or only some have a bias.
    ///
    /// # Errors
    /// Their inputs differ, or what the device says.
    pub fn join(layers: &[Self]) -> Result<Option<Self>> {
        let weights: Vec<&WeightMatrix> = layers.iter().map(|layer| &layer.weight).collect();
        let Some(weight) = WeightMatrix::join(&weights)? else {
            return Ok(None);
        };
        let tensor = |layer: &Self| match &layer.bias {
            Some(Bias::Tensor(bias)) => Some(bias.clone()),
            _ => None,
        };
        let biases: Vec<Tensor> = layers.iter().filter_map(tensor).collect();
        let bias = match biases.len() {
            0 => None,
            all if all == layers.len() => Some(Tensor::cat(&biases, 0)?),
            _ => return Ok(None),
        };
        Self::from_parts(weight, bias).map(Some)
    }

    fn padded_bias(&self) -> Option<&Arc<Vec<f32>>> {
        match &self.bias {
            Some(Bias::Padded(bias)) => Some(bias),
            _ => None,
        }
    }

    fn add_bias(&self, y: Tensor) -> Result<Tensor> {
        match &self.bias {
            Some(Bias::Tensor(bias)) => y.broadcast_add(bias),
            _ => Ok(y),
        }
    }
}

/// Quantised matrices, one below the other: a row is whole blocks, so their bytes only follow each other.
/// `None` where their formats differ.
fn join_quantised(matrices: &[&Arc<QTensor>]) -> Result<Option<QTensor>> {
    let Some(first) = matrices.first() else {
        return Ok(None);
    };
    let (format, (_, inputs)) = (first.dtype(), first.shape().dims2()?);
    let (mut bytes, mut outputs) = (Vec::new(), 0);
    for matrix in matrices {
        let (rows, columns) = matrix.shape().dims2()?;
        if matrix.dtype() != format || columns != inputs {
            return Ok(None);
        }
        bytes.extend_from_slice(&matrix.data()?);
        outputs += rows;
    }
    let storage = QStorage::from_data(Cow::Owned(bytes), &first.device(), format)?;
    QTensor::new(storage, (outputs, inputs)).map(Some)
}

/// What rows are whose number is always the same.
fn rows_by_count(x: &Tensor) -> Rows {
    let width = x.dims().last().copied().unwrap_or(1).max(1);
    Rows::by_count(x.elem_count() / width)
}

impl WeightMatrix {
    /// Reads the tensor `name`, `[outputs, inputs]`.
    pub fn new(inputs: usize, outputs: usize, name: &str, vb: &Weights) -> Result<Self> {
        Self::of_shape((outputs, inputs), name, vb)
    }

    /// Reads a tensor of any shape as a matrix with a row for each step of its first dimension:
    /// a convolution's kernels, for one. For our kernels it is packed from where it lies.
    pub fn of_shape(shape: impl Into<Shape>, name: &str, vb: &Weights) -> Result<Self> {
        let shape = shape.into();
        match vb.kernels() {
            Kernels::Own => vb.packed_matrix(shape, name).map(Self::Packed),
            Kernels::Candle => match quantised_as(vb.format(), &shape) {
                // In f32 from the host's memory: what was rounded on the way is not quantised again.
                Some(ggml) => {
                    let matrix = vb.get_for_host(shape, name)?.flatten_from(1)?;
                    let quantised = QTensor::quantize_onto(&matrix, ggml, vb.device())?;
                    Ok(Self::Quantised {
                        matrix: Arc::new(quantised),
                        dtype: vb.dtype(),
                    })
                }
                None => Ok(Self::Tensor(vb.get(shape, name)?.flatten_from(1)?)),
            },
        }
    }

    /// Matrices for candle's products, one below the other; `None` of others.
    fn join(matrices: &[&Self]) -> Result<Option<Self>> {
        let tensors: Vec<&Tensor> = matrices.iter().filter_map(|matrix| matrix.tensor()).collect();
        if !tensors.is_empty() && tensors.len() == matrices.len() {
            return Tensor::cat(&tensors, 0).map(Self::Tensor).map(Some);
        }
        let quantised: Vec<&Arc<QTensor>> = matrices.iter().filter_map(|matrix| matrix.quantised()).collect();
        match matrices.first() {
            Some(Self::Quantised { dtype, .. }) if quantised.len() == matrices.len() => {
                let matrix = join_quantised(&quantised)?;
                Ok(matrix.map(|matrix| Self::Quantised {
                    matrix: Arc::new(matrix),
                    dtype: *dtype,
                }))
            }
            _ => Ok(None),
        }
    }

    fn tensor(&self) -> Option<&Tensor> {
        match self {
            Self::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    fn quantised(&self) -> Option<&Arc<QTensor>> {
        match self {
            Self::Quantised { matrix, .. } => Some(matrix),
            _ => None,
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
                Tensor::from_vec(rows, (ids.len(), matrix.inputs()), &Device::Cpu)
            }
            Self::Tensor(matrix) => cuda_rules::index_select(matrix, ids),
            Self::Quantised { matrix, dtype } => cuda_rules::quantised_rows(matrix, ids)?.to_dtype(*dtype),
        }
    }
}

/// `x W^T`: one product, not one for each row of a batch.
fn product_by_candle(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (mut dims, inputs) = (x.dims().to_vec(), x.dim(D::Minus1)?);
    if let Some(last) = dims.last_mut() {
        *last = weight.dim(0)?;
    }
    let rows = x.contiguous()?.reshape(((), inputs))?;
    cuda_rules::matmul(&rows, &weight.t()?)?.reshape(dims)
}

/// How candle quantises a matrix with a row for each step of its first dimension. A row must be
/// whole blocks; what is not stays as it is, in the dtype that flows between the layers.
pub fn quantised_as(format: WeightFormat, shape: &Shape) -> Option<GgmlDType> {
    let inputs: usize = shape.dims().iter().skip(1).product();
    ggml(format).filter(|ggml| inputs.is_multiple_of(ggml.block_size()))
}

/// GGML's name for the quantised formats.
fn ggml(format: WeightFormat) -> Option<GgmlDType> {
    match format {
        WeightFormat::Q8_0 => Some(GgmlDType::Q8_0),
        WeightFormat::Q4_0 => Some(GgmlDType::Q4_0),
        WeightFormat::Q4K => Some(GgmlDType::Q4K),
        WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bf16 => None,
    }
}
