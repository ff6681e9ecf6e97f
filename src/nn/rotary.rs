//! Rotary position embedding: queries and keys are turned by their position, so that scores depend
//! on distances.
//!
//! Source: Su et al. 2021 (arXiv 2104.09864), as `LlamaRotaryEmbedding` of transformers computes it:
//! angles, cosines and sines in f32 whatever the dtype.

use candle_core::{D, DType, Device, Result, Tensor};

use super::cpu_ops;
use super::kernels::Kernels;
use super::weights::Weights;

/// What turns the heads of a network.
pub struct RotaryEmbedding {
    /// Of each pair of a head's numbers, how much the angle grows from position to position.
    frequencies: Vec<f32>,
    kernels: Kernels,
    dtype: DType,
    device: Device,
}

impl RotaryEmbedding {
    /// For heads of `size` numbers, which is even; `theta` is the base of the frequencies.
    pub fn new(size: usize, theta: f64, vb: &Weights) -> Self {
        let frequency = |pair: usize| {
            let exponent = 2.0 * pair as f64 / size as f64;
            theta.powf(exponent) as f32
        };
        Self {
            frequencies: (0..size / 2).map(|pair| 1.0 / frequency(pair)).collect(),
            kernels: vb.kernels(),
            dtype: vb.dtype(),
            device: vb.device().clone(),
        }
    }

    /// The angles of rows at these positions: the same in every layer.
    ///
    /// # Errors
    /// The device's.
    pub fn at(&self, positions: &[u32]) -> Result<Rotation> {
        let angles = positions.iter().flat_map(|position| {
            let position = *position as f32;
            self.frequencies.iter().map(move |frequency| position * frequency)
        });
        let (sin, cos): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
        if self.kernels == Kernels::Own {
            return Ok(Rotation::Host { cos, sin });
        }
        let shape = (1, positions.len(), 1, self.frequencies.len());
        let tensor = |numbers| Tensor::from_vec(numbers, shape, &self.device)?.to_dtype(self.dtype);
        Ok(Rotation::Tensors {
            cos: tensor(cos)?,
            sin: tensor(sin)?,
        })
    }
}

/// The angles of a pass's rows.
pub enum Rotation {
    /// For our kernels, `[rows][size / 2]`.
    Host { cos: Vec<f32>, sin: Vec<f32> },
    /// For candle's operations, `[1, rows, 1, size / 2]`.
    Tensors { cos: Tensor, sin: Tensor },
}

impl Rotation {
    /// Turns the heads of each row, `[1, rows, heads * size]` in and out.
    ///
    /// # Errors
    /// Another number of rows, a width that is not whole heads, or the device's.
    pub fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Host { cos, sin } => cpu_ops::rotate(x, cos, sin),
            Self::Tensors { cos, sin } => rotate_by_candle(x, cos, sin),
        }
    }
}

fn rotate_by_candle(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let (batch, rows, width) = x.dims3()?;
    let half = cos.dim(D::Minus1)?;
    let heads = x.reshape((batch, rows, width / (2 * half), 2 * half))?;
    let first = heads.narrow(3, 0, half)?.contiguous()?;
    let second = heads.narrow(3, half, half)?.contiguous()?;
    let turned_first = (first.broadcast_mul(cos)? - second.broadcast_mul(sin)?)?;
    let turned_second = (second.broadcast_mul(cos)? + first.broadcast_mul(sin)?)?;
    Tensor::cat(&[&turned_first, &turned_second], 3)?.reshape((batch, rows, width))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedding(kernels: Kernels) -> RotaryEmbedding {
        let size = 6;
        RotaryEmbedding {
            frequencies: (0..size / 2).map(|pair| 10f32.powi(-pair)).collect(),
            kernels,
            dtype: DType::F32,
            device: Device::Cpu,
        }
    }

    #[test]
    fn our_rotation_is_candles_and_keeps_what_stands_at_the_beginning() -> Result<()> {
        let x = Tensor::randn(0f32, 1.0, (1, 4, 12), &Device::Cpu)?;
        let turned = |kernels| -> Result<Vec<Vec<f32>>> {
            let rotation = embedding(kernels).at(&[0, 7, 8, 2000])?;
            rotation.rotate(&x)?.squeeze(0)?.to_vec2()
        };
        let (ours, candles) = (turned(Kernels::Own)?, turned(Kernels::Candle)?);
        assert_eq!(ours[0], x.squeeze(0)?.to_vec2::<f32>()?[0]);
        for (ours, candles) in ours.concat().iter().zip(candles.concat()) {
            assert!((ours - candles).abs() < 1e-6, "{ours} and {candles}");
        }
        let other = Tensor::zeros((1, 4, 9), DType::F32, &Device::Cpu)?;
        assert!(embedding(Kernels::Own).at(&[0, 1, 2, 3])?.rotate(&other).is_err());
        Ok(())
    }
}
