//! Rows of weights into a panel: converted, and transposed so that the outputs lie side by side.

use half::f16;

use super::format::WeightFormat;
use super::isa::compiled_for_each;
use super::lanes::{LANES, Lanes, pair};
use super::matrix::{BLOCK, PANEL};
use super::quantise::{self, Quants, SUPER};

/// A panel to be filled.
pub struct PackTask<'a> {
    pub format: WeightFormat,
    /// The rows of up to 32 outputs, one behind the other.
    pub rows: &'a [f32],
    pub inputs: usize,
    /// Where its blocks go; all of it is written.
    pub panel: &'a mut [u8],
}

/// Numbers of a block: one for each weight, or one for two of the same output.
const WHOLE: usize = PANEL * BLOCK;
const HALF: usize = WHOLE / 2;

/// Inputs that are taken from each row at a time: enough for a row to be read in order, few
/// enough for 32 rows of them to stay near.
const STRIP: usize = SUPER * BLOCK;

type Strip = [[f32; STRIP]; PANEL];

/// # Safety
/// Compiled for the instruction set of `L`.
#[inline(always)]
unsafe fn pack<L: Lanes>(task: &mut PackTask) {
    let mut strip = [[0.0; STRIP]; PANEL];
    let block_bytes = task.format.block_bytes();
    for (index, blocks) in task.panel.chunks_mut(SUPER * block_bytes).enumerate() {
        let first = index * STRIP;
        let there = STRIP.min(task.inputs - first);
        for (weights, row) in strip.iter_mut().zip(task.rows.chunks_exact(task.inputs)) {
            weights[..there].copy_from_slice(&row[first..first + there]);
            weights[there..].fill(0.0);
        }
        if task.format == WeightFormat::Q4K {
            write_q4_k(blocks, &strip);
            continue;
        }
        for (index, block) in blocks.chunks_exact_mut(block_bytes).enumerate() {
            // SAFETY: compiled for `L`, says the caller.
            unsafe { write_block::<L>(task.format, block, &strip, index) };
        }
    }
}

/// The block of this index of the strip.
///
/// # Safety
/// Compiled for the instruction set of `L`.
#[inline(always)]
unsafe fn write_block<L: Lanes>(format: WeightFormat, block: &mut [u8], strip: &Strip, index: usize) {
    let weights = |lane: usize| -> &[f32; BLOCK] { &strip[lane].as_chunks().0[index] };
    match format {
        WeightFormat::F32 => {
            let mut floats = [[0.0; BLOCK]; PANEL];
            for (lane, floats) in floats.iter_mut().enumerate() {
                *floats = *weights(lane);
            }
            write(block, &transpose::<_, WHOLE>(floats.as_flattened()), f32::to_le_bytes);
        }
        WeightFormat::F16 => {
            let mut halves = [[0; BLOCK]; PANEL];
            for (lane, halves) in halves.iter_mut().enumerate() {
                for (halves, weights) in halves.chunks_exact_mut(LANES).zip(weights(lane).chunks_exact(LANES)) {
                    // SAFETY: both are sixteen numbers, and it is compiled for `L`.
                    unsafe { L::load(weights.as_ptr()).store_f16(halves.as_mut_ptr()) };
                }
            }
            write(block, &transpose::<_, WHOLE>(halves.as_flattened()), u16::to_le_bytes);
        }
        WeightFormat::Bf16 => {
            let mut pairs = [[0; BLOCK / 2]; PANEL];
            for (lane, pairs) in pairs.iter_mut().enumerate() {
                for (both, [first, second]) in pairs.iter_mut().zip(weights(lane).as_chunks().0) {
                    *both = pair(*first, *second);
                }
            }
            write(block, &transpose::<_, HALF>(pairs.as_flattened()), u32::to_le_bytes);
        }
        WeightFormat::Q8_0 => {
            let mut quants = [Quants::ZERO; PANEL];
            for (lane, quants) in quants.iter_mut().enumerate() {
                *quants = quantise::q8_0(weights(lane));
            }
            write_quants(format, block, &quants);
        }
        WeightFormat::Q4_0 => {
            let mut quants = [Quants::ZERO; PANEL];
            for (lane, quants) in quants.iter_mut().enumerate() {
                *quants = quantise::q4_0(weights(lane));
            }
            write_quants(format, block, &quants);
        }
        WeightFormat::Q4K => unreachable!("its blocks are made eight at a time"),
    }
}

/// The blocks of a strip, as many as there are.
#[inline(always)]
fn write_q4_k(blocks: &mut [u8], strip: &Strip) {
    let (mut scales, mut minima) = ([[0.0; SUPER]; PANEL], [[0.0; SUPER]; PANEL]);
    for first in (0..PANEL).step_by(LANES) {
        for index in 0..SUPER {
            let mut weights = [[0.0; LANES]; BLOCK];
            for (lane, row) in strip[first..first + LANES].iter().enumerate() {
                for (weights, x) in weights.iter_mut().zip(&row[index * BLOCK..]) {
                    weights[lane] = *x;
                }
            }
            let found = quantise::scales_and_minima(&weights);
            for lane in 0..LANES {
                scales[first + lane][index] = found.0[lane];
                minima[first + lane][index] = found.1[lane];
            }
        }
    }
    let mut quants = [[Quants::ZERO; PANEL]; SUPER];
    for (lane, weights) in strip.iter().enumerate() {
        // Both are 256 numbers.
        let Some(weights) = weights.as_chunks().0.first_chunk() else {
            continue;
        };
        let quants_of_lane = quantise::q4_k(weights, scales[lane], minima[lane]);
        for (block, quants_of_lane) in quants.iter_mut().zip(quants_of_lane) {
            block[lane] = quants_of_lane;
        }
    }
    let format = WeightFormat::Q4K;
    for (block, quants) in blocks.chunks_exact_mut(format.block_bytes()).zip(&quants) {
        write_quants(format, block, quants);
    }
}

#[inline(always)]
fn write_quants(format: WeightFormat, block: &mut [u8], quants: &[Quants; PANEL]) {
    let (weights, factors) = block.split_at_mut(format.weight_bytes());
    let mut values = [[0; BLOCK]; PANEL];
    let mut scales = [f16::ZERO; 2 * PANEL];
    for (lane, quants) in quants.iter().enumerate() {
        values[lane] = quants.values;
        (scales[lane], scales[PANEL + lane]) = (quants.scale, quants.minimum);
    }
    if format == WeightFormat::Q8_0 {
        write(weights, &transpose::<_, WHOLE>(values.as_flattened()), i8::to_le_bytes);
    } else {
        let mut nibbles = [0; HALF];
        for (both, two) in nibbles.iter_mut().zip(values.as_flattened().as_chunks().0) {
            let [low, high]: [i8; 2] = *two;
            *both = (low | high << 4).cast_unsigned();
        }
        write(weights, &transpose::<_, HALF>(&nibbles), u8::to_le_bytes);
    }
    write(factors, &scales, f16::to_le_bytes);
}

/// As many numbers as there is room for.
#[inline(always)]
fn write<T: Copy, const SIZE: usize>(bytes: &mut [u8], numbers: &[T], to_bytes: impl Fn(T) -> [u8; SIZE]) {
    for (place, number) in bytes.as_chunks_mut().0.iter_mut().zip(numbers) {
        *place = to_bytes(*number);
    }
}

/// From 32 rows to 32 columns: the halves are interleaved once for each bit of a row's index,
/// which brings those bits to the end of the whole index.
#[inline(always)]
fn transpose<T: Copy, const N: usize>(numbers: &[T]) -> [T; N] {
    let (mut one, mut other) = ([numbers[0]; N], [numbers[0]; N]);
    interleave(numbers, &mut one);
    interleave(&one, &mut other);
    interleave(&other, &mut one);
    interleave(&one, &mut other);
    interleave(&other, &mut one);
    one
}

#[inline(always)]
fn interleave<T: Copy, const N: usize>(from: &[T], to: &mut [T; N]) {
    let (front, back) = from[..N].split_at(N / 2);
    for i in 0..N / 2 {
        to[2 * i] = front[i];
        to[2 * i + 1] = back[i];
    }
}

compiled_for_each!(pub pack_panel, pack, &mut PackTask);
