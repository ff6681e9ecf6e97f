//! Tensors from mapped files onto a device: converted piece by piece, each piece's pages
//! given back at once, so that a checkpoint is never in memory twice.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Shape, Tensor, WithDType};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;

use super::mapped::{MappedTensors, StoredTensor};
use super::progress::Task;

/// Numbers that are converted at a time, on each core.
const PIECE: usize = 1 << 20;

/// Numbers that are converted in one go, which stay in the first cache.
const BLOCK: usize = 1 << 10;

/// The tensors of an opened checkpoint, by name. Progress is told until it is dropped.
pub struct Tensors {
    mapped: Arc<MappedTensors>,
    progress: Box<dyn Task>,
}

impl Tensors {
    /// `progress` hears of each byte that was converted.
    pub fn new(mapped: Arc<MappedTensors>, progress: Box<dyn Task>) -> Self {
        Self { mapped, progress }
    }

    /// Whether there is a tensor of this whole name, whatever its shape and dtype.
    pub fn contains(&self, name: &str) -> bool {
        self.mapped.contains(name)
    }

    /// Whether two tensors are the same to the bit; not where one is missing.
    pub fn are_equal(&self, one: &str, other: &str) -> bool {
        self.mapped.are_equal(one, other)
    }

    /// A tensor, converted to `dtype` (f32, f16 or bf16) on `device`.
    ///
    /// # Errors
    /// `CannotFindTensor` and `UnexpectedShape`, with the tensor's name alone as their message:
    /// whoever loads the model makes the sentence.
    pub fn tensor(&self, name: &str, shape: &Shape, dtype: DType, device: &Device) -> Result<Tensor> {
        let stored = self.stored(name, shape)?;
        let tensor = match dtype {
            DType::F32 => Tensor::from_vec(convert::<f32>(&stored), shape, device),
            DType::F16 => Tensor::from_vec(convert::<f16>(&stored), shape, device),
            DType::BF16 => Tensor::from_vec(convert::<bf16>(&stored), shape, device),
            other => candle_core::bail!("weights cannot become {}", other.as_str()),
        }?;
        self.progress.add(stored.bytes.len() as u64);
        Ok(tensor)
    }

    /// A tensor of this shape as a matrix with a row for each step of its first dimension, to
    /// be read where it lies. Errors as above.
    pub fn matrix(&self, name: &str, shape: &Shape) -> Result<StoredMatrix<'_>> {
        let stored = self.stored(name, shape)?;
        let outputs = shape.dims().first().copied().unwrap_or(1);
        Ok(StoredMatrix {
            stored,
            outputs,
            inputs: shape.elem_count() / outputs.max(1),
            progress: &*self.progress,
        })
    }

    fn stored(&self, name: &str, shape: &Shape) -> Result<StoredTensor<'_>> {
        let Some(stored) = self.mapped.get(name) else {
            return Err(candle_core::Error::CannotFindTensor { path: name.to_string() });
        };
        if stored.shape != shape.dims() {
            return Err(candle_core::Error::UnexpectedShape {
                msg: name.to_string(),
                expected: shape.clone(),
                got: stored.shape.into(),
            });
        }
        if size(stored.dtype) == 0 {
            candle_core::bail!("{name} holds {:?} numbers, which are no weights", stored.dtype);
        }
        Ok(stored)
    }
}

/// A matrix in a mapped file.
pub struct StoredMatrix<'a> {
    stored: StoredTensor<'a>,
    outputs: usize,
    inputs: usize,
    progress: &'a dyn Task,
}

impl StoredMatrix<'_> {
    fn bytes(&self, rows: Range<usize>) -> Range<usize> {
        let row = self.inputs * size(self.stored.dtype);
        rows.start * row..rows.end * row
    }

    /// Its rows: steps of the tensor's first dimension.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Numbers of a row: all other dimensions, one behind the other.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Some of its rows in f32, one behind the other; `scratch` is for numbers that have to be
    /// converted.
    pub fn read<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let count = rows.len() * self.inputs;
        let bytes = &self.stored.bytes[self.bytes(rows)];
        if self.stored.dtype == Dtype::F32 && cfg!(target_endian = "little") {
            // SAFETY: all bits are numbers; the numbers' order is the machine's.
            let (before, numbers, after) = unsafe { bytes.align_to::<f32>() };
            if before.is_empty() && after.is_empty() {
                return numbers;
            }
        }
        scratch.resize(count, 0.0);
        decode(self.stored.dtype, bytes, scratch);
        scratch
    }

    /// These rows are not read any more: their pages go back to the system.
    pub fn done_with(&self, rows: Range<usize>) {
        let bytes = self.bytes(rows);
        self.progress.add(bytes.len() as u64);
        self.stored.give_back(bytes);
    }
}

/// A number that weights are kept as in memory.
trait Number: WithDType + Default {
    /// The nearest numbers; a tie goes to the even one, as in torch.
    fn fill(out: &mut [Self], values: &[f32]);
}

impl Number for f32 {
    fn fill(out: &mut [Self], values: &[f32]) {
        out.copy_from_slice(values);
    }
}

impl Number for f16 {
    fn fill(out: &mut [Self], values: &[f32]) {
        out.convert_from_f32_slice(values);
    }
}

impl Number for bf16 {
    fn fill(out: &mut [Self], values: &[f32]) {
        out.convert_from_f32_slice(values);
    }
}

/// Bytes of a number that can be a weight; of others, 0.
fn size(dtype: Dtype) -> usize {
    match dtype {
        Dtype::F16 | Dtype::BF16 => 2,
        Dtype::F32 => 4,
        Dtype::F64 => 8,
        _ => 0,
    }
}

/// All numbers of a tensor.
fn convert<T: Number>(stored: &StoredTensor) -> Vec<T> {
    let size = size(stored.dtype);
    let mut numbers = vec![T::default(); stored.bytes.len() / size];
    numbers
        .par_chunks_mut(PIECE)
        .zip(stored.bytes.par_chunks(PIECE * size))
        .enumerate()
        .for_each(|(index, (numbers, bytes))| {
            let mut values = [0.0; BLOCK];
            for (out, bytes) in numbers.chunks_mut(BLOCK).zip(bytes.chunks(BLOCK * size)) {
                decode(stored.dtype, bytes, &mut values[..out.len()]);
                T::fill(out, &values[..out.len()]);
            }
            let start = index * PIECE * size;
            stored.give_back(start..start + bytes.len());
        });
    numbers
}

/// Numbers from their bytes, as many as there are.
fn decode(dtype: Dtype, bytes: &[u8], values: &mut [f32]) {
    match dtype {
        Dtype::F32 => fill(bytes, values, f32::from_le_bytes),
        Dtype::BF16 => fill(bytes, values, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        Dtype::F64 => fill(bytes, values, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F16 => {
            let mut halves = [f16::ZERO; BLOCK];
            for (values, bytes) in values.chunks_mut(BLOCK).zip(bytes.chunks(2 * BLOCK)) {
                let halves = &mut halves[..values.len()];
                fill(bytes, halves, f16::from_le_bytes);
                halves.convert_to_f32_slice(values);
            }
        }
        // Nothing else gets past `Tensors::stored`.
        _ => {}
    }
}

fn fill<T, const SIZE: usize>(bytes: &[u8], values: &mut [T], number: impl Fn([u8; SIZE]) -> T) {
    for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
        *value = number(*bytes);
    }
}
