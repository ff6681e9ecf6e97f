//! A product on tiles of bf16: rows times a packed matrix, on all cores.
//!
//! A block of 16 rows and 32 inputs is a tile, a panel's 32 outputs are two. Weights that are not
//! bf16 are unpacked on their way. Each sum adds its inputs 32 at a time in their order, however
//! many rows there are, so that a row's outputs have the same bits whatever it is multiplied with.
//!
//! Up to 48 rows ([`few`]) the time goes into reading the weights, once; beyond ([`many`]) into
//! multiplying, from chunks of weights that stay in the first cache and rows that stay in the second.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::format::WeightFormat;
use super::isa::{Isa, compiled_for_each};
use super::lanes::{Lanes, pair};
use super::matrix::{BLOCK, InMemory, Line, PANEL, PackedMatrix, Panel};
use super::product::Shared;
use super::product_kernel::{LINE, unpack_pairs};
#[cfg(test)]
use super::tile_unit::Emulated;
use super::tile_unit::{MOST_BLOCKS, SumsAt, TILE_BYTES, TILE_ROWS, TileUnit};

/// Bytes of the weights of 32 inputs of a panel, as the unit reads them.
const STEP_BYTES: usize = 2 * TILE_BYTES;

/// Steps of 32 inputs whose weights are multiplied with all rows at a time: 40 KB, which stay in the
/// first cache.
const CHUNK: usize = 20;

/// Bytes of rows that are multiplied at a time, so that they stay in the second cache.
const NEAR: usize = 1 << 20;

/// Bytes between the weights that are multiplied and those that are fetched meanwhile.
const AHEAD: usize = 4096;

/// Bytes of weights, times blocks of rows, below which waking another core costs more than it brings.
const WORTH_A_CORE: usize = 1 << 17;

/// Which unit multiplies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// This processor's.
    Amx,
    #[cfg(test)]
    Emulated,
}

/// Whether weights of a format are multiplied as bf16 where tiles are. The others promise more.
pub fn suits(format: WeightFormat) -> bool {
    !matches!(format, WeightFormat::F32 | WeightFormat::F16)
}

/// `[rows, inputs]` times the matrix plus the bias, padded to whole panels, to `[rows, outputs]`,
/// all of which is written.
pub fn tile_product(
    isa: Isa,
    unit: Unit,
    x: &[f32],
    matrix: &PackedMatrix,
    bias: Option<&[f32]>,
    output: &mut [MaybeUninit<f32>],
) {
    let rows = TileRows::pack(isa, x, matrix.inputs());
    let near = if rows.blocks <= MOST_BLOCKS { usize::MAX } else { NEAR };
    product_in_parts(isa, unit, &rows, matrix, bias, output, near);
}

/// As [`tile_product`], with at most so many bytes of rows at a time.
fn product_in_parts(
    isa: Isa,
    unit: Unit,
    rows: &TileRows,
    matrix: &PackedMatrix,
    bias: Option<&[f32]>,
    output: &mut [MaybeUninit<f32>],
    near: usize,
) {
    let parts = (rows.blocks * rows.steps * TILE_BYTES).div_ceil(near).max(1);
    let sums_of_panel = rows.blocks * TILE_ROWS;
    // Sums of one part are added to by the next.
    let mut sums = vec![SumsOfRow::ZERO; if parts > 1 { matrix.panels() * sums_of_panel } else { 0 }];
    let share = Share::of(matrix, rows.blocks);
    for part in 0..parts {
        let steps = part * rows.steps / parts..(part + 1) * rows.steps / parts;
        let sums = (parts > 1).then_some(Shared(sums.as_mut_ptr()));
        let output = Shared(output.as_mut_ptr().cast());
        (0..share.tasks())
            .into_par_iter()
            .with_min_len(share.tasks_worth_a_core)
            .for_each(|index| {
                let (panels, blocks) = share.task(index, matrix.panels(), rows.blocks);
                let task = TileTask {
                    matrix,
                    rows,
                    bias,
                    unit,
                    panels,
                    blocks,
                    steps: steps.clone(),
                    sums,
                    output,
                };
                // SAFETY: the output has the rows and columns, and these panels and rows are this
                // task's alone; `Unit::Amx` is asked for where it is there.
                unsafe { multiply(isa, &task) };
            });
    }
}

/// How a product is shared out: groups of panels that lie one behind the other, so that fetching
/// ahead helps whoever fetches; few panels are cut into blocks of rows as well.
struct Share {
    groups: usize,
    cuts: usize,
    tasks_worth_a_core: usize,
}

impl Share {
    fn of(matrix: &PackedMatrix, blocks: usize) -> Self {
        let (panels, wanted) = (matrix.panels(), 8 * rayon::current_num_threads());
        let groups = panels.min(wanted).max(1);
        let cuts = wanted.div_ceil(groups).min(blocks / MOST_BLOCKS).max(1);
        let work = matrix.bytes() / groups * blocks.div_ceil(cuts);
        Self {
            groups,
            cuts,
            tasks_worth_a_core: (WORTH_A_CORE / work.max(1)).max(1),
        }
    }

    fn tasks(&self) -> usize {
        self.groups * self.cuts
    }

    /// The panels and the blocks of rows of a task.
    fn task(&self, index: usize, panels: usize, blocks: usize) -> (Range<usize>, Range<usize>) {
        let (group, cut) = (index / self.cuts, index % self.cuts);
        (
            group * panels / self.groups..(group + 1) * panels / self.groups,
            cut * blocks / self.cuts..(cut + 1) * blocks / self.cuts,
        )
    }
}

/// A row's sums of a panel's outputs.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct SumsOfRow([f32; PANEL]);

impl SumsOfRow {
    const ZERO: Self = Self([0.0; PANEL]);
    const BYTES: usize = size_of::<Self>();
}

/// Rows in bf16 as the unit reads them: `[blocks of 16][steps of 32 inputs][16 rows][32 inputs]`,
/// zeros where there is none.
struct TileRows {
    lines: Vec<Line>,
    /// Rows that are there.
    rows: usize,
    blocks: usize,
    steps: usize,
}

impl TileRows {
    fn pack(isa: Isa, x: &[f32], inputs: usize) -> Self {
        let rows = x.len() / inputs.max(1);
        let (blocks, steps) = (rows.div_ceil(TILE_ROWS), inputs.div_ceil(BLOCK));
        let of_block = steps * TILE_ROWS;
        let mut lines = Vec::with_capacity(blocks * of_block);
        let places = &mut lines.spare_capacity_mut()[..blocks * of_block];
        places
            .par_chunks_mut(of_block.max(1))
            .zip(x.par_chunks((TILE_ROWS * inputs).max(1)))
            .with_min_len((WORTH_A_CORE / (of_block * LINE).max(1)).max(1))
            .for_each(|(lines, rows)| pack_block(isa, &mut PackTask { lines, rows, inputs }));
        // SAFETY: each block writes all of its lines.
        unsafe { lines.set_len(blocks * of_block) };
        Self {
            lines,
            rows,
            blocks,
            steps,
        }
    }

    /// Where a block's tile of a step begins.
    fn tile(&self, block: usize, step: usize) -> *const u8 {
        self.lines[(block * self.steps + step) * TILE_ROWS..].as_ptr().cast()
    }

    /// Bytes from a block's tile to the next block's.
    fn apart(&self) -> usize {
        self.steps * TILE_BYTES
    }

    /// How many rows of a block there are.
    fn rows_of(&self, block: usize) -> usize {
        TILE_ROWS.min(self.rows - block * TILE_ROWS)
    }
}

struct PackTask<'a> {
    /// `[steps][16]`, all of which are written.
    lines: &'a mut [MaybeUninit<Line>],
    /// At most 16.
    rows: &'a [f32],
    inputs: usize,
}

/// # Safety
/// Compiled for the instruction set of `L`.
#[expect(
    clippy::extra_unused_type_parameters,
    reason = "`L` says for which instructions it is compiled"
)]
#[inline(always)]
unsafe fn pack<L: Lanes>(task: &mut PackTask) {
    let rows = task.rows.chunks_exact(task.inputs).map(Some);
    for (index, row) in rows.chain(std::iter::repeat(None)).take(TILE_ROWS).enumerate() {
        let places = task.lines[index..].iter_mut().step_by(TILE_ROWS);
        let Some(row) = row else {
            places.for_each(|place| {
                place.write(Line::ZERO);
            });
            continue;
        };
        for (place, numbers) in places.zip(row.chunks(BLOCK)) {
            let line = place.write(Line::ZERO);
            for (two, numbers) in line.0.as_chunks_mut::<4>().0.iter_mut().zip(numbers.chunks(2)) {
                *two = pair(numbers[0], numbers.get(1).copied().unwrap_or_default()).to_le_bytes();
            }
        }
    }
}

compiled_for_each!(pack_block, pack, &mut PackTask);

/// Some panels' part of a product with some blocks of rows over some steps of the inputs.
struct TileTask<'a> {
    matrix: &'a PackedMatrix,
    rows: &'a TileRows,
    bias: Option<&'a [f32]>,
    unit: Unit,
    panels: Range<usize>,
    blocks: Range<usize>,
    steps: Range<usize>,
    /// `[panels][rows, padded]`, where the steps are not all.
    sums: Option<Shared<SumsOfRow>>,
    /// `[rows][outputs]`
    output: Shared<f32>,
}

impl TileTask<'_> {
    /// Where the sums of a panel begin: with its bias.
    fn beginning(&self, panel: usize) -> SumsAt {
        static NOTHING: SumsOfRow = SumsOfRow::ZERO;
        let bias = self.bias.map_or(&NOTHING.0[..], |bias| &bias[panel * PANEL..][..PANEL]);
        SumsAt {
            start: bias.as_ptr().cast_mut(),
            stride: 0,
        }
    }

    fn is_first(&self) -> bool {
        self.steps.start == 0
    }

    fn is_last(&self) -> bool {
        self.steps.end == self.rows.steps
    }

    /// The columns of a panel that there are.
    fn columns(&self, panel: usize) -> usize {
        (self.matrix.outputs() - panel * PANEL).min(PANEL)
    }

    /// Whether the output has all rows of these blocks, and all columns of the panel.
    fn is_whole(&self, blocks: &Range<usize>, panel: usize) -> bool {
        blocks.end * TILE_ROWS <= self.rows.rows && self.columns(panel) == PANEL
    }

    /// Where a block's first row of a panel's outputs goes.
    ///
    /// # Safety
    /// The output has them.
    unsafe fn output_at(&self, block: usize, panel: usize) -> SumsAt {
        let outputs = self.matrix.outputs();
        SumsAt {
            // SAFETY: says the caller.
            start: unsafe { self.output.at(block * TILE_ROWS * outputs + panel * PANEL) },
            stride: outputs * size_of::<f32>(),
        }
    }

    /// Copies the sums of a block to the output, as far as it has rows and columns.
    ///
    /// # Safety
    /// `sums` are 16 rows, and the block's rows of the panel's columns of the output are this
    /// task's alone.
    unsafe fn put_out(&self, sums: *const SumsOfRow, block: usize, panel: usize) {
        // SAFETY: says the caller.
        let to = unsafe { self.output_at(block, panel) };
        for row in 0..self.rows.rows_of(block) {
            // SAFETY: says the caller; rows and columns are some that there are.
            unsafe {
                let to = to.start.byte_add(row * to.stride);
                std::ptr::copy_nonoverlapping(sums.add(row).cast(), to, self.columns(panel));
            }
        }
    }
}

/// # Safety
/// Compiled for the instruction set of `L`. The processor has the task's unit, and the output the
/// task's rows and columns, which nobody else reads or writes.
#[inline(always)]
unsafe fn on_unit<L: Lanes>(task: &TileTask) {
    // SAFETY: says the caller.
    unsafe {
        match task.unit {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Unit::Amx => on_panels::<L, super::tile_unit::Amx>(task),
            #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
            Unit::Amx => unreachable!("tiles are an x86 processor's, under Linux"),
            #[cfg(test)]
            Unit::Emulated => on_panels::<L, Emulated>(task),
        }
    }
}

compiled_for_each!(unsafe multiply, on_unit, &TileTask);

/// # Safety
/// As for [`on_unit`].
#[inline(always)]
unsafe fn on_panels<L: Lanes, U: TileUnit>(task: &TileTask) {
    // SAFETY: the unit is there, says the caller.
    let mut unit = unsafe { U::new() };
    // SAFETY: as for this function.
    unsafe {
        match task.blocks.len() {
            0 => {}
            1 => few::<L, U, 1>(&mut unit, task),
            2 => few::<L, U, 2>(&mut unit, task),
            MOST_BLOCKS => few::<L, U, MOST_BLOCKS>(&mut unit, task),
            _ => many::<L, U>(&mut unit, task),
        }
    }
}

/// Up to 48 rows: the sums of a panel stay in the unit while its weights go by.
///
/// # Safety
/// As for [`on_panels`]; the task has as many `BLOCKS`.
#[inline(always)]
unsafe fn few<L: Lanes, U: TileUnit, const BLOCKS: usize>(unit: &mut U, task: &TileTask) {
    let (first, apart) = (task.blocks.start, task.rows.apart());
    let mut own = [SumsOfRow::ZERO; MOST_BLOCKS * TILE_ROWS];
    for panel in task.panels.clone() {
        let weights = task.matrix.panel(panel);
        let mut two = TwoSteps::EMPTY;
        // SAFETY: as for this function; the steps are some of the panel's.
        unsafe {
            let sums = match task.sums {
                Some(sums) => sums.at((panel * task.rows.blocks + first) * TILE_ROWS),
                None => own.as_mut_ptr(),
            };
            let at = SumsAt {
                start: sums.cast(),
                stride: SumsOfRow::BYTES,
            };
            unit.load_sums::<BLOCKS>(if task.is_first() { task.beginning(panel) } else { at });
            let mut next = two.weights::<L>(&weights, task.steps.start);
            for step in task.steps.clone() {
                let weights_now = next;
                fetch_ahead::<L>(&weights, step);
                // Unpacked while the unit multiplies.
                if step + 1 < task.steps.end {
                    next = two.weights::<L>(&weights, step + 1);
                }
                unit.step::<BLOCKS>(task.rows.tile(first, step), apart, weights_now);
            }
            unit.store_sums::<BLOCKS>(at);
            if task.is_last() {
                for (index, block) in task.blocks.clone().enumerate() {
                    task.put_out(sums.add(index * TILE_ROWS), block, panel);
                }
            }
        }
    }
}

/// The weights of a step and of the one after it, unpacked.
#[repr(align(64))]
struct TwoSteps([[MaybeUninit<u8>; STEP_BYTES]; 2]);

impl TwoSteps {
    const EMPTY: Self = Self([[MaybeUninit::uninit(); STEP_BYTES]; 2]);

    /// The weights of a step: where they lie, or unpacked over those of the step before the last.
    ///
    /// # Safety
    /// Compiled for the instruction set of `L`; the panel has the step.
    #[inline(always)]
    unsafe fn weights<L: Lanes>(&mut self, panel: &Panel, step: usize) -> *const u8 {
        // SAFETY: says the caller.
        unsafe { unpacked::<L>(panel, step, self.0[step % 2].as_mut_ptr().cast()) }
    }
}

/// The weights of a step: where they lie, or unpacked to `to`.
///
/// # Safety
/// Compiled for the instruction set of `L`; the panel has the step, and a step's bytes can be
/// written to `to`.
#[inline(always)]
unsafe fn unpacked<L: Lanes>(panel: &Panel, step: usize, to: *mut u8) -> *const u8 {
    // SAFETY: says the caller.
    unsafe {
        let block = panel.block(step * BLOCK);
        if panel.format == WeightFormat::Bf16 {
            return block;
        }
        unpack_pairs::<L>(panel.format, block, to.cast());
        to
    }
}

/// Has the weights fetched that lie ahead of a step's, as many as the step has.
///
/// # Safety
/// Compiled for the instruction set of `L`; the panel has the step.
#[inline(always)]
unsafe fn fetch_ahead<L: Lanes>(panel: &Panel, step: usize) {
    // SAFETY: says the caller; what lies ahead may be anywhere.
    unsafe {
        let ahead = panel.block(step * BLOCK).wrapping_add(AHEAD);
        for line in (0..panel.format.block_bytes()).step_by(LINE) {
            L::fetch(ahead.wrapping_add(line));
        }
    }
}

/// More than 48 rows: chunks of weights, unpacked once, against all blocks, two at a time.
///
/// # Safety
/// As for [`on_panels`].
#[inline(always)]
unsafe fn many<L: Lanes, U: TileUnit>(unit: &mut U, task: &TileTask) {
    let mut own = vec![
        SumsOfRow::ZERO;
        if task.sums.is_none() {
            task.blocks.len() * TILE_ROWS
        } else {
            0
        }
    ];
    let mut room = vec![Line::ZERO; CHUNK * STEP_BYTES / LINE];
    let chunks = task.steps.len().div_ceil(CHUNK);
    for panel in task.panels.clone() {
        for chunk in 0..chunks {
            let at = |chunk: usize| task.steps.start + chunk * task.steps.len() / chunks;
            let steps = at(chunk)..at(chunk + 1);
            // SAFETY: as for this function; the steps are some of the panel's.
            unsafe {
                let weights = task.matrix.panel(panel);
                let chunk = Chunk {
                    panel,
                    weights: unpack_chunk::<L>(&weights, steps.clone(), &mut room),
                    next: weights
                        .block(steps.start * BLOCK)
                        .wrapping_add(steps.len() * weights.format.block_bytes()),
                    steps,
                    sums: match task.sums {
                        Some(sums) => sums.at((panel * task.rows.blocks + task.blocks.start) * TILE_ROWS),
                        None => own.as_mut_ptr(),
                    },
                };
                for first in task.blocks.clone().step_by(2) {
                    if first + 1 < task.blocks.end {
                        multiply_chunk::<U, 2>(unit, task, &chunk, first);
                    } else {
                        multiply_chunk::<U, 1>(unit, task, &chunk, first);
                    }
                }
            }
        }
    }
}

/// Some steps of a panel's weights, as the unit reads them.
struct Chunk {
    panel: usize,
    steps: Range<usize>,
    weights: *const u8,
    /// What is multiplied next, as it is stored.
    next: *const u8,
    /// Of all rows of the task's blocks.
    sums: *mut SumsOfRow,
}

/// # Safety
/// Compiled for the instruction set of `L`; the panel has the steps, at most [`CHUNK`].
#[inline(always)]
unsafe fn unpack_chunk<L: Lanes>(panel: &Panel, steps: Range<usize>, room: &mut [Line]) -> *const u8 {
    // SAFETY: says the caller.
    unsafe {
        if panel.format == WeightFormat::Bf16 {
            return panel.block(steps.start * BLOCK);
        }
        let (start, to) = (steps.start, room.as_mut_ptr().cast::<u8>());
        for step in steps {
            unpacked::<L>(panel, step, to.add((step - start) * STEP_BYTES));
        }
        to
    }
}

/// A chunk of weights against `BLOCKS` blocks of rows from `first` on.
///
/// # Safety
/// As for [`on_panels`]; the blocks are some of the task's.
#[inline(always)]
unsafe fn multiply_chunk<U: TileUnit, const BLOCKS: usize>(unit: &mut U, task: &TileTask, chunk: &Chunk, first: usize) {
    // SAFETY: as for this function.
    unsafe {
        let sums = chunk.sums.add((first - task.blocks.start) * TILE_ROWS);
        let at = SumsAt {
            start: sums.cast(),
            stride: SumsOfRow::BYTES,
        };
        unit.load_sums::<BLOCKS>(match chunk.steps.start {
            0 => task.beginning(chunk.panel),
            _ => at,
        });
        let blocks = first..first + BLOCKS;
        let is_last = chunk.steps.end == task.rows.steps;
        let straight = is_last && task.is_whole(&blocks, chunk.panel);
        let to = if straight {
            task.output_at(first, chunk.panel)
        } else {
            at
        };
        if straight {
            // Stores to lines that are far take long.
            for row in 0..BLOCKS * TILE_ROWS {
                let line = to.start.byte_add(row * to.stride);
                U::fetch_to_write(line.cast());
                U::fetch_to_write(line.wrapping_byte_add(LINE).cast());
            }
        }
        // All blocks together fetch what is next, each step a part of it.
        let lines = (task.matrix.format().block_bytes() / LINE * 2).div_ceil(task.blocks.len());
        let mut next = chunk
            .next
            .wrapping_add((first - task.blocks.start) / 2 * chunk.steps.len() * lines * LINE);
        for (index, step) in chunk.steps.clone().enumerate() {
            for _ in 0..lines {
                U::fetch_far(next);
                next = next.wrapping_add(LINE);
            }
            let weights = chunk.weights.add(index * STEP_BYTES);
            unit.step::<BLOCKS>(task.rows.tile(first, step), task.rows.apart(), weights);
        }
        unit.store_sums::<BLOCKS>(to);
        if is_last && !straight {
            for (index, block) in blocks.enumerate() {
                task.put_out(sums.add(index * TILE_ROWS), block, chunk.panel);
            }
        }
    }
}

/// Whether a unit multiplies small whole numbers, and adds a bias, without any error: tried before
/// it is relied on, in few rows and in many, some of them not there.
pub fn is_right(isa: Isa, unit: Unit) -> bool {
    const INPUTS: usize = 3 * BLOCK + 6;
    const OUTPUTS: usize = PANEL + 8;
    let number = |index: usize| ((index * 7) % 17) as f32 - 8.0;
    let weights: Vec<f32> = (0..OUTPUTS * INPUTS).map(|index| number(index + 3)).collect();
    let bias: Vec<f32> = (0..2 * PANEL).map(number).collect();
    let source = InMemory {
        numbers: &weights,
        inputs: INPUTS,
    };
    let Ok(matrix) = PackedMatrix::pack_on(isa, &source, WeightFormat::Bf16) else {
        return false;
    };
    [1, 2 * TILE_ROWS, MOST_BLOCKS * TILE_ROWS - 1, 5 * TILE_ROWS - 3]
        .into_iter()
        .all(|rows| {
            let x: Vec<f32> = (0..rows * INPUTS).map(|index| number(index + index / INPUTS)).collect();
            let mut y = Vec::with_capacity(rows * OUTPUTS);
            let places = &mut y.spare_capacity_mut()[..rows * OUTPUTS];
            tile_product(isa, unit, &x, &matrix, Some(&bias), places);
            // SAFETY: all of it was written.
            unsafe { y.set_len(rows * OUTPUTS) };
            let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>();
            let right = x.chunks_exact(INPUTS).flat_map(|x| {
                let of_output = weights.chunks_exact(INPUTS).zip(&bias);
                of_output.map(move |(w, bias)| dot(x, w) + bias)
            });
            right.eq(y)
        })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::product::tests::{numbers, pack};
    use super::*;

    const TILED: [WeightFormat; 4] = [
        WeightFormat::Bf16,
        WeightFormat::Q8_0,
        WeightFormat::Q4_0,
        WeightFormat::Q4K,
    ];

    fn bf16(x: f32) -> f32 {
        half::bf16::from_f32(x).to_f32()
    }

    /// With at most so many bytes of rows at a time, on this processor's tiles as well if it has them.
    fn products(rows: &[f32], matrix: &PackedMatrix, bias: Option<&[f32]>, near: usize) -> Vec<Vec<f32>> {
        let units = |isa: Isa| {
            let unit = isa.tile_unit(matrix.format());
            [Some(Unit::Emulated), unit]
                .into_iter()
                .flatten()
                .map(move |unit| (isa, unit))
        };
        let product = |(isa, unit)| {
            let packed = TileRows::pack(isa, rows, matrix.inputs());
            // What is not written shows.
            let mut output = vec![MaybeUninit::new(f32::NAN); packed.rows * matrix.outputs()];
            product_in_parts(isa, unit, &packed, matrix, bias, &mut output, near);
            // SAFETY: all of it was made as numbers.
            output.iter().map(|number| unsafe { number.assume_init() }).collect()
        };
        Isa::all().into_iter().flat_map(units).map(product).collect()
    }

    /// Rows, inputs, outputs: few rows and many, one more and one less than blocks and panels have,
    /// more steps than a chunk has, and few panels that are cut into rows.
    fn shapes() -> Vec<(usize, usize, usize)> {
        match cfg!(miri) {
            true => vec![(1, 3, 2), (49, 33, 33)],
            false => vec![
                (1, 1, 1),
                (2, 31, 33),
                (16, 96, 64),
                (17, 1300, 64),
                (33, 64, 31),
                (40, 257, 640),
                (48, 32, 32),
                (49, 1351, 65),
                (130, 700, 40),
                (257, 160, 20),
            ],
        }
    }

    #[test]
    fn a_product_on_tiles_is_that_of_the_rounded_numbers() {
        let mut rng = StdRng::seed_from_u64(1);
        for (count, inputs, outputs) in shapes() {
            let (rows, weights) = (numbers(&mut rng, count * inputs), numbers(&mut rng, outputs * inputs));
            let mut bias = numbers(&mut rng, outputs);
            bias.resize(outputs.next_multiple_of(PANEL), 0.0);
            for format in TILED {
                let matrix = pack(&weights, inputs, format);
                let stored: Vec<Vec<f32>> = (0..outputs).map(|output| matrix.row(output)).collect();
                for got in products(&rows, &matrix, Some(&bias), NEAR) {
                    for (x, got) in rows.chunks(inputs).zip(got.chunks(outputs)) {
                        for ((w, bias), got) in stored.iter().zip(&bias).zip(got) {
                            let products = x.iter().zip(w).map(|(x, w)| f64::from(bf16(*x)) * f64::from(bf16(*w)));
                            let expected = (products.sum::<f64>() + f64::from(*bias)) as f32;
                            // A weight that is computed with one rounding less may round the other way.
                            let tolerance =
                                (inputs as f32).sqrt() * if format == WeightFormat::Bf16 { 3e-6 } else { 1e-3 };
                            assert!(
                                (got - expected).abs() <= tolerance + 1e-6,
                                "{count} x {inputs} x {outputs}, {format:?}: {got} instead of {expected}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_on_tiles_whatever_is_multiplied_with_it() {
        let mut rng = StdRng::seed_from_u64(2);
        let (most, inputs, outputs) = if cfg!(miri) { (49, 33, 33) } else { (99, 1351, 70) };
        let (rows, weights) = (numbers(&mut rng, most * inputs), numbers(&mut rng, outputs * inputs));
        let bits = |y: &[f32]| y.iter().map(|y| y.to_bits()).collect::<Vec<_>>();
        for format in TILED {
            let matrix = pack(&weights, inputs, format);
            let all = products(&rows, &matrix, None, NEAR);
            for count in [1, 16, 17, 47, 49, 97].into_iter().filter(|count| *count < most) {
                let first = most - count;
                // A tenth of the bytes at a time, so that sums go by way of memory.
                for near in [NEAR, count.next_multiple_of(TILE_ROWS) * inputs / 5] {
                    let some = products(&rows[first * inputs..], &matrix, None, near);
                    for (all, some) in all.iter().zip(some) {
                        assert_eq!(bits(&all[first * outputs..]), bits(&some), "{count} rows, {format:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_unit_that_multiplies_right_is_found_to() {
        assert!(Isa::all().into_iter().all(|isa| is_right(isa, Unit::Emulated)));
    }
}
