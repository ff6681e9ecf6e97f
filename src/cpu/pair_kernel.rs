//! The inner loop where products of bf16 pairs are the fastest ([`Isa::multiplies_pairs`]): one panel of
//! 32 outputs against blocks of rows, be it a single row.
//!
//! Whole numbers are multiplied as such: they are exact in bf16. Their scale is applied once a block, to the
//! sum of 32 products. Rows are rounded to bf16, and nothing else is.
//!
//! All `unsafe fn` of this file ask that they be compiled for the instruction set of `L`, as
//! `compiled_for_each` does it; what else they ask is written at each.

use std::mem::MaybeUninit;

use super::format::WeightFormat;
use super::isa::{Isa, compiled_for_each};
use super::lanes::{LANES, Lanes, reduce};
use super::matrix::{BLOCK, PANEL};
use super::product_kernel::{Ahead, BlockTask, by_rows, check, scale_and_offset};

/// Blocks of rows that a block of weights is unpacked for; their sums stay in the first cache.
const BLOCKS_AT_A_TIME: usize = 11;

/// Rows of a block at most, as [`Lanes::TILE_ROWS`] says.
const MOST_ROWS: usize = 12;

/// Rows of the blocks of a time at most.
const ROWS_AT_A_TIME: usize = BLOCKS_AT_A_TIME * MOST_ROWS;

/// Of each of some rows, the sums of a panel's outputs.
#[repr(align(64))]
struct Sums([[f32; PANEL]; ROWS_AT_A_TIME]);

/// A block's weights without scale: `[16 pairs of inputs][32 outputs]`.
#[repr(align(64))]
struct Pairs([MaybeUninit<u32>; BLOCK / 2 * PANEL]);

/// A whole panel against blocks of rows.
///
/// # Safety
/// Compiled for the instruction set of `L`; see [`multiply_pairs`].
#[inline(always)]
unsafe fn panel<L: Lanes>(task: &BlockTask) {
    macro_rules! by_format {
        ($($format:ident)*) => {
            match task.panel.format {
                $(WeightFormat::$format => unsafe { panel_in::<L>(WeightFormat::$format, task) },)*
                format => unreachable!("{format:?} is not multiplied in pairs"),
            }
        };
    }
    by_format!(Bf16 Q8_0 Q4_0 Q4K);
}

/// `format` is the panel's, as a constant that is known where this is inlined.
///
/// # Safety
/// Compiled for the instruction set of `L`; see [`multiply_pairs`]; the panel is of this format.
#[inline(always)]
unsafe fn panel_in<L: Lanes>(format: WeightFormat, task: &BlockTask) {
    let all = task.blocks.len();
    let groups = all.div_ceil(BLOCKS_AT_A_TIME);
    let (first_row, _) = task.inputs.block(task.blocks.start);
    for group in 0..groups {
        let begin = |group: usize| task.blocks.start + group * all / groups;
        let blocks = begin(group)..begin(group + 1);
        let (first, end) = (task.inputs.block(blocks.start).0, task.inputs.rows_before(blocks.end));
        let mut sums = Sums([task.bias.copied().unwrap_or([0.0; PANEL]); ROWS_AT_A_TIME]);
        let mut unpacked = Pairs([MaybeUninit::uninit(); BLOCK / 2 * PANEL]);
        for input in (0..task.inputs.padded()).step_by(BLOCK) {
            unsafe {
                let stored = task.panel.block(input);
                let weights = unpack::<L>(format, stored, &mut unpacked);
                let mut ahead = Ahead::of(stored, format.block_bytes(), blocks.len());
                for index in blocks.clone() {
                    let (start, rows) = task.inputs.block(index);
                    let with = BlockOfRows {
                        stored,
                        weights,
                        inputs: task.inputs.at(start, rows, input),
                        totals: task.inputs.sums(input).as_ptr().add(start),
                        sums: sums.0[start - first..].as_mut_ptr().cast(),
                    };
                    ahead.fetch::<L>();
                    by_rows!(L::TILE_ROWS, rows, ROWS => add_block::<L, ROWS>(format, &with));
                }
            }
        }
        // SAFETY: these rows are the task's, says the caller.
        unsafe { task.output.put(first - first_row..end - first_row, &sums.0) };
    }
}

/// A block's weights as pairs, exactly; those that are pairs stay where they are.
///
/// # Safety
/// Compiled for the instruction set of `L`; `stored` is a whole block of this format.
#[inline(always)]
unsafe fn unpack<L: Lanes>(format: WeightFormat, stored: *const u8, to: &mut Pairs) -> *const u32 {
    if format == WeightFormat::Bf16 {
        return stored.cast();
    }
    let out = to.0.as_mut_ptr().cast::<u32>();
    for two in 0..BLOCK / 2 {
        // SAFETY: the block has sixteen such pairs of inputs, and there is room for as many.
        unsafe {
            let to = out.add(two * PANEL);
            match format {
                WeightFormat::Q8_0 => L::i8_as_pairs(stored.cast::<i8>().add(two * 2 * PANEL), to),
                _ => L::nibbles_as_pairs(stored.add(two * PANEL), to),
            }
        }
    }
    out
}

/// 32 inputs of some rows, what they are multiplied with, and where the products are added.
struct BlockOfRows {
    /// A whole block, with its scales.
    stored: *const u8,
    /// Its weights as [`unpack`] has them.
    weights: *const u32,
    /// `[16][rows]`
    inputs: *const u32,
    /// Of each row the total of the inputs.
    totals: *const f32,
    /// `[rows][32]`
    sums: *mut f32,
}

/// Adds what 32 inputs of `ROWS` rows bring.
///
/// # Safety
/// Compiled for the instruction set of `L`; what `with` points to is there for `ROWS` rows of this format.
#[inline(always)]
unsafe fn add_block<L: Lanes, const ROWS: usize>(format: WeightFormat, with: &BlockOfRows) {
    // Where registers are few, one half of the outputs is summed after the other.
    unsafe {
        if L::WHOLE_PANEL {
            add_columns::<L, ROWS, 2>(format, with, 0);
        } else {
            add_columns::<L, ROWS, 1>(format, with, 0);
            add_columns::<L, ROWS, 1>(format, with, 1);
        }
    }
}

/// As [`add_block`], of `16 WIDTH` outputs from the half `from` on.
///
/// # Safety
/// As for [`add_block`], and there are so many outputs.
#[inline(always)]
unsafe fn add_columns<L: Lanes, const ROWS: usize, const WIDTH: usize>(
    format: WeightFormat,
    with: &BlockOfRows,
    from: usize,
) {
    unsafe {
        let sums = with.sums.add(from * LANES);
        let at = |row: usize, column: usize| sums.add(row * PANEL + column * LANES);
        // From zero also where nothing is scaled: products that wait for sums to be loaded take a sixth more time.
        let mut parts = [[L::splat(0.0); WIDTH]; ROWS];
        for two in 0..BLOCK / 2 {
            let weights = with.weights.add(two * PANEL + from * LANES);
            for (row, parts) in parts.iter_mut().enumerate() {
                let x = *with.inputs.add(two * ROWS + row);
                for (column, part) in parts.iter_mut().enumerate() {
                    *part = part.dot_pairs(x, weights.add(column * LANES));
                }
            }
        }
        let one = [L::splat(1.0); 2];
        let (scale, offset) = scale_and_offset::<L>(format, with.stored).unwrap_or((one, None));
        for (row, parts) in parts.into_iter().enumerate() {
            for (column, part) in parts.into_iter().enumerate() {
                let at = at(row, column);
                let mut sum = part.mul_add(scale[from + column], L::load(at));
                if let Some(offset) = offset {
                    sum = offset[from + column].mul_add(L::splat(*with.totals.add(row)), sum);
                }
                sum.store(at);
            }
        }
    }
}

/// 32 inputs of all rows, to be packed as pairs.
pub struct PairsTask<'a> {
    /// `[rows, inputs]`
    pub x: &'a [f32],
    pub inputs: usize,
    /// The first of the 32; there may be fewer.
    pub from: usize,
    /// Where each block of rows begins, and where the last one ends.
    pub starts: &'a [usize],
    /// `[blocks][16][rows of the block]`
    pub to: &'a mut [u32],
    /// Of each row, the sum of these inputs as they are rounded.
    pub sums: &'a mut [f32],
}

/// # Safety
/// Compiled for the instruction set of `L`.
#[inline(always)]
unsafe fn pack<L: Lanes>(task: &mut PairsTask) {
    let mut rows = task.x.chunks_exact(task.inputs);
    let mut sums = task.sums.iter_mut();
    let mut rest = &mut *task.to;
    for block in task.starts.windows(2) {
        let count = block[1] - block[0];
        let mut pairs = [[0; BLOCK / 2]; MOST_ROWS];
        for (row, pairs) in rows.by_ref().take(count).zip(&mut pairs) {
            let numbers = &row[task.from..];
            let mut padded = [0.0; BLOCK];
            let numbers = numbers.first_chunk().unwrap_or_else(|| {
                padded[..numbers.len()].copy_from_slice(numbers);
                &padded
            });
            // SAFETY: 32 numbers are there, and room for half as many pairs.
            unsafe { L::neighbours_as_pairs(numbers.as_ptr(), pairs.as_mut_ptr()) };
        }
        for (pairs, sum) in pairs[..count].iter().zip(sums.by_ref()) {
            *sum = total(pairs);
        }
        let (to, others) = std::mem::take(&mut rest).split_at_mut(count * BLOCK / 2);
        for (two, places) in to.chunks_exact_mut(count).enumerate() {
            for (place, pairs) in places.iter_mut().zip(&pairs) {
                *place = pairs[two];
            }
        }
        rest = others;
    }
}

/// The sum of all numbers of sixteen pairs.
#[inline(always)]
fn total(pairs: &[u32; BLOCK / 2]) -> f32 {
    let both = pairs.map(|two| f32::from_bits(two << 16) + f32::from_bits(two & 0xffff_0000));
    reduce(both, |a, b| a + b)
}

compiled_for_each!(pub pack_pairs, pack, &mut PairsTask);
compiled_for_each!(unsafe panel_on, panel, &BlockTask);

/// One panel's part of a product with several blocks of rows that were packed as pairs.
///
/// # Safety
/// 32 numbers can be written, and nobody else reads or writes them, in each row of the blocks
/// as [`BlockTask::output`] says where it is. The rows were packed for this instruction set.
///
/// # Panics
/// The rows are longer than the panel's inputs, there are fewer blocks of them, or they are no pairs.
pub unsafe fn multiply_pairs(isa: Isa, task: &BlockTask) {
    check(task);
    assert!(task.inputs.pairs(), "rows are pairs of bf16 here");
    // SAFETY: the panel has the rows' inputs, and the output is the caller's promise.
    unsafe { panel_on(isa, task) }
}
