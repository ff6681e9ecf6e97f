//! Linear layers that read the same rows: queries, keys and values of an attention layer.
//!
//! A GPU that decodes a token spends its time on beginning work, not on doing it: for candle's products
//! the matrices lie one below the other and are multiplied at once. Our own kernels read each from where
//! it was packed, and gain nothing by that.

use candle_core::{D, Result, Tensor};

use super::linear::Linear;
use crate::cpu::Rows;

/// `N` linear layers with the same input.
pub struct JointLinear<const N: usize>(Layers<N>);

enum Layers<const N: usize> {
    Apart([Linear; N]),
    Joined {
        all: Linear,
        /// The outputs of each.
        widths: [usize; N],
    },
}

impl<const N: usize> JointLinear<N> {
    /// Joins layers where that is faster.
    ///
    /// # Errors
    /// The device's.
    pub fn new(layers: [Linear; N]) -> Result<Self> {
        Ok(Self(match Linear::join(&layers)? {
            Some(all) => Layers::Joined {
                all,
                widths: layers.each_ref().map(Linear::outputs),
            },
            None => Layers::Apart(layers),
        }))
    }

    /// `[…, in]` to `[…, out]` of each layer; see [`Linear::forward_of`].
    ///
    /// # Errors
    /// `x` has another width, or what the device says.
    pub fn forward_of(&self, rows: Rows, x: &Tensor) -> Result<[Tensor; N]> {
        let outputs: Vec<Tensor> = match &self.0 {
            Layers::Apart(layers) => layers
                .iter()
                .map(|layer| layer.forward_of(rows, x))
                .collect::<Result<_>>()?,
            Layers::Joined { all, widths } => {
                let y = all.forward_of(rows, x)?;
                let mut start = 0;
                let part = |width: &usize| {
                    start += width;
                    y.narrow(D::Minus1, start - width, *width)
                };
                widths.iter().map(part).collect::<Result<_>>()?
            }
        };
        outputs
            .try_into()
            .map_err(|_| candle_core::Error::Msg("a layer is missing".into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{DType, Device};

    use super::*;
    use crate::nn::WeightMatrix;

    const INPUTS: usize = 64;

    #[test]
    fn joined_layers_give_what_each_gives() -> Result<()> {
        let x = Tensor::randn(0f32, 1.0, (2, 3, INPUTS), &Device::Cpu)?;
        for (format, has_bias) in [
            (None, true),
            (None, false),
            (Some(GgmlDType::Q8_0), true),
            (Some(GgmlDType::Q4_0), false),
        ] {
            let matrices = [32, 96, 64].map(|outputs| Tensor::randn(0f32, 1.0, (outputs, INPUTS), &Device::Cpu));
            let biases = [32, 96, 64].map(|outputs| Tensor::randn(0f32, 1.0, outputs, &Device::Cpu));
            let layer = |index: usize| {
                let matrix = matrices[index].as_ref().expect("it was drawn").clone();
                let weight = match format {
                    None => WeightMatrix::Tensor(matrix),
                    Some(ggml) => WeightMatrix::Quantised {
                        matrix: Arc::new(QTensor::quantize(&matrix, ggml)?),
                        dtype: DType::F32,
                    },
                };
                let bias = biases[index].as_ref().expect("it was drawn").clone();
                Linear::from_parts(weight, has_bias.then_some(bias))
            };
            let joint = JointLinear::new([layer(0)?, layer(1)?, layer(2)?])?;
            assert!(matches!(joint.0, Layers::Joined { .. }));
            for (index, joined) in joint.forward_of(Rows::Prompt, &x)?.iter().enumerate() {
                let apart = layer(index)?.forward(&x)?;
                assert_eq!(joined.dims(), apart.dims());
                let worst = (joined - apart)?.abs()?.max_all()?.to_scalar::<f32>()?;
                assert!(worst <= 1e-5, "{format:?}: {worst}");
            }
        }
        Ok(())
    }

    #[test]
    fn layers_of_different_kinds_stay_apart() -> Result<()> {
        let matrix = |outputs| Tensor::randn(0f32, 1.0, (outputs, INPUTS), &Device::Cpu).map(WeightMatrix::Tensor);
        let bias = Tensor::zeros(8, DType::F32, &Device::Cpu)?;
        let layers = [
            Linear::from_parts(matrix(8)?, Some(bias))?,
            Linear::from_parts(matrix(8)?, None)?,
        ];
        let joint = JointLinear::new(layers)?;
        assert!(matches!(joint.0, Layers::Apart(_)));
        Ok(())
    }
}
