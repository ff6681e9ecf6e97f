//! The activations that BLIP-2's configs name, as transformers' `ACT2FN` has them.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use serde::Deserialize;

use super::linear::contiguous;
use super::linear::simd::{Isa, Lanes, compiled_for_each};

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
    /// Applies the activation to every element.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        if let Some(kernel) = self.on_cpu()
            && x.device().is_cpu()
        {
            return x.contiguous()?.apply_op1_no_bwd(&OnCpu(kernel));
        }
        match self {
            Self::Gelu => x.gelu_erf(),
            Self::GeluNew => x.gelu(),
            Self::Relu => x.relu(),
            Self::Silu => x.silu(),
            Self::QuickGelu => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
            Self::Tanh => x.tanh(),
        }
    }

    /// What computes it on the CPU, where that is not candle. candle's GELU calls libm's `erff`
    /// for one element after another, and its ReLU turns what is not a number into zero, which
    /// hides damaged weights.
    pub fn on_cpu(self) -> Option<Kernel> {
        match self {
            Self::Gelu => Some(Kernel(erf_gelu)),
            Self::Relu => Some(Kernel(relu)),
            _ => None,
        }
    }
}

/// An activation of f32 numbers on the CPU, in vectors.
#[derive(Clone, Copy)]
pub struct Kernel(fn(Isa, &mut [f32]));

/// Elements that one task takes: enough to be worth waking a core.
const CHUNK: usize = 1 << 14;

impl Kernel {
    /// Applies it in place, on all cores.
    pub fn apply(self, numbers: &mut [f32]) {
        let isa = Isa::best();
        numbers.par_chunks_mut(CHUNK).for_each(|numbers| (self.0)(isa, numbers));
    }
}

/// A kernel as candle sees it.
struct OnCpu(Kernel);

impl CustomOp1 for OnCpu {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut numbers = contiguous(storage, layout)?.to_vec();
        self.0.apply(&mut numbers);
        Ok((CpuStorage::F32(numbers), layout.shape().clone()))
    }
}

#[inline(always)]
unsafe fn relu_of_each<L: Lanes>(numbers: &mut [f32]) {
    for x in numbers {
        *x = if *x < 0.0 { 0.0 } else { *x };
    }
}

#[inline(always)]
unsafe fn erf_gelu_of_each<L: Lanes>(numbers: &mut [f32]) {
    for x in numbers {
        *x = 0.5 * *x * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
    }
}

compiled_for_each!(relu, relu_of_each, &mut [f32]);
compiled_for_each!(erf_gelu, erf_gelu_of_each, &mut [f32]);

/// The error function within 5e-7: `x P(x²) / Q(x²)` on [-4, 4], beyond which it is 1 in
/// f32. The coefficients are those of Eigen's float approximation.
#[inline(always)]
fn erf(x: f32) -> f32 {
    const P: [f32; 7] = [
        -1.609_603_3e-2,
        -2.954_6e-3,
        -7.349_906e-4,
        -5.692_506_4e-5,
        -2.101_024e-6,
        2.770_681_4e-8,
        -2.726_142_3e-10,
    ];
    const Q: [f32; 5] = [
        -1.426_473_9e-2,
        -7.373_329_2e-3,
        -1.682_827e-3,
        -2.133_740_6e-4,
        -1.456_607_2e-5,
    ];
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let (mut p, mut q) = (0.0, 0.0);
    for coefficient in P.into_iter().rev() {
        p = p * square + coefficient;
    }
    for coefficient in Q.into_iter().rev() {
        q = q * square + coefficient;
    }
    x * p / q
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_gelu_is_libms_within_rounding() {
        let xs: Vec<f32> = (-60_000..=60_000).map(|i| i as f32 * 1e-4).collect();
        let x = Tensor::new(xs.as_slice(), &candle_core::Device::Cpu).expect("memory for a small tensor");
        let ours = Activation::Gelu
            .forward(&x)
            .and_then(|y| y.to_vec1::<f32>())
            .expect("it is a float tensor");
        let libm = x
            .gelu_erf()
            .and_then(|y| y.to_vec1::<f32>())
            .expect("it is a float tensor");
        for ((x, ours), libm) in xs.iter().zip(&ours).zip(&libm) {
            assert!(
                (ours - libm).abs() <= 1e-6 * x.abs().max(1.0),
                "gelu({x}) = {ours}, libm says {libm}"
            );
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
        ] {
            let y = activation.forward(&x).and_then(|y| y.to_vec1::<f32>());
            assert!(y.expect("it is a float tensor")[0].is_nan(), "{activation:?}");
        }
    }
}
