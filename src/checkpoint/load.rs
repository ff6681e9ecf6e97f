//! Tensors from mapped files onto a device: converted piece by piece, each piece's pages
//! given back at once, so that a checkpoint is never in memory twice.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Shape, Tensor, WithDType};
use candle_nn::var_builder::SimpleBackend;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;

use super::inventory::may_repeat;
use super::progress::Progress;
use super::weights::{StoredTensor, Weights};

/// Numbers that are converted at a time, on each core.
const PIECE: usize = 1 << 20;

/// Numbers that are converted in one go, which stay in the first cache.
const BLOCK: usize = 1 << 10;

/// Hands the tensors to candle's `VarBuilder`.
pub struct Backend {
    pub weights: Arc<Weights>,
    pub progress: Arc<Progress>,
}

impl SimpleBackend for Backend {
    fn get(&self, shape: Shape, name: &str, _: candle_nn::Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let Some(found) = self.weights.shape(name) else {
            return Err(candle_core::Error::CannotFindTensor { path: name.to_string() });
        };
        if found != shape.dims() {
            // The message is the tensor's name: `Checkpoint::explain` makes the sentence.
            return Err(candle_core::Error::UnexpectedShape {
                msg: name.to_string(),
                expected: shape,
                got: found.into(),
            });
        }
        self.get_unchecked(name, dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let Some(stored) = self.weights.get(name) else {
            return Err(candle_core::Error::CannotFindTensor { path: name.to_string() });
        };
        let tensor = match dtype {
            DType::F32 => read::<f32>(name, &stored, device),
            DType::F16 => read::<f16>(name, &stored, device),
            DType::BF16 => read::<bf16>(name, &stored, device),
            other => candle_core::bail!("weights cannot become {}", other.as_str()),
        }?;
        self.progress.add(stored.bytes.len() as u64);
        Ok(tensor)
    }

    /// A head that repeats the token table is as good as none, as in the reference: the model
    /// ties the two, and holds the numbers once.
    fn contains_tensor(&self, name: &str) -> bool {
        let repeats = |table: &&str| self.weights.are_equal(name, table);
        self.weights.contains(name) && !may_repeat(name).iter().any(repeats)
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

fn read<T: Number>(name: &str, stored: &StoredTensor, device: &Device) -> Result<Tensor> {
    let numbers: Vec<T> = match stored.dtype {
        Dtype::F32 => convert(stored, |bytes| each(bytes, f32::from_le_bytes)),
        Dtype::F16 => convert(stored, |bytes| {
            let mut values = [0.0; BLOCK];
            each(bytes, f16::from_le_bytes).convert_to_f32_slice(&mut values);
            values
        }),
        Dtype::BF16 => convert(stored, |bytes| each(bytes, |bytes| bf16::from_le_bytes(bytes).to_f32())),
        Dtype::F64 => convert(stored, |bytes| each(bytes, |bytes| f64::from_le_bytes(bytes) as f32)),
        other => candle_core::bail!("{name} holds {other:?} numbers, which are no weights"),
    };
    Tensor::from_vec(numbers, stored.shape, device)
}

/// At most a block of numbers from their bytes.
fn each<T: Default + Copy, const SIZE: usize>(bytes: &[[u8; SIZE]], number: impl Fn([u8; SIZE]) -> T) -> [T; BLOCK] {
    let mut numbers = [T::default(); BLOCK];
    for (out, bytes) in numbers.iter_mut().zip(bytes) {
        *out = number(*bytes);
    }
    numbers
}

/// All numbers of a tensor, `SIZE` bytes each; `decode` is given a block at most.
fn convert<T: Number, const SIZE: usize>(
    stored: &StoredTensor,
    decode: impl Fn(&[[u8; SIZE]]) -> [f32; BLOCK] + Sync,
) -> Vec<T> {
    // The sizes fit: opening the file has checked them.
    let (elements, _) = stored.bytes.as_chunks::<SIZE>();
    let mut numbers = vec![T::default(); elements.len()];
    numbers
        .par_chunks_mut(PIECE)
        .zip(elements.par_chunks(PIECE))
        .enumerate()
        .for_each(|(index, (numbers, elements))| {
            for (out, bytes) in numbers.chunks_mut(BLOCK).zip(elements.chunks(BLOCK)) {
                T::fill(out, &decode(bytes)[..out.len()]);
            }
            let start = index * PIECE * SIZE;
            stored.give_back(start..start + elements.len() * SIZE);
        });
    numbers
}
