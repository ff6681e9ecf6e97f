//! A weight matrix in the order in which the kernels read it.
//!
//! Outputs are cut into panels of 32, and a panel's inputs into blocks of 32. A block
//! holds, input after input, the weights of the panel's outputs side by side, then their
//! scales, so that every product reads memory from front to back.

use rayon::prelude::*;

use super::format::WeightFormat;

/// Outputs that are computed together.
pub const PANEL: usize = 32;

/// Inputs that share a scale; all formats pad their inputs with zeros to whole blocks.
pub const BLOCK: usize = 32;

/// A matrix of `[outputs, inputs]`.
pub struct PackedMatrix {
    format: WeightFormat,
    outputs: usize,
    inputs: usize,
    lines: Vec<Line>,
}

/// Memory that begins at a cache line, so that no read of a register crosses two.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl PackedMatrix {
    /// Packs rows of `inputs` weights, one row an output.
    pub fn pack(rows: &[f32], inputs: usize, format: WeightFormat) -> Self {
        let inputs_or_one = inputs.max(1);
        let outputs = rows.len() / inputs_or_one;
        let panel_lines = inputs.div_ceil(BLOCK) * format.block_bytes() / 64;
        let mut lines = vec![Line([0; 64]); outputs.div_ceil(PANEL) * panel_lines];
        lines
            .par_chunks_mut(panel_lines.max(1))
            .zip(rows.par_chunks(inputs_or_one * PANEL))
            .for_each(|(panel, rows)| format.pack_panel(rows, inputs, bytes_mut(panel)));
        Self {
            format,
            outputs,
            inputs,
            lines,
        }
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    pub fn format(&self) -> WeightFormat {
        self.format
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.lines.len() * 64
    }

    /// The inputs with their padding.
    pub fn padded_inputs(&self) -> usize {
        self.inputs.next_multiple_of(BLOCK)
    }

    /// How many panels the outputs make.
    pub fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// The weights of outputs `32 index` to `32 index + 31`; those past the end are zeros.
    pub fn panel(&self, index: usize) -> Panel<'_> {
        let size = self.lines.len() / self.panels();
        Panel {
            format: self.format,
            bytes: bytes(&self.lines[index * size..(index + 1) * size]),
        }
    }

    /// The weights of one output, as the products see them.
    pub fn row(&self, output: usize) -> Vec<f32> {
        let panel = self.panel(output / PANEL);
        let mut row: Vec<f32> = panel
            .bytes
            .chunks(self.format.block_bytes())
            .flat_map(|block| self.format.unpack_lane(block, output % PANEL))
            .collect();
        row.truncate(self.inputs);
        row
    }
}

/// A view of one panel: its blocks one behind the other.
#[derive(Clone, Copy)]
pub struct Panel<'a> {
    pub format: WeightFormat,
    bytes: &'a [u8],
}

impl Panel<'_> {
    /// Where the block of inputs begins that `input` (a multiple of 32) is the first of.
    #[inline(always)]
    pub fn block(&self, input: usize) -> *const u8 {
        let start = input / BLOCK * self.format.block_bytes();
        debug_assert!(start < self.bytes.len());
        // SAFETY: callers stay below the padded inputs, whose blocks are all there.
        unsafe { self.bytes.as_ptr().add(start) }
    }
}

fn bytes(lines: &[Line]) -> &[u8] {
    // SAFETY: lines are 64 bytes each, without padding.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * 64) }
}

fn bytes_mut(lines: &mut [Line]) -> &mut [u8] {
    // SAFETY: as above, and the borrow is ours alone.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 64) }
}
