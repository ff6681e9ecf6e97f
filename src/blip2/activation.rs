//! The activations that BLIP-2's configs name, as transformers' `ACT2FN` has them.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use serde::Deserialize;

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
        match self {
            Self::Gelu if is_f32_on_cpu(x) => x.contiguous()?.apply_op1_no_bwd(&OnCpu::ErfGelu),
            Self::Gelu => x.gelu_erf(),
            Self::GeluNew => x.gelu(),
            Self::Relu if is_f32_on_cpu(x) => x.contiguous()?.apply_op1_no_bwd(&OnCpu::Relu),
            Self::Relu => x.relu(),
            Self::Silu => x.silu(),
            Self::QuickGelu => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
            Self::Tanh => x.tanh(),
        }
    }
}

fn is_f32_on_cpu(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// Activations on the CPU, on all cores and in vectors. candle's own GELU calls libm's `erff`
/// for one element after another, and its ReLU turns what is not a number into zero, which
/// hides damaged weights.
enum OnCpu {
    ErfGelu,
    Relu,
}

/// Elements that one task takes: enough to be worth waking a core.
const CHUNK: usize = 1 << 14;

impl CustomOp1 for OnCpu {
    fn name(&self) -> &'static str {
        match self {
            Self::ErfGelu => "erf-gelu",
            Self::Relu => "relu",
        }
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("the activation needs a contiguous tensor");
        };
        let input = &storage.as_slice::<f32>()?[start..end];
        let mut output = vec![0f32; input.len()];
        output
            .par_chunks_mut(CHUNK)
            .zip(input.par_chunks(CHUNK))
            .for_each(|(output, input)| match self {
                Self::ErfGelu => fill(output, input, |x| {
                    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
                }),
                Self::Relu => fill(output, input, |x| if x < 0.0 { 0.0 } else { x }),
            });
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }
}

#[inline(always)]
fn fill(output: &mut [f32], input: &[f32], f: impl Fn(f32) -> f32) {
    for (y, &x) in output.iter_mut().zip(input) {
        *y = f(x);
    }
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
    let p = P.iter().rev().fold(0.0, |sum, coefficient| sum * square + coefficient);
    let q = Q.iter().rev().fold(0.0, |sum, coefficient| sum * square + coefficient);
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
