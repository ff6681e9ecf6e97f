//! A whole product on the CPU: rows of inputs times a packed matrix, on all cores.
//!
//! There are several ways to one, which sum in different orders and precisions: see [`Rows`]. In
//! each of them a row's outputs have the same bits whatever other rows are multiplied with it.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::isa::Isa;
use super::matrix::{BLOCK, PANEL, PackedMatrix};
use super::pair_kernel::{PairsTask, multiply_pairs, pack_pairs};
use super::product_kernel::{BlockTask, Output, RowTask, multiply_blocks, multiply_row, multiply_tokens};
use super::tile_product::tile_product;

/// Multiplications below which waking another core costs more than it brings.
pub(super) const WORTH_A_CORE: usize = 1 << 16;

/// Whose rows they are, and so how they are multiplied where neither tiles are ([`Isa::tile_unit`]) nor
/// pairs of bf16 ([`Isa::multiplies_pairs`]); there rows of either kind are rounded to bf16, and on tiles
/// weights as well.
///
/// The caller says it: if their number decided, an answer would depend on who else asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// One row, the newest token's, of each of some sequences: decoding. Weights are multiplied
    /// as they are stored, in f32: made for few rows, where reading the weights takes the time.
    Tokens,
    /// The rows of whole sequences: prefill and pictures. Weights are unpacked first: made
    /// for many rows, where multiplying takes the time.
    Prompt,
}

impl Rows {
    /// A single row is taken for a token's, several are for a prompt's: where their number is always
    /// the same, it may say what they are.
    pub fn by_count(count: usize) -> Self {
        if count == 1 { Self::Tokens } else { Self::Prompt }
    }
}

/// `x` times the matrix, plus the bias: `[rows, inputs]` to `[rows, outputs]`.
///
/// `bias` is padded with zeros to whole panels.
pub fn product_of(rows: Rows, x: &[f32], matrix: &PackedMatrix, bias: Option<&[f32]>) -> Vec<f32> {
    product_on(Isa::current(), rows, x, matrix, bias)
}

/// As [`product_of`], on an instruction set.
pub(super) fn product_on(isa: Isa, rows: Rows, x: &[f32], matrix: &PackedMatrix, bias: Option<&[f32]>) -> Vec<f32> {
    let count = x.len() / matrix.inputs().max(1);
    let numbers = count * matrix.outputs();
    // Not zeros: to write megabytes of them takes a good part of a product's time.
    let mut product = Vec::with_capacity(numbers);
    let output = &mut product.spare_capacity_mut()[..numbers];
    match (rows, count) {
        (_, 0) => {}
        _ if let Some(unit) = isa.tile_unit(matrix.format()) => tile_product(isa, unit, x, matrix, bias, output),
        _ if isa.multiplies_pairs(matrix.format()) => several_rows(isa, Way::Pairs, x, matrix, bias, output),
        (Rows::Tokens, 1) => one_row(isa, x, matrix, bias, output),
        _ => several_rows(isa, Way::Numbers(rows), x, matrix, bias, output),
    }
    // SAFETY: each of them writes all outputs of all rows.
    unsafe { product.set_len(numbers) };
    product
}

fn bias_of(bias: Option<&[f32]>, panel: usize) -> Option<&[f32; PANEL]> {
    bias.and_then(|bias| bias[panel * PANEL..].first_chunk())
}

/// The sum of each block of a row, which is padded to whole blocks here.
fn block_sums(row: &[f32]) -> impl Iterator<Item = f32> {
    // The zeros of the padding change no sum.
    row.chunks(BLOCK).map(|block| block.iter().sum())
}

fn one_row(isa: Isa, row: &[f32], matrix: &PackedMatrix, bias: Option<&[f32]>, output: &mut [MaybeUninit<f32>]) {
    let mut padded = Cow::Borrowed(row);
    if row.len() < matrix.padded_inputs() {
        padded.to_mut().resize(matrix.padded_inputs(), 0.0);
    }
    let sums = sums_of_blocks(row, matrix);
    let panels_worth = (WORTH_A_CORE / (padded.len() * PANEL)).max(1);
    output
        .par_chunks_mut(PANEL)
        .enumerate()
        .with_min_len(panels_worth.max(matrix.panels() / (8 * rayon::current_num_threads())))
        .for_each(|(index, output)| {
            let mut whole = [0f32; PANEL];
            multiply_row(
                isa,
                &mut RowTask {
                    panel: matrix.panel(index),
                    row: &padded,
                    sums: &sums,
                    bias: bias_of(bias, index),
                    output: &mut whole,
                },
            );
            output.write_copy_of_slice(&whole[..output.len()]);
        });
}

/// How several rows are multiplied, and packed for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In f32.
    Numbers(Rows),
    /// In pairs of bf16, be it a single row.
    Pairs,
}

impl Way {
    /// Rows whose sums are in registers together.
    fn rows_at_once(self, isa: Isa) -> usize {
        match (self, isa.rows_at_once()) {
            (Self::Pairs | Self::Numbers(Rows::Prompt), (most, _)) => most,
            (Self::Numbers(Rows::Tokens), (_, most)) => most,
        }
    }
}

fn several_rows(
    isa: Isa,
    way: Way,
    x: &[f32],
    matrix: &PackedMatrix,
    bias: Option<&[f32]>,
    output: &mut [MaybeUninit<f32>],
) {
    let inputs = PackedRows::pack(isa, way, x, matrix);
    let stride = matrix.outputs();
    let target = Shared(output.as_mut_ptr().cast::<f32>());
    // Few panels are shared out with the rows cut as well, so that all cores have work.
    let threads = rayon::current_num_threads();
    let cuts = if matrix.panels() >= 8 * threads {
        1
    } else {
        inputs.blocks().min(threads)
    };
    let tasks = matrix.panels() * cuts;
    let work = inputs.rows * inputs.padded * PANEL / cuts;
    (0..tasks)
        .into_par_iter()
        .with_min_len((WORTH_A_CORE / work.max(1)).max(1))
        .for_each(|index| {
            let (panel, cut) = (index / cuts, index % cuts);
            let blocks = cut * inputs.blocks() / cuts..(cut + 1) * inputs.blocks() / cuts;
            let first = inputs.rows_before(blocks.start);
            let task = BlockTask {
                panel: matrix.panel(panel),
                inputs: &inputs,
                blocks,
                bias: bias_of(bias, panel),
                output: Output {
                    // SAFETY: the panel's first column of this row is within the output.
                    start: unsafe { target.at(first * stride + panel * PANEL) },
                    stride,
                },
            };
            let columns = (stride - panel * PANEL).min(PANEL);
            // SAFETY: these columns of these rows are within the output, and this task's alone.
            unsafe { multiply_columns(isa, way, task, columns) };
        });
}

/// A task of a panel of which only the first columns are there.
///
/// # Safety
/// So many numbers can be written, and nobody else reads or writes them, in each row of the
/// blocks as [`BlockTask::output`] says where it is.
unsafe fn multiply_columns(isa: Isa, way: Way, mut task: BlockTask, columns: usize) {
    let multiply = match way {
        Way::Pairs => multiply_pairs,
        Way::Numbers(Rows::Tokens) => multiply_tokens,
        Way::Numbers(Rows::Prompt) => multiply_blocks,
    };
    if columns == PANEL {
        // SAFETY: says the caller.
        unsafe { multiply(isa, &task) };
        return;
    }
    // The last panel is not whole: its rows would run into the next ones.
    let Range { start, end } = task.blocks;
    let count = task.inputs.rows_before(end) - task.inputs.rows_before(start);
    let mut whole = vec![0f32; count * PANEL];
    let target = std::mem::replace(
        &mut task.output,
        Output {
            start: whole.as_mut_ptr(),
            stride: PANEL,
        },
    );
    // SAFETY: `whole` has 32 numbers for each row, and is this task's alone.
    unsafe { multiply(isa, &task) };
    for (row, from) in whole.chunks(PANEL).enumerate() {
        // SAFETY: says the caller.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), target.start.add(row * target.stride), columns) };
    }
}

/// What the tasks of a product write without overlap: each its own rows and columns.
pub(super) struct Shared<T>(pub(super) *mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

// SAFETY: what is behind it is written without overlap, by whoever promises that with each write.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// # Safety
    /// `index` is within what is shared.
    pub(super) unsafe fn at(self, index: usize) -> *mut T {
        // SAFETY: says the caller.
        unsafe { self.0.add(index) }
    }
}

/// Rows in blocks of as many as an instruction set's registers have sums for, in the order in which the
/// kernel reads them, from front to back.
pub struct PackedRows {
    /// `[blocks][padded inputs][rows of the block]` f32; `[padded inputs / 32][blocks][16][rows of the block]`
    /// pairs of bf16.
    numbers: Vec<u32>,
    /// `[padded inputs / 32][rows]`: the sum of each 32 inputs as they were packed, where the way asks for it.
    sums: Vec<f32>,
    rows: usize,
    blocks: usize,
    padded: usize,
    pairs: bool,
}

impl PackedRows {
    fn pack(isa: Isa, way: Way, x: &[f32], matrix: &PackedMatrix) -> Self {
        let (inputs, padded) = (matrix.inputs(), matrix.padded_inputs());
        let pairs = way == Way::Pairs;
        let count = x.len() / inputs;
        let width = if pairs { padded / 2 } else { padded };
        let most = way.rows_at_once(isa);
        let mut packed = Self {
            numbers: vec![0; count * width],
            sums: match way {
                // Those of pairs are filled in below.
                Way::Pairs => vec![0.0; padded / BLOCK * count],
                Way::Numbers(Rows::Tokens) => sums_of_blocks(x, matrix),
                Way::Numbers(Rows::Prompt) => Vec::new(),
            },
            rows: count,
            blocks: count.div_ceil(most),
            padded,
            pairs,
        };
        if pairs {
            packed.put_pairs(isa, x, inputs);
        } else {
            packed.put_numbers(x, inputs);
        }
        packed
    }

    fn put_numbers(&mut self, x: &[f32], inputs: usize) {
        let (padded, count, blocks) = (self.padded, self.rows, self.blocks);
        let mut rest = self.numbers.as_mut_slice();
        let mut pieces = Vec::with_capacity(blocks);
        for block in 0..blocks {
            let (start, end) = (start_of(block, blocks, count), start_of(block + 1, blocks, count));
            let (piece, others) = rest.split_at_mut((end - start) * padded);
            pieces.push((piece, &x[start * inputs..end * inputs]));
            rest = others;
        }
        let worth = WORTH_A_CORE / (padded * count.div_ceil(blocks.max(1))).max(1);
        pieces
            .into_par_iter()
            .with_min_len(worth.max(1))
            .for_each(|(piece, rows)| interleave(piece, rows, inputs));
    }

    fn put_pairs(&mut self, isa: Isa, x: &[f32], inputs: usize) {
        let (count, blocks) = (self.rows, self.blocks);
        let starts: Vec<usize> = (0..=blocks).map(|block| start_of(block, blocks, count)).collect();
        let width = count * BLOCK / 2;
        self.numbers
            .par_chunks_mut(width.max(1))
            .zip(self.sums.par_chunks_mut(count.max(1)))
            .enumerate()
            .with_min_len((WORTH_A_CORE / width.max(1)).max(1))
            .for_each(|(block, (to, sums))| {
                let task = &mut PairsTask {
                    x,
                    inputs,
                    from: block * BLOCK,
                    starts: &starts,
                    to,
                    sums,
                };
                pack_pairs(isa, task);
            });
    }

    /// Whether the numbers are pairs of bf16.
    pub fn pairs(&self) -> bool {
        self.pairs
    }

    /// The inputs with their padding.
    pub fn padded(&self) -> usize {
        self.padded
    }

    /// How many blocks the rows make.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// How many rows come before a block.
    pub fn rows_before(&self, block: usize) -> usize {
        start_of(block, self.blocks, self.rows)
    }

    /// The sums of 32 inputs from `input` (a multiple of 32) on, one for each of the rows.
    ///
    /// # Panics
    /// The rows were packed as [`Rows::Prompt`]'s in f32, or there are not so many inputs.
    #[inline(always)]
    pub fn sums(&self, input: usize) -> &[f32] {
        &self.sums[input / BLOCK * self.rows..][..self.rows]
    }

    /// The first row of a block, and how many it has.
    pub fn block(&self, block: usize) -> (usize, usize) {
        let start = self.rows_before(block);
        (start, self.rows_before(block + 1) - start)
    }

    /// Where the numbers of `input` (the first of its 32, where they are pairs) begin in the block of these rows.
    ///
    /// # Safety
    /// `start` and `rows` are those of a block, and `input` is less than [`PackedRows::padded`].
    #[inline(always)]
    pub unsafe fn at(&self, start: usize, rows: usize, input: usize) -> *const u32 {
        let index = if self.pairs {
            (input * self.rows + start * BLOCK) / 2
        } else {
            start * self.padded + input * rows
        };
        debug_assert!(index < self.numbers.len());
        // SAFETY: it is within what was packed, says the caller.
        unsafe { self.numbers.as_ptr().add(index) }
    }
}

/// `[inputs / 32, rounded up][rows]`: what the weights' offsets are multiplied by; zeros that nobody
/// reads where the weights have none.
fn sums_of_blocks(x: &[f32], matrix: &PackedMatrix) -> Vec<f32> {
    let inputs = matrix.inputs();
    let count = x.len() / inputs;
    let mut sums = vec![0.0; inputs.div_ceil(BLOCK) * count];
    if !matrix.format().has_offsets() {
        return sums;
    }
    for (index, row) in x.chunks_exact(inputs).enumerate() {
        let places = sums[index..].iter_mut().step_by(count);
        places.zip(block_sums(row)).for_each(|(place, sum)| *place = sum);
    }
    sums
}

/// Rows are spread evenly: 32 rows are 11, 11 and 10 rather than 12, 12 and 8.
fn start_of(block: usize, blocks: usize, rows: usize) -> usize {
    (block * rows).div_ceil(blocks.max(1))
}

fn interleave(piece: &mut [u32], rows: &[f32], inputs: usize) {
    let count = rows.len() / inputs;
    for (index, row) in rows.chunks_exact(inputs).enumerate() {
        let places = piece[index..].iter_mut().step_by(count);
        places.zip(row).for_each(|(place, x)| *place = x.to_bits());
    }
}

#[cfg(test)]
pub(super) mod tests {
    #[cfg(not(miri))]
    use candle_core::quantized::{GgmlDType, QTensor};
    #[cfg(not(miri))]
    use candle_core::{Device, Tensor};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::super::format::WeightFormat;
    use super::super::lanes::pair;
    use super::super::matrix::InMemory;
    use super::super::tile_product;
    use super::*;

    pub fn numbers(rng: &mut StdRng, count: usize) -> Vec<f32> {
        (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    pub fn pack(numbers: &[f32], inputs: usize, format: WeightFormat) -> PackedMatrix {
        PackedMatrix::pack(&InMemory { numbers, inputs }, format).expect("there is memory")
    }

    /// The product as the textbook has it, of the weights as they are stored.
    fn textbook(rows: &[f32], matrix: &PackedMatrix, bias: &[f32]) -> Vec<f32> {
        let weights: Vec<Vec<f32>> = (0..matrix.outputs()).map(|output| matrix.row(output)).collect();
        let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>();
        rows.chunks(matrix.inputs())
            .flat_map(|x| {
                weights
                    .iter()
                    .zip(bias)
                    .map(move |(w, b)| (dot(x, w) + f64::from(*b)) as f32)
            })
            .collect()
    }

    /// All the ways that this processor has to a product.
    fn ways() -> Vec<(Isa, Rows)> {
        let both = |isa| [(isa, Rows::Tokens), (isa, Rows::Prompt)];
        Isa::all().into_iter().flat_map(both).collect()
    }

    #[test]
    fn products_are_the_textbooks_in_every_format_on_every_instruction_set() {
        let mut rng = StdRng::seed_from_u64(1);
        let shapes = [
            (1, 1, 1),
            (2, 31, 33),
            (1, 300, 100),
            (5, 64, 32),
            (12, 33, 31),
            (13, 600, 65),
            (40, 257, 640),
            (100, 160, 20),
        ];
        // Miri takes minutes for what a processor does in a millisecond.
        let shapes = if cfg!(miri) { &shapes[..2] } else { &shapes };
        for &(count, inputs, outputs) in shapes {
            let (rows, weights) = (numbers(&mut rng, count * inputs), numbers(&mut rng, outputs * inputs));
            let mut bias = numbers(&mut rng, outputs);
            bias.resize(outputs.next_multiple_of(PANEL), 0.0);
            for format in WeightFormat::ALL {
                let matrix = pack(&weights, inputs, format);
                let expected = textbook(&rows, &matrix, &bias);
                for (isa, way) in ways() {
                    let got = product_on(isa, way, &rows, &matrix, Some(&bias));
                    let rounded = isa.multiplies_pairs(format) || isa.tile_unit(format).is_some();
                    let tolerance = (inputs as f32).sqrt() * if rounded { 6e-3 } else { 3e-6 } + 1e-6;
                    for (got, expected) in got.iter().zip(&expected) {
                        assert!(
                            (got - expected).abs() <= tolerance,
                            "{count} x {inputs} x {outputs}, {format:?} on {isa:?} as {way:?}: {got} instead of {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn rows_have_the_same_bits_whatever_is_multiplied_with_them() {
        let mut rng = StdRng::seed_from_u64(4);
        // More inputs than are unpacked at a time, and neither whole blocks nor whole panels.
        for (inputs, outputs) in if cfg!(miri) {
            vec![(33, 33)]
        } else {
            vec![(300, 70), (32, 259), (40, 32), (32, 40), (32, 32)]
        } {
            let counts: Vec<usize> = if cfg!(miri) { vec![3] } else { (2..=50).collect() };
            let weights = numbers(&mut rng, outputs * inputs);
            let rows = numbers(&mut rng, 50 * inputs);
            let mut bias = numbers(&mut rng, outputs);
            bias.resize(outputs.next_multiple_of(PANEL), 0.0);
            let bits = |y: Vec<f32>| y.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            for format in WeightFormat::ALL {
                let matrix = pack(&weights, inputs, format);
                let both = |way| [(way, Some(bias.as_slice())), (way, None)];
                for ((isa, way), bias) in ways().into_iter().flat_map(both) {
                    let alone: Vec<Vec<u32>> = rows
                        .chunks(inputs)
                        .map(|row| bits(product_on(isa, way, row, &matrix, bias)))
                        .collect();
                    for &count in &counts {
                        let first = 50 - count; // not always the same rows together
                        let together = bits(product_on(isa, way, &rows[first * inputs..], &matrix, bias));
                        for (row, (together, alone)) in together.chunks(outputs).zip(&alone[first..]).enumerate() {
                            assert_eq!(
                                together, alone,
                                "row {row} of {count}, {format:?} on {isa:?} as {way:?}"
                            );
                        }
                    }
                }
            }
        }
    }

    fn as_bf16(x: f32) -> f32 {
        f32::from_bits(pair(x, 0.0) << 16)
    }

    /// In pairs, on whatever multiplies them, at once or one after the other.
    fn in_pairs(isa: Isa, x: &[f32], matrix: &PackedMatrix, bias: &[f32]) -> Vec<f32> {
        let mut output = vec![MaybeUninit::uninit(); x.len() / matrix.inputs() * matrix.outputs()];
        several_rows(isa, Way::Pairs, x, matrix, Some(bias), &mut output);
        // SAFETY: all of it was written.
        output.iter().map(|x| unsafe { x.assume_init() }).collect()
    }

    #[test]
    fn pairs_are_multiplied_exactly_and_rows_alone_as_with_others() {
        let mut rng = StdRng::seed_from_u64(7);
        // More rows than a block of weights is unpacked for.
        let shapes = [(1, 31, 33), (13, 64, 32), (40, 300, 70), (270, 96, 40)];
        let shapes = if cfg!(miri) { &shapes[..1] } else { &shapes };
        for &(count, inputs, outputs) in shapes {
            // Rows that are bf16 already: what is left is the sums' own rounding.
            let rows: Vec<f32> = numbers(&mut rng, count * inputs).into_iter().map(as_bf16).collect();
            let weights = numbers(&mut rng, outputs * inputs);
            let mut bias = numbers(&mut rng, outputs);
            bias.resize(outputs.next_multiple_of(PANEL), 0.0);
            let formats = WeightFormat::ALL
                .into_iter()
                .filter(|&format| tile_product::suits(format));
            for format in formats {
                let matrix = pack(&weights, inputs, format);
                let expected = textbook(&rows, &matrix, &bias);
                for isa in Isa::all().into_iter().filter(|isa| isa.has_pairs()) {
                    let got = in_pairs(isa, &rows, &matrix, &bias);
                    for (got, expected) in got.iter().zip(&expected) {
                        let tolerance = (inputs as f32).sqrt() * 3e-6 + 1e-6;
                        assert!(
                            (got - expected).abs() <= tolerance,
                            "{count} x {inputs} x {outputs}, {format:?} on {isa:?}: {got} instead of {expected}"
                        );
                    }
                    for (row, together) in rows.chunks(inputs).zip(got.chunks(outputs)) {
                        let alone = in_pairs(isa, row, &matrix, &bias);
                        assert_eq!(together, alone, "a row of {count}, {format:?} on {isa:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn where_nobody_says_a_single_row_is_a_tokens() {
        assert_eq!(
            [1, 2, 257].map(Rows::by_count),
            [Rows::Tokens, Rows::Prompt, Rows::Prompt]
        );
    }

    #[cfg(not(miri))]
    #[test]
    fn weights_are_quantised_as_ggml_does() {
        let weights = numbers(&mut StdRng::seed_from_u64(2), 7 * 512);
        for (format, ggml) in [
            (WeightFormat::Q8_0, GgmlDType::Q8_0),
            (WeightFormat::Q4_0, GgmlDType::Q4_0),
            (WeightFormat::Q4K, GgmlDType::Q4K),
        ] {
            let matrix = pack(&weights, 512, format);
            let theirs = Tensor::from_slice(&weights, (7, 512), &Device::Cpu)
                .and_then(|rows| {
                    QTensor::quantize(&rows, ggml)?
                        .dequantize(&Device::Cpu)?
                        .to_vec2::<f32>()
                })
                .expect("whole blocks can be quantised");
            for (output, theirs) in theirs.iter().enumerate() {
                for (ours, theirs) in matrix.row(output).iter().zip(theirs) {
                    // Multiplied-out scales are rounded to f16 once more.
                    assert!((ours - theirs).abs() <= 2e-3, "{format:?}: {ours} instead of {theirs}");
                }
            }
        }
    }

    #[test]
    fn no_format_hides_a_weight_that_is_not_finite() {
        for (format, damage) in WeightFormat::ALL
            .into_iter()
            .zip([f32::NAN, f32::INFINITY].into_iter().cycle())
        {
            let mut weights = vec![0.5; 40 * 300];
            weights[7 * 300 + 290] = damage;
            let y = product_of(Rows::Tokens, &[1.0; 300], &pack(&weights, 300, format), None);
            assert!(!y[7].is_finite() && y[8].is_finite(), "{format:?}: {}", y[7]);
        }
    }

    #[test]
    fn columns_are_packed_as_the_rows_of_the_transpose() {
        // Neither whole panels nor whole pairs of inputs.
        let (inputs, outputs) = (51, 40);
        let columns = numbers(&mut StdRng::seed_from_u64(6), inputs * outputs);
        let rows: Vec<f32> = (0..outputs * inputs)
            .map(|index| columns[index % inputs * outputs + index / inputs])
            .collect();
        for format in [WeightFormat::F32, WeightFormat::Bf16] {
            let source = InMemory {
                numbers: &columns,
                inputs: outputs,
            };
            let packed = PackedMatrix::pack_columns(&source, format).expect("there is memory");
            let of_rows = pack(&rows, inputs, format);
            for output in 0..outputs {
                assert_eq!(packed.row(output), of_rows.row(output), "{format:?}");
            }
        }
    }

    #[test]
    fn rows_are_what_was_packed() {
        let weights = numbers(&mut StdRng::seed_from_u64(3), 40 * 50);
        for (format, tolerance) in [
            (WeightFormat::F32, 0.0),
            (WeightFormat::F16, 5e-4),
            (WeightFormat::Bf16, 4e-3),
            (WeightFormat::Q8_0, 4.5e-3),
            (WeightFormat::Q4_0, 0.13),
            (WeightFormat::Q4K, 0.1),
        ] {
            let matrix = pack(&weights, 50, format);
            for (output, row) in weights.chunks(50).enumerate() {
                let worst = matrix
                    .row(output)
                    .iter()
                    .zip(row)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max);
                assert!(worst <= tolerance, "{format:?}: {worst}");
            }
        }
    }
}
