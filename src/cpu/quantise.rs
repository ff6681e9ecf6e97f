//! Weights to GGML's block formats: 32 weights of one output share a scale.
//!
//! Written so that the compiler turns each loop over a block into vectors: no early ends, and
//! sums and maxima in halves.

use half::f16;

use super::lanes::reduce;
use super::matrix::BLOCK;

/// Blocks that share a scale of their scales in `q4_k`.
pub const SUPER: usize = 8;

/// A block of 32 quantised weights of one output: `value * scale - minimum`.
#[derive(Clone, Copy)]
pub struct Quants {
    pub values: [i8; BLOCK],
    pub scale: f16,
    pub minimum: f16,
}

impl Quants {
    pub const ZERO: Self = Self {
        values: [0; BLOCK],
        scale: f16::ZERO,
        minimum: f16::ZERO,
    };

    /// Rounding would hide a NaN or an infinity: a block with such a weight gets a scale that is
    /// not a number.
    #[inline(always)]
    fn new(values: [i8; BLOCK], scale: f32, minimum: f32, weights: &[f32; BLOCK]) -> Self {
        let is_sound = greatest_magnitude(weights).is_finite();
        Self {
            values,
            scale: if is_sound { f16::from_f32(scale) } else { f16::NAN },
            minimum: f16::from_f32(minimum),
        }
    }
}

/// GGML's `quantize_row_q8_0`.
#[inline(always)]
pub fn q8_0(weights: &[f32; BLOCK]) -> Quants {
    let scale = greatest_magnitude(weights) / 127.0;
    let inverse = inverse(scale);
    let mut values = [0; BLOCK];
    for (value, x) in values.iter_mut().zip(weights) {
        let x = x * inverse;
        // To the nearest, ties away from zero: `round` would be a call for each weight.
        *value = truncate(x + 0.5f32.copysign(x), -127.0, 127.0) as i8;
    }
    Quants::new(values, scale, 0.0, weights)
}

/// GGML's `quantize_row_q4_0`: the weight of the greatest magnitude becomes -8.
#[inline(always)]
pub fn q4_0(weights: &[f32; BLOCK]) -> Quants {
    let magnitude = greatest_magnitude(weights);
    let mut greatest = 0.0;
    for &x in weights.iter().rev() {
        if x.abs() == magnitude {
            greatest = x;
        }
    }
    let scale = greatest / -8.0;
    let inverse = inverse(scale);
    let mut values = [0; BLOCK];
    for (value, x) in values.iter_mut().zip(weights) {
        *value = truncate(x * inverse + 8.5, 0.0, 15.0) as i8;
    }
    Quants::new(values, scale, 0.0, weights)
}

/// GGML's `quantize_row_q4_K`, with the search of its `make_qkx1_quants`: eight blocks whose
/// scales and minima are six bits each, in steps that the eight share.
#[inline(always)]
pub fn q4_k(weights: &[[f32; BLOCK]; SUPER]) -> [Quants; SUPER] {
    let mut scales = [0.0; SUPER];
    let mut minima = [0.0; SUPER];
    for (index, weights) in weights.iter().enumerate() {
        (scales[index], minima[index]) = scale_and_minimum(weights);
    }
    let (scale_step, scales) = six_bits(scales);
    let (minimum_step, minima) = six_bits(minima);
    let mut quants = [Quants::ZERO; SUPER];
    for (index, quants) in quants.iter_mut().enumerate() {
        let (scale, minimum) = (scale_step * scales[index], minimum_step * minima[index]);
        let mut values = [0; BLOCK];
        for (value, x) in values.iter_mut().zip(&weights[index]) {
            *value = to_four_bits((x + minimum) / scale) as i8;
        }
        if scale == 0.0 {
            values = [0; BLOCK];
        }
        *quants = Quants::new(values, scale, minimum, &weights[index]);
    }
    quants
}

/// The scale and the (positive) minimum that bring a block close to whole steps from 0 to 15.
#[inline(always)]
fn scale_and_minimum(weights: &[f32; BLOCK]) -> (f32, f32) {
    let greatest = reduce(*weights, |a, b| if a > b { a } else { b });
    let mut least = reduce(*weights, |a, b| if a < b { a } else { b }).min(0.0);
    if greatest <= least {
        return (0.0, -least);
    }
    let mut scale = (greatest - least) / 15.0;
    let mut steps = [-1; BLOCK];
    for _ in 0..5 {
        let before = steps;
        let (mut products, mut squares) = ([0.0; BLOCK], [0.0; BLOCK]);
        let inverse = 1.0 / scale;
        for i in 0..BLOCK {
            let above = weights[i] - least;
            steps[i] = to_four_bits(above * inverse);
            let step = steps[i] as f32;
            (products[i], squares[i]) = (above * step, step * step);
        }
        scale = sum(products) / sum(squares);
        let mut rests = [0.0; BLOCK];
        for i in 0..BLOCK {
            rests[i] = weights[i] - scale * steps[i] as f32;
        }
        least = (sum(rests) / BLOCK as f32).min(0.0);
        if steps == before {
            break;
        }
    }
    (scale, -least)
}

/// Eight numbers as whole steps from 0 to 63, and the size of a step, as f16 has it.
#[inline(always)]
fn six_bits(numbers: [f32; SUPER]) -> (f32, [f32; SUPER]) {
    let greatest = numbers.iter().fold(0.0, |greatest: f32, x| greatest.max(*x));
    let inverse = if greatest > 0.0 { 63.0 / greatest } else { 0.0 };
    let step = f16::from_f32(greatest / 63.0).to_f32();
    let mut steps = [0.0; SUPER];
    for (steps, x) in steps.iter_mut().zip(numbers) {
        *steps = truncate(x * inverse + 0.5, 0.0, 63.0) as f32;
    }
    (step, steps)
}

/// To the nearest from 0 to 15.
#[inline(always)]
fn to_four_bits(x: f32) -> i32 {
    truncate(x + 0.5, 0.0, 15.0)
}

/// The whole part of a number that is first brought between two bounds; `as` alone would be
/// several branches for each weight.
#[inline(always)]
fn truncate(x: f32, least: f32, most: f32) -> i32 {
    let x = if x > least { x } else { least };
    let x = if x < most { x } else { most };
    // SAFETY: it is between the bounds, which whole numbers hold; a NaN has become the lower.
    unsafe { x.to_int_unchecked() }
}

#[inline(always)]
fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// Not finite where any weight is not: beyond the sign, the order of floats is that of their bits.
#[inline(always)]
fn greatest_magnitude(weights: &[f32; BLOCK]) -> f32 {
    let mut bits = [0; BLOCK];
    for (bits, x) in bits.iter_mut().zip(weights) {
        *bits = x.to_bits() & 0x7fff_ffff;
    }
    f32::from_bits(reduce(bits, |a, b| if a > b { a } else { b }))
}

#[inline(always)]
fn sum(numbers: [f32; BLOCK]) -> f32 {
    reduce(numbers, |a, b| a + b)
}
