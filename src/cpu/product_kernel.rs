//! The inner loops: one panel of 32 outputs against one row, or against blocks of rows.
//!
//! Everything here is generic over the lanes and inlined into one function for each
//! instruction set, at the end of the file. There are no closures around the lanes: what is
//! in a closure is not compiled for the instruction set of the function around it.
//!
//! All `unsafe fn` of this file ask that they be compiled for the instruction set of `L`, as
//! `compiled_for_each` does it; what else they ask is written at each.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::format::WeightFormat;
use super::isa::{Isa, compiled_for_each};
use super::lanes::{LANES, Lanes};
use super::matrix::{BLOCK, PANEL, Panel};
use super::product::PackedRows;

/// Rows of tokens that a panel is read for at a time; their sums stay in the first cache.
const TOKENS_AT_A_TIME: usize = 32;

/// Bytes between the weights that are multiplied and those that are fetched meanwhile.
const AHEAD: usize = 4096;

/// Bytes of a cache line.
pub const LINE: usize = 64;

/// Inputs that are unpacked at a time; a tile of them stays in the first cache.
const DEPTH: usize = 8 * BLOCK;

/// Where a panel's outputs go: row `r` begins at `start + r * stride`.
#[derive(Clone, Copy)]
pub struct Output {
    pub start: *mut f32,
    pub stride: usize,
}

impl Output {
    /// Writes a panel's outputs of some rows.
    ///
    /// # Safety
    /// 32 numbers can be written in each of these rows.
    #[inline(always)]
    pub unsafe fn put(self, rows: Range<usize>, sums: &[[f32; PANEL]]) {
        for (row, sums) in rows.zip(sums) {
            // SAFETY: says the caller.
            unsafe { std::ptr::copy_nonoverlapping(sums.as_ptr(), self.start.add(row * self.stride), PANEL) };
        }
    }
}

/// One panel's part of a product with a single row.
pub struct RowTask<'a> {
    pub panel: Panel<'a>,
    /// The row, padded with zeros to whole blocks.
    pub row: &'a [f32],
    /// The sum of each block of the row.
    pub sums: &'a [f32],
    pub bias: Option<&'a [f32; PANEL]>,
    pub output: &'a mut [f32; PANEL],
}

/// One panel's part of a product with several blocks of rows.
pub struct BlockTask<'a> {
    pub panel: Panel<'a>,
    pub inputs: &'a PackedRows,
    /// Which of the blocks of rows.
    pub blocks: Range<usize>,
    pub bias: Option<&'a [f32; PANEL]>,
    /// Good for 32 numbers in each row of the blocks; its row 0 is their first.
    pub output: Output,
}

/// Runs the expression with the number of rows as the constant of this name.
macro_rules! by_rows {
    ($most:expr, $rows:expr, $constant:ident => $run:expr) => {
        by_rows!(@each $most, $rows, $constant, $run, 1 2 3 4 5 6 7 8 9 10 11 12)
    };
    (@each $most:expr, $rows:expr, $constant:ident, $run:expr, $($number:literal)*) => {
        match $rows {
            $($number if $number <= $most => {
                const $constant: usize = $number;
                $run
            })*
            rows => unreachable!("{rows} rows in a block of at most {}", $most),
        }
    };
}

pub(super) use by_rows;

/// The two registers that hold one number for each of a panel's outputs.
pub type Pair<L> = [L; 2];

/// # Safety
/// Compiled for the instruction set of `L`; `16 WIDTH` numbers can be read there.
#[inline(always)]
unsafe fn load<L: Lanes, const WIDTH: usize>(from: *const f32) -> [L; WIDTH] {
    unsafe {
        let mut loaded = [L::splat(0.0); WIDTH];
        for (index, lanes) in loaded.iter_mut().enumerate() {
            *lanes = L::load(from.add(index * LANES));
        }
        loaded
    }
}

/// # Safety
/// Compiled for the instruction set of `L`.
#[inline(always)]
unsafe fn fma<L: Lanes, const WIDTH: usize>(weights: [L; WIDTH], x: L, sums: &mut [L; WIDTH]) {
    for (weights, sum) in weights.into_iter().zip(sums) {
        *sum = unsafe { weights.mul_add(x, *sum) };
    }
}

/// The weights of inputs `i` and `i + 1` of a block, without scale; `i` is even.
///
/// # Safety
/// Compiled for the instruction set of `L`; `block` is a whole block of this format, and `i` less than 32.
#[inline(always)]
unsafe fn two_inputs<L: Lanes>(format: WeightFormat, block: *const u8, i: usize) -> [Pair<L>; 2] {
    unsafe {
        let left = two_inputs_of_half::<L>(format, block, i, 0);
        let right = two_inputs_of_half::<L>(format, block, i, 1);
        [[left.0, right.0], [left.1, right.1]]
    }
}

/// As [`two_inputs`], of the first or the second sixteen outputs.
///
/// # Safety
/// As for [`two_inputs`], and `half` is 0 or 1.
#[inline(always)]
unsafe fn two_inputs_of_half<L: Lanes>(format: WeightFormat, block: *const u8, i: usize, half: usize) -> (L, L) {
    let (one, two) = (i * PANEL + half * LANES, i / 2 * PANEL + half * LANES);
    unsafe {
        match format {
            WeightFormat::F32 => {
                let at = block.cast::<f32>().add(one);
                (L::load(at), L::load(at.add(PANEL)))
            }
            WeightFormat::F16 => {
                let at = block.cast::<u16>().add(one);
                (L::load_f16(at), L::load_f16(at.add(PANEL)))
            }
            WeightFormat::Bf16 => L::load_pairs(block.cast::<u32>().add(two)),
            WeightFormat::Q8_0 => {
                let at = block.cast::<i8>().add(one);
                (L::load_i8(at), L::load_i8(at.add(PANEL)))
            }
            WeightFormat::Q4_0 | WeightFormat::Q4K => L::load_nibbles(block.add(two)),
        }
    }
}

/// # Safety
/// Compiled for the instruction set of `L`; 32 numbers can be read there.
#[inline(always)]
unsafe fn load_f16<L: Lanes>(from: *const u16) -> Pair<L> {
    unsafe { [L::load_f16(from), L::load_f16(from.add(LANES))] }
}

/// # Safety
/// Compiled for the instruction set of `L`.
#[inline(always)]
unsafe fn times<L: Lanes>(pair: Pair<L>, factor: f32) -> Pair<L> {
    let factor = unsafe { L::splat(factor) };
    unsafe { [pair[0].mul(factor), pair[1].mul(factor)] }
}

/// What a block's quants are multiplied by, and what is added behind that.
///
/// # Safety
/// Compiled for the instruction set of `L`; `block` is a whole block of this format.
#[inline(always)]
pub unsafe fn scale_and_offset<L: Lanes>(format: WeightFormat, block: *const u8) -> Option<(Pair<L>, Option<Pair<L>>)> {
    unsafe {
        let factors = block.add(format.weight_bytes()).cast::<u16>();
        match format {
            WeightFormat::Q8_0 => Some((load_f16(factors), None)),
            WeightFormat::Q4_0 => {
                let scale = load_f16(factors);
                Some((scale, Some(times(scale, -8.0))))
            }
            WeightFormat::Q4K => Some((load_f16(factors), Some(times(load_f16(factors.add(PANEL)), -1.0)))),
            _ => None,
        }
    }
}

/// A whole panel against one row: bound by reading the weights, so that they are
/// multiplied as they are stored, and scaled once a block.
///
/// # Safety
/// Compiled for the instruction set of `L`; the panel has the blocks of the whole row.
#[inline(always)]
unsafe fn row<L: Lanes>(task: &mut RowTask) {
    macro_rules! by_format {
        ($($format:ident)*) => {
            match task.panel.format {
                $(WeightFormat::$format => unsafe { row_in::<L>(WeightFormat::$format, task) },)*
            }
        };
    }
    by_format!(F32 F16 Bf16 Q8_0 Q4_0 Q4K);
}

/// `format` is the panel's, as a constant that is known where this is inlined.
///
/// # Safety
/// Compiled for the instruction set of `L`; the panel is of this format, and has the blocks of the whole row.
#[inline(always)]
unsafe fn row_in<L: Lanes>(format: WeightFormat, task: &mut RowTask) {
    unsafe {
        let zero = [L::splat(0.0); 2];
        let mut sum = match task.bias {
            Some(bias) => load(bias.as_ptr()),
            None => zero,
        };
        for (index, (xs, &total)) in task.row.as_chunks::<BLOCK>().0.iter().zip(task.sums).enumerate() {
            let block = task.panel.block(index * BLOCK);
            // Two sums, for the latency of a multiply-add.
            let mut parts = [zero; 2];
            for i in (0..BLOCK).step_by(2) {
                let [first, second] = two_inputs(format, block, i);
                fma(first, L::splat(xs[i]), &mut parts[0]);
                fma(second, L::splat(xs[i + 1]), &mut parts[1]);
            }
            let one = [L::splat(1.0); 2];
            let (scale, offset) = scale_and_offset(format, block).unwrap_or((one, None));
            for half in 0..2 {
                sum[half] = parts[0][half].mul_add(scale[half], sum[half]);
                sum[half] = parts[1][half].mul_add(scale[half], sum[half]);
                if let Some(offset) = offset {
                    sum[half] = offset[half].mul_add(L::splat(total), sum[half]);
                }
            }
        }
        sum[0].store(task.output.as_mut_ptr());
        sum[1].store(task.output.as_mut_ptr().add(LANES));
    }
}

/// The rows of some tokens against a whole panel: each is summed exactly as [`row`] sums a single
/// one. Weights are read from memory once for [`TOKENS_AT_A_TIME`] rows.
///
/// # Safety
/// Compiled for the instruction set of `L`; see [`multiply_tokens`].
#[inline(always)]
unsafe fn tokens<L: Lanes>(task: &BlockTask) {
    macro_rules! by_format {
        ($($format:ident)*) => {
            match task.panel.format {
                $(WeightFormat::$format => unsafe { tokens_in::<L>(WeightFormat::$format, task) },)*
            }
        };
    }
    by_format!(F32 F16 Bf16 Q8_0 Q4_0 Q4K);
}

/// `format` is the panel's, as a constant that is known where this is inlined.
///
/// # Safety
/// Compiled for the instruction set of `L`; see [`multiply_tokens`]; the panel is of this format.
#[inline(always)]
unsafe fn tokens_in<L: Lanes>(format: WeightFormat, task: &BlockTask) {
    let blocks_at_a_time = TOKENS_AT_A_TIME / L::TOKENS;
    let (first_row, _) = task.inputs.block(task.blocks.start);
    for start in task.blocks.clone().step_by(blocks_at_a_time) {
        let blocks = start..task.blocks.end.min(start + blocks_at_a_time);
        let (first, end) = (task.inputs.block(start).0, task.inputs.rows_before(blocks.end));
        let mut sums = Sums([task.bias.copied().unwrap_or([0.0; PANEL]); TOKENS_AT_A_TIME]);
        let mut unpacked = UnpackedBlock([MaybeUninit::uninit(); BLOCK * PANEL]);
        let most = most_as_stored::<L>(format).min(L::TOKENS);
        for input in (0..task.inputs.padded()).step_by(BLOCK) {
            unsafe {
                let stored = task.panel.block(input);
                let (weights, format_of_weights) = if unpacks_first::<L>(format, end - first) {
                    (unpack_weights::<L>(format, stored, &mut unpacked), WeightFormat::F32)
                } else {
                    (stored, format)
                };
                let mut ahead = Ahead::of(stored, format.block_bytes(), 2 * blocks.len());
                for index in blocks.clone() {
                    let (start, rows) = task.inputs.block(index);
                    let with = BlockOfRows {
                        weights,
                        factors: scale_and_offset::<L>(format, stored),
                        inputs: task.inputs.at(start, rows, input).cast(),
                        totals: task.inputs.sums(input).as_ptr().add(start),
                        sums: sums.0[start - first..].as_mut_ptr(),
                    };
                    // The condition is a constant in most formats.
                    if format_of_weights == WeightFormat::F32 {
                        let format = WeightFormat::F32;
                        by_rows!(L::TOKENS, rows, ROWS => add_block::<L, ROWS>(format, &with, &mut ahead));
                    } else {
                        by_rows!(most, rows, ROWS => add_block::<L, ROWS>(format, &with, &mut ahead));
                    }
                }
            }
        }
        // SAFETY: these rows are the task's, says the caller.
        unsafe { task.output.put(first - first_row..end - first_row, &sums.0) };
    }
}

/// Rows that are multiplied with weights that are converted anew for each block of rows; for more
/// than that a block of weights is unpacked once.
#[inline(always)]
fn most_as_stored<L: Lanes>(format: WeightFormat) -> usize {
    match format {
        WeightFormat::F32 => usize::MAX,
        _ if !L::CONVERTS => 0,
        WeightFormat::Q4_0 | WeightFormat::Q4K => 3,
        _ => usize::MAX,
    }
}

#[inline(always)]
fn unpacks_first<L: Lanes>(format: WeightFormat, rows: usize) -> bool {
    rows > most_as_stored::<L>(format)
}

/// Of each of some rows, the sums of a panel's outputs.
#[repr(align(64))]
struct Sums([[f32; PANEL]; TOKENS_AT_A_TIME]);

/// `[32 inputs][32 outputs]` f32.
#[repr(align(64))]
struct UnpackedBlock([MaybeUninit<f32>; BLOCK * PANEL]);

/// A block's weights in f32, without scale.
///
/// # Safety
/// Compiled for the instruction set of `L`; `block` is a whole block of this format.
#[inline(always)]
unsafe fn unpack_weights<L: Lanes>(format: WeightFormat, block: *const u8, to: &mut UnpackedBlock) -> *const u8 {
    let out = to.0.as_mut_ptr().cast::<f32>();
    for i in (0..BLOCK).step_by(2) {
        unsafe {
            let [first, second] = two_inputs::<L>(format, block, i);
            for (half, (first, second)) in first.into_iter().zip(second).enumerate() {
                first.store(out.add(i * PANEL + half * LANES));
                second.store(out.add((i + 1) * PANEL + half * LANES));
            }
        }
    }
    out.cast()
}

/// Weights that are not needed yet: fetched bit by bit between multiplications, so that neither
/// waits for the other.
pub struct Ahead {
    next: *const u8,
    lines: usize,
}

impl Ahead {
    /// What lies ahead of a block, and is as long, in so many even parts.
    #[inline(always)]
    pub fn of(block: *const u8, bytes: usize, parts: usize) -> Self {
        Self {
            next: block.wrapping_add(AHEAD),
            lines: (bytes / LINE).div_ceil(parts),
        }
    }

    /// # Safety
    /// Compiled for the instruction set of `L`.
    #[inline(always)]
    pub unsafe fn fetch<L: Lanes>(&mut self) {
        for _ in 0..self.lines {
            unsafe { L::fetch(self.next) };
            self.next = self.next.wrapping_add(LINE);
        }
    }
}

/// 32 inputs of some rows, what they are multiplied with, and where the products are added.
struct BlockOfRows<L> {
    /// A whole block, without scale.
    weights: *const u8,
    /// As [`scale_and_offset`] has them.
    factors: Option<(Pair<L>, Option<Pair<L>>)>,
    /// `[32][rows]`
    inputs: *const f32,
    /// Of each row the total of the inputs.
    totals: *const f32,
    /// Of each row the sums of a panel's outputs.
    sums: *mut [f32; PANEL],
}

/// Adds what 32 inputs of `ROWS` rows bring as [`row_in`] adds it: of each half of the outputs the
/// even inputs, then the odd ones, then the offset.
///
/// # Safety
/// Compiled for the instruction set of `L`; the weights are a whole block of this format, and what
/// else `with` points to is there for `ROWS` rows.
#[inline(always)]
unsafe fn add_block<L: Lanes, const ROWS: usize>(format: WeightFormat, with: &BlockOfRows<L>, ahead: &mut Ahead) {
    unsafe {
        let one = [L::splat(1.0); 2];
        let (scale, offset) = with.factors.unwrap_or((one, None));
        for half in 0..2 {
            ahead.fetch::<L>();
            let at = with.sums.cast::<f32>().add(half * LANES);
            if 2 * ROWS <= L::TOKENS {
                let mut even = [L::splat(0.0); ROWS];
                let mut odd = [L::splat(0.0); ROWS];
                for i in (0..BLOCK).step_by(2) {
                    let (first, second) = two_inputs_of_half::<L>(format, with.weights, i, half);
                    add_input(first, with.inputs.add(i * ROWS), &mut even);
                    add_input(second, with.inputs.add((i + 1) * ROWS), &mut odd);
                }
                add_scaled(&even, scale[half], at);
                add_scaled(&odd, scale[half], at);
            } else {
                // Both at a time would take more registers than there are.
                let mut even = [L::splat(0.0); ROWS];
                for i in (0..BLOCK).step_by(2) {
                    let (first, _) = two_inputs_of_half::<L>(format, with.weights, i, half);
                    add_input(first, with.inputs.add(i * ROWS), &mut even);
                }
                add_scaled(&even, scale[half], at);
                let mut odd = [L::splat(0.0); ROWS];
                for i in (0..BLOCK).step_by(2) {
                    let (_, second) = two_inputs_of_half::<L>(format, with.weights, i, half);
                    add_input(second, with.inputs.add((i + 1) * ROWS), &mut odd);
                }
                add_scaled(&odd, scale[half], at);
            }
            if let Some(offset) = offset {
                for row in 0..ROWS {
                    let at = at.add(row * PANEL);
                    let total = L::splat(*with.totals.add(row));
                    offset[half].mul_add(total, L::load(at)).store(at);
                }
            }
        }
    }
}

/// # Safety
/// Compiled for the instruction set of `L`; `ROWS` numbers can be read at `x`.
#[inline(always)]
unsafe fn add_input<L: Lanes, const ROWS: usize>(weights: L, x: *const f32, sums: &mut [L; ROWS]) {
    for (row, sum) in sums.iter_mut().enumerate() {
        unsafe { *sum = weights.mul_add(L::splat(*x.add(row)), *sum) };
    }
}

/// # Safety
/// Compiled for the instruction set of `L`; sixteen numbers can be read and written in each of
/// `ROWS` rows of a panel's width.
#[inline(always)]
unsafe fn add_scaled<L: Lanes, const ROWS: usize>(parts: &[L; ROWS], scale: L, to: *mut f32) {
    for (row, part) in parts.iter().enumerate() {
        unsafe {
            let at = to.add(row * PANEL);
            part.mul_add(scale, L::load(at)).store(at);
        }
    }
}

/// Weights as the multiplication wants them: `[inputs][32]`.
#[repr(align(64))]
struct Tile([MaybeUninit<f32>; DEPTH * PANEL]);

/// Unpacks `depth` inputs from `input` on; numbers that need no unpacking stay where they are.
///
/// # Safety
/// Compiled for the instruction set of `L`; the panel has `depth` inputs from `input` on, both whole blocks, and `depth` is at
/// most [`DEPTH`].
#[inline(always)]
unsafe fn unpack<L: Lanes>(panel: &Panel, input: usize, depth: usize, tile: &mut Tile) -> *const f32 {
    if panel.format == WeightFormat::F32 {
        // SAFETY: the input is one of the panel's, says the caller.
        return unsafe { panel.block(input) }.cast();
    }
    let out = tile.0.as_mut_ptr().cast::<f32>();
    for start in (0..depth).step_by(BLOCK) {
        // SAFETY: as above, and the tile has room for the depth.
        unsafe {
            let out = out.add(start * PANEL).cast();
            unpack_stored::<L>(panel.format, panel.block(input + start), false, out);
        }
    }
    out
}

/// As [`unpack_block`], whatever the format.
///
/// # Safety
/// As for [`unpack_block`].
#[inline(always)]
unsafe fn unpack_stored<L: Lanes>(format: WeightFormat, block: *const u8, pairs: bool, out: *mut u32) {
    macro_rules! by_format {
        ($($format:ident)*) => {
            match format {
                $(WeightFormat::$format => unsafe { unpack_block::<L>(WeightFormat::$format, block, pairs, out) },)*
            }
        };
    }
    by_format!(F32 F16 Bf16 Q8_0 Q4_0 Q4K);
}

/// A block's weights, scaled, as pairs of bf16: `[16 pairs of inputs][32 outputs]`.
///
/// # Safety
/// As for [`unpack_block`].
#[inline(always)]
pub unsafe fn unpack_pairs<L: Lanes>(format: WeightFormat, block: *const u8, out: *mut u32) {
    // SAFETY: says the caller.
    unsafe { unpack_stored::<L>(format, block, true, out) }
}

/// # Safety
/// Compiled for the instruction set of `L`; `block` is a whole block of this format, and a block of `[32][32]` f32, or half as
/// many pairs, can be written to `out`.
#[inline(always)]
unsafe fn unpack_block<L: Lanes>(format: WeightFormat, block: *const u8, pairs: bool, out: *mut u32) {
    unsafe {
        let factors = scale_and_offset::<L>(format, block);
        for i in (0..BLOCK).step_by(2) {
            let mut two = two_inputs::<L>(format, block, i);
            if let Some((scale, offset)) = factors {
                for weights in &mut two {
                    for half in 0..2 {
                        weights[half] = match offset {
                            Some(offset) => weights[half].mul_add(scale[half], offset[half]),
                            None => weights[half].mul(scale[half]),
                        };
                    }
                }
            }
            let [first, second] = two;
            for (half, (first, second)) in first.into_iter().zip(second).enumerate() {
                let lane = half * LANES;
                if pairs {
                    L::store_pairs(first, second, out.add(i / 2 * PANEL + lane));
                } else {
                    first.store(out.add(i * PANEL + lane).cast());
                    second.store(out.add((i + 1) * PANEL + lane).cast());
                }
            }
        }
    }
}

/// `ROWS` rows of inputs (interleaved) against `16 WIDTH` columns of a tile of weights.
///
/// # Safety
/// Compiled for the instruction set of `L`; `depth` inputs of `ROWS` rows can be read, and these
/// columns of as many of the tile; in each row of the output they can be read and written.
#[inline(always)]
unsafe fn multiply<L: Lanes, const ROWS: usize, const WIDTH: usize>(
    inputs: *const f32,
    tile: *const f32,
    depth: usize,
    first: Option<[L; WIDTH]>,
    output: Output,
) {
    unsafe {
        let mut sums = [first.unwrap_or([L::splat(0.0); WIDTH]); ROWS];
        if first.is_none() {
            for (row, sums) in sums.iter_mut().enumerate() {
                *sums = load(output.start.add(row * output.stride));
            }
        }
        for i in 0..depth {
            let weights: [L; WIDTH] = load(tile.add(i * PANEL));
            for (row, sums) in sums.iter_mut().enumerate() {
                fma(weights, L::splat(*inputs.add(i * ROWS + row)), sums);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (column, sum) in sums.iter().enumerate() {
                sum.store(output.start.add(row * output.stride + column * LANES));
            }
        }
    }
}

/// A whole panel against blocks of rows: bound by arithmetic.
///
/// # Safety
/// Compiled for the instruction set of `L`; see [`multiply_blocks`].
#[inline(always)]
unsafe fn blocks<L: Lanes>(task: &BlockTask) {
    let padded = task.inputs.padded();
    let mut tile = Tile([MaybeUninit::uninit(); DEPTH * PANEL]);
    unsafe {
        let bias = match task.bias {
            Some(bias) => load(bias.as_ptr()),
            None => [L::splat(0.0); 2],
        };
        for input in (0..padded).step_by(DEPTH) {
            let depth = DEPTH.min(padded - input);
            let tile = unpack::<L>(&task.panel, input, depth, &mut tile);
            // Where registers are few, one half of the outputs is summed after the other.
            if L::WHOLE_PANEL {
                let first = (input == 0).then_some(bias);
                multiply_all::<L, 2>(task, input, depth, tile, first, 0);
            } else {
                for (half, bias) in bias.into_iter().enumerate() {
                    let first = (input == 0).then_some([bias]);
                    multiply_all::<L, 1>(task, input, depth, tile, first, half * LANES);
                }
            }
        }
    }
}

/// All blocks of rows against `16 WIDTH` columns of a tile, from `column` on.
///
/// # Safety
/// Compiled for the instruction set of `L`; see [`multiply_blocks`]; `depth` inputs from `input` on are
/// in the tile, and these columns are some of its 32.
#[inline(always)]
unsafe fn multiply_all<L: Lanes, const WIDTH: usize>(
    task: &BlockTask,
    input: usize,
    depth: usize,
    tile: *const f32,
    first: Option<[L; WIDTH]>,
    column: usize,
) {
    let (first_row, _) = task.inputs.block(task.blocks.start);
    for block in task.blocks.clone() {
        let (start, rows) = task.inputs.block(block);
        unsafe {
            let inputs = task.inputs.at(start, rows, input).cast();
            let tile = tile.add(column);
            let output = Output {
                start: task.output.start.add((start - first_row) * task.output.stride + column),
                ..task.output
            };
            by_rows!(L::TILE_ROWS, rows, ROWS => multiply::<L, ROWS, WIDTH>(inputs, tile, depth, first, output));
        }
    }
}

compiled_for_each!(unsafe row_on, row, &mut RowTask);
compiled_for_each!(unsafe tokens_on, tokens, &BlockTask);
compiled_for_each!(unsafe blocks_on, blocks, &BlockTask);

/// One panel's part of a product with a single row.
///
/// # Panics
/// The row is longer than the panel's inputs.
pub fn multiply_row(isa: Isa, task: &mut RowTask) {
    assert!(
        task.row.len() <= task.panel.padded_inputs(),
        "a row of {} numbers against a panel of {} inputs",
        task.row.len(),
        task.panel.padded_inputs()
    );
    // SAFETY: the panel has a block for each of the row's.
    unsafe { row_on(isa, task) }
}

/// One panel's part of a product with several blocks of rows of [`Rows::Prompt`](super::product::Rows::Prompt).
///
/// # Safety
/// 32 numbers can be written, and nobody else reads or writes them, in each row of the blocks
/// as [`BlockTask::output`] says where it is. The rows were packed for this instruction set.
///
/// # Panics
/// The rows are longer than the panel's inputs, there are fewer blocks of them, or they are pairs of bf16.
pub unsafe fn multiply_blocks(isa: Isa, task: &BlockTask) {
    check(task);
    assert!(!task.inputs.pairs(), "rows are f32 here");
    // SAFETY: the panel has the rows' inputs, and the output is the caller's promise.
    unsafe { blocks_on(isa, task) }
}

/// As [`multiply_blocks`], of [`Rows::Tokens`](super::product::Rows::Tokens).
///
/// # Safety
/// As for [`multiply_blocks`].
///
/// # Panics
/// As for [`multiply_blocks`], and if the rows were packed as a prompt's.
pub unsafe fn multiply_tokens(isa: Isa, task: &BlockTask) {
    check(task);
    assert!(!task.inputs.pairs(), "rows are f32 here");
    // SAFETY: as above.
    unsafe { tokens_on(isa, task) }
}

/// # Panics
/// The rows are longer than the panel's inputs, or there are fewer blocks of them.
pub fn check(task: &BlockTask) {
    assert!(
        task.inputs.padded() <= task.panel.padded_inputs() && task.blocks.end <= task.inputs.blocks(),
        "{} inputs of blocks {:?} against a panel of {}",
        task.inputs.padded(),
        task.blocks,
        task.panel.padded_inputs()
    );
}
