//! Weights to GGML's block formats: 32 weights of one output share a scale.
//!
//! Written so that the compiler turns each loop over a block into vectors: no early ends, and
//! sums and maxima in halves.

use half::f16;

use super::lanes::{LANES, reduce};
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

/// GGML's `quantize_row_q4_K`: eight blocks whose scales and minima are six bits each, in steps that
/// the eight share. The two are what [`scales_and_minima`] found for each of the blocks.
#[inline(always)]
pub fn q4_k(weights: &[[f32; BLOCK]; SUPER], scales: [f32; SUPER], minima: [f32; SUPER]) -> [Quants; SUPER] {
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

/// A block of each of sixteen outputs, which lie side by side.
pub type SideBySide<T> = [[T; LANES]; BLOCK];

/// The scales and the (positive) minima that bring blocks close to whole steps from 0 to 15: the
/// search of GGML's `make_qkx1_quants`, for sixteen outputs at once.
///
/// Each is searched for by itself, in the order of sums that [`reduce`] has, until its steps
/// stay as they are; one that has ended waits for the others.
#[inline(always)]
pub fn scales_and_minima(weights: &SideBySide<f32>) -> ([f32; LANES], [f32; LANES]) {
    let (mut greatest, mut least) = (weights[0], weights[0]);
    for weights in &weights[1..] {
        for lane in 0..LANES {
            let x = weights[lane];
            greatest[lane] = if x > greatest[lane] { x } else { greatest[lane] };
            least[lane] = if x < least[lane] { x } else { least[lane] };
        }
    }
    let (mut scale, mut flat) = ([0.0; LANES], [false; LANES]);
    for lane in 0..LANES {
        least[lane] = least[lane].min(0.0);
        flat[lane] = greatest[lane] <= least[lane];
        scale[lane] = (greatest[lane] - least[lane]) / 15.0;
    }
    let mut ended = flat;
    let mut steps = [[-1.0; LANES]; BLOCK];
    for _ in 0..5 {
        let fit = Fit::new(weights, &scale, &least, &mut steps);
        for lane in 0..LANES {
            if !ended[lane] {
                (scale[lane], least[lane]) = (fit.scale[lane], fit.least[lane]);
            }
            ended[lane] |= !fit.changed[lane];
        }
        if ended == [true; LANES] {
            break;
        }
    }
    for lane in 0..LANES {
        scale[lane] = if flat[lane] { 0.0 } else { scale[lane] };
        least[lane] = -least[lane];
    }
    (scale, least)
}

/// What fits the steps best that weights are brought to with some scale and minimum.
struct Fit {
    scale: [f32; LANES],
    least: [f32; LANES],
    /// Whether the steps are others than before.
    changed: [bool; LANES],
}

impl Fit {
    #[inline(always)]
    fn new(weights: &SideBySide<f32>, scale: &[f32; LANES], least: &[f32; LANES], steps: &mut SideBySide<f32>) -> Self {
        let mut inverse = [0.0; LANES];
        for lane in 0..LANES {
            inverse[lane] = 1.0 / scale[lane];
        }
        let (mut products, mut squares) = ([[0.0; LANES]; HALF], [[0.0; LANES]; HALF]);
        let mut differences = [0; LANES];
        for i in 0..HALF {
            for lane in 0..LANES {
                let first = weights[i][lane] - least[lane];
                let second = weights[i + HALF][lane] - least[lane];
                let first_step = to_four_bits(first * inverse[lane]) as f32;
                let second_step = to_four_bits(second * inverse[lane]) as f32;
                differences[lane] |= first_step.to_bits() ^ steps[i][lane].to_bits();
                differences[lane] |= second_step.to_bits() ^ steps[i + HALF][lane].to_bits();
                steps[i][lane] = first_step;
                steps[i + HALF][lane] = second_step;
                products[i][lane] = first * first_step + second * second_step;
                squares[i][lane] = first_step * first_step + second_step * second_step;
            }
        }
        sum_halves(&mut products);
        sum_halves(&mut squares);
        let mut fit = Self {
            scale: [0.0; LANES],
            least: [0.0; LANES],
            changed: [false; LANES],
        };
        for lane in 0..LANES {
            fit.scale[lane] = products[0][lane] / squares[0][lane];
        }
        let rests = &mut products;
        for i in 0..HALF {
            for lane in 0..LANES {
                let first = weights[i][lane] - fit.scale[lane] * steps[i][lane];
                let second = weights[i + HALF][lane] - fit.scale[lane] * steps[i + HALF][lane];
                rests[i][lane] = first + second;
            }
        }
        sum_halves(rests);
        for lane in 0..LANES {
            fit.least[lane] = (rests[0][lane] / BLOCK as f32).min(0.0);
            fit.changed[lane] = differences[lane] != 0;
        }
        fit
    }
}

const HALF: usize = BLOCK / 2;

/// The rest of [`reduce`]'s sum, each half of a block being added to the other already: it
/// becomes the first.
#[inline(always)]
fn sum_halves(numbers: &mut [[f32; LANES]; HALF]) {
    for width in [8, 4, 2, 1] {
        let (sums, others) = numbers.split_at_mut(width);
        for (sum, other) in sums.as_flattened_mut().iter_mut().zip(others.as_flattened()) {
            *sum += other;
        }
    }
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

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// The search as GGML has it: one block after the other.
    fn one_by_one(weights: &[f32; BLOCK]) -> (f32, f32) {
        let sum = |numbers| reduce(numbers, |a: f32, b: f32| a + b);
        let greatest = reduce(*weights, |a, b| if a > b { a } else { b });
        let mut least = reduce(*weights, |a, b| if a < b { a } else { b }).min(0.0);
        if greatest <= least {
            return (0.0, -least);
        }
        let mut scale = (greatest - least) / 15.0;
        let mut steps = [-1; BLOCK];
        for _ in 0..5 {
            let before = steps;
            let above = weights.map(|x| x - least);
            steps = above.map(|x| to_four_bits(x * (1.0 / scale)));
            let products = std::array::from_fn(|i| above[i] * steps[i] as f32);
            scale = sum(products) / sum(steps.map(|step| (step * step) as f32));
            least = (sum(std::array::from_fn(|i| weights[i] - scale * steps[i] as f32)) / BLOCK as f32).min(0.0);
            if steps == before {
                break;
            }
        }
        (scale, -least)
    }

    #[test]
    fn scales_are_those_of_each_block_by_itself() {
        let mut rng = StdRng::seed_from_u64(6);
        for round in 0..if cfg!(miri) { 1 } else { 500 } {
            let shift = [0.0, 1.0, -1.0, 0.3][round % 4];
            let mut blocks: [[f32; BLOCK]; LANES] = std::array::from_fn(|lane| {
                let size = 10f32.powi(lane as i32 - 8);
                std::array::from_fn(|_| size * (rng.random_range(-1f32..1.0) + shift))
            });
            // All alike, none at all, of few values, and one that is not finite.
            blocks[3] = [0.5; BLOCK];
            blocks[5] = [0.0; BLOCK];
            blocks[6] = blocks[6].map(f32::signum);
            blocks[7][round % BLOCK] = f32::NAN;
            let weights = std::array::from_fn(|i| std::array::from_fn(|lane| blocks[lane][i]));
            let (scales, minima) = scales_and_minima(&weights);
            for (lane, block) in blocks.iter().enumerate() {
                let (scale, minimum) = one_by_one(block);
                let (expected, got) = ([scale, minimum], [scales[lane], minima[lane]]);
                assert!(
                    lane == 7 || expected.map(f32::to_bits) == got.map(f32::to_bits),
                    "{got:?} instead of {expected:?} for {block:?}"
                );
            }
        }
    }
}
