//! The activations that BLIP-2's configs name, as transformers' `ACT2FN` has them.

use candle_core::{Result, Tensor};
use serde::Deserialize;

use crate::cpu::activation::ActivationKernel;

/// An activation, by its name in a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// The exact GELU, by the error function.
    Gelu,
    /// The GELU's tanh approximation.
    #[serde(alias = "gelu_pytorch_tanh", alias = "gelu_fast")]
    GeluNew,
    Relu,
    #[serde(alias = "swish")]
    Silu,
    /// `x * sigmoid(1.702 x)`.
    QuickGelu,
    Tanh,
}

impl Activation {
    /// What computes it on the CPU, where that is not candle.
    pub fn kernel(self) -> Option<ActivationKernel> {
        match self {
            Self::Gelu => Some(ActivationKernel::Gelu),
            Self::GeluNew => Some(ActivationKernel::GeluNew),
            Self::Relu => Some(ActivationKernel::Relu),
            Self::Silu => Some(ActivationKernel::Silu),
            Self::QuickGelu => Some(ActivationKernel::QuickGelu),
            Self::Tanh => None,
        }
    }

    /// Applies it to every element, by candle's operations.
    pub fn by_candle(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Gelu => x.gelu_erf(),
            Self::GeluNew => x.gelu(),
            Self::Relu => x.relu(),
            Self::Silu => x.silu(),
            Self::QuickGelu => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
            Self::Tanh => x.tanh(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Kernels;

    #[test]
    fn activations_are_libms_within_rounding() {
        let small = (-60_000..=60_000).map(|i| i as f32 * 1e-4);
        // Where exponentials overflow, or vanish.
        let large = [20.0, 90.0, 1e4, 1e15].into_iter().flat_map(|x| [x, -x]);
        let xs: Vec<f32> = small.chain(large).collect();
        let x = Tensor::new(xs.as_slice(), &candle_core::Device::Cpu).expect("memory for a small tensor");
        for activation in [
            Activation::Gelu,
            Activation::GeluNew,
            Activation::Relu,
            Activation::Silu,
            Activation::QuickGelu,
        ] {
            let by = |kernels: Kernels| {
                let y = kernels.activate(activation, &x).and_then(|y| y.to_vec1::<f32>());
                y.expect("it is a float tensor")
            };
            for ((x, ours), libm) in xs.iter().zip(by(Kernels::Own)).zip(by(Kernels::Candle)) {
                assert!(
                    (ours - libm).abs() <= 1e-6 * x.abs().max(1.0),
                    "{activation:?} of {x} = {ours}, libm says {libm}"
                );
            }
        }
    }

    #[test]
    fn no_activation_hides_what_is_not_a_number() {
        let x = Tensor::new(&[f32::NAN, -1.0], &candle_core::Device::Cpu).expect("memory for a small tensor");
        for activation in [
            Activation::Gelu,
            Activation::GeluNew,
            Activation::Relu,
            Activation::Silu,
            Activation::QuickGelu,
        ] {
            let y = Kernels::Own.activate(activation, &x).and_then(|y| y.to_vec1::<f32>());
            assert!(y.expect("it is a float tensor")[0].is_nan(), "{activation:?}");
        }
    }
}
