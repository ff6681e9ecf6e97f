//! Activations in place, in vectors.
//!
//! candle's GELUs call libm's `erff` and `tanhf` for one element after another, and its ReLU turns a
//! NaN into zero, which hides damaged weights.

use rayon::prelude::*;

use super::isa::{Isa, compiled_for_each};
use super::lanes::{Lanes, exp};

/// An activation that there is a kernel for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationKernel {
    /// The exact GELU, by the error function.
    Gelu,
    /// The GELU's tanh approximation.
    GeluNew,
    Relu,
    /// `x * sigmoid(x)`.
    Silu,
    /// `x * sigmoid(1.702 x)`.
    QuickGelu,
}

/// Elements that one task takes: enough to be worth waking a core.
const CHUNK: usize = 1 << 14;

impl ActivationKernel {
    /// Applies it in place, on all cores.
    pub fn apply(self, numbers: &mut [f32]) {
        let isa = Isa::current();
        numbers
            .par_chunks_mut(CHUNK)
            .for_each(|numbers| self.apply_on(isa, numbers));
    }

    fn apply_on(self, isa: Isa, numbers: &mut [f32]) {
        match self {
            Self::Gelu => erf_gelu(isa, numbers),
            Self::GeluNew => tanh_gelu(isa, numbers),
            Self::Relu => relu(isa, numbers),
            Self::Silu => silu(isa, numbers),
            Self::QuickGelu => quick_gelu(isa, numbers),
        }
    }
}

/// # Safety
/// Compiled for the instruction set of `L`.
#[expect(
    clippy::extra_unused_type_parameters,
    reason = "`L` says for which instructions it is compiled"
)]
#[inline(always)]
unsafe fn relu_of_each<L: Lanes>(numbers: &mut [f32]) {
    for x in numbers {
        *x = if *x < 0.0 { 0.0 } else { *x };
    }
}

/// # Safety
/// Compiled for the instruction set of `L`.
#[expect(
    clippy::extra_unused_type_parameters,
    reason = "`L` says for which instructions it is compiled"
)]
#[inline(always)]
unsafe fn erf_gelu_of_each<L: Lanes>(numbers: &mut [f32]) {
    for x in numbers {
        *x = 0.5 * *x * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
    }
}

/// # Safety
/// Compiled for the instruction set of `L`.
#[expect(
    clippy::extra_unused_type_parameters,
    reason = "`L` says for which instructions it is compiled"
)]
#[inline(always)]
unsafe fn tanh_gelu_of_each<L: Lanes>(numbers: &mut [f32]) {
    /// Twice the square root of 2 / π.
    const TWICE: f32 = 2.0 * 0.797_884_6;
    for x in numbers {
        // (1 + tanh y) / 2 is the sigmoid of 2 y.
        *x *= sigmoid(TWICE * *x * (1.0 + 0.044_715 * *x * *x));
    }
}

/// # Safety
/// Compiled for the instruction set of `L`.
#[expect(
    clippy::extra_unused_type_parameters,
    reason = "`L` says for which instructions it is compiled"
)]
#[inline(always)]
unsafe fn silu_of_each<L: Lanes>(numbers: &mut [f32]) {
    for x in numbers {
        *x *= sigmoid(*x);
    }
}

/// # Safety
/// Compiled for the instruction set of `L`.
#[expect(
    clippy::extra_unused_type_parameters,
    reason = "`L` says for which instructions it is compiled"
)]
#[inline(always)]
unsafe fn quick_gelu_of_each<L: Lanes>(numbers: &mut [f32]) {
    for x in numbers {
        *x *= sigmoid(1.702 * *x);
    }
}

compiled_for_each!(relu, relu_of_each, &mut [f32]);
compiled_for_each!(erf_gelu, erf_gelu_of_each, &mut [f32]);
compiled_for_each!(tanh_gelu, tanh_gelu_of_each, &mut [f32]);
compiled_for_each!(silu, silu_of_each, &mut [f32]);
compiled_for_each!(quick_gelu, quick_gelu_of_each, &mut [f32]);

/// `1 / (1 + e^-x)`, without an exponential that could overflow.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let small = exp(-x.abs());
    let above = if x < 0.0 { small } else { 1.0 };
    above / (1.0 + small)
}

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
    fn every_instruction_set_computes_the_same_and_hides_no_nan() {
        let numbers: Vec<f32> = (-300..300).map(|i| i as f32 * 0.013).chain([f32::NAN]).collect();
        for activation in [
            ActivationKernel::Gelu,
            ActivationKernel::GeluNew,
            ActivationKernel::Relu,
            ActivationKernel::Silu,
            ActivationKernel::QuickGelu,
        ] {
            let on = |isa| {
                let mut numbers = numbers.clone();
                activation.apply_on(isa, &mut numbers);
                numbers
            };
            let all = Isa::all();
            let plain = on(all[all.len() - 1]);
            assert!(plain[600].is_nan(), "{activation:?}");
            for isa in all {
                for (x, y) in on(isa)[..600].iter().zip(&plain) {
                    assert!((x - y).abs() <= 1e-6, "{activation:?} on {isa:?}: {x} instead of {y}");
                }
            }
        }
    }
}
