//! A weight matrix in the order in which the kernels read it.
//!
//! Outputs are cut into panels of 32, and a panel's inputs into blocks of 32. A block
//! holds, input after input, the weights of the panel's outputs side by side, then their
//! scales, so that every product reads memory from front to back.

use std::ops::Range;

use memmap2::MmapMut;
use rayon::prelude::*;

use super::format::WeightFormat;
use super::isa::Isa;
use super::lanes::pair;
use super::pack::{PackTask, pack_panel};

/// Outputs that are computed together.
pub const PANEL: usize = 32;

/// Inputs that share a scale; all formats pad their inputs with zeros to whole blocks.
pub const BLOCK: usize = 32;

/// Bytes of a matrix that a core packs at a time.
const PIECE: usize = 1 << 22;

/// A matrix `[outputs, inputs]` to be packed, wherever it is and whatever its numbers are.
pub trait MatrixSource: Sync {
    /// How many rows there are.
    fn outputs(&self) -> usize;
    /// How many numbers a row has.
    fn inputs(&self) -> usize;
    /// Some of its rows in f32, one behind the other; `scratch` is for numbers that have to be
    /// converted.
    fn read<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32];
    /// These rows are not read any more.
    fn done_with(&self, rows: Range<usize>);
}

/// A matrix of `[outputs, inputs]`.
pub struct PackedMatrix {
    format: WeightFormat,
    outputs: usize,
    inputs: usize,
    memory: Memory,
}

impl PackedMatrix {
    /// Packs a matrix, piece by piece on all cores.
    ///
    /// # Errors
    /// The system has no memory for it.
    pub fn pack(source: &impl MatrixSource, format: WeightFormat) -> std::io::Result<Self> {
        Self::pack_on(Isa::current(), source, format)
    }

    pub(super) fn pack_on(isa: Isa, source: &impl MatrixSource, format: WeightFormat) -> std::io::Result<Self> {
        let (outputs, inputs) = (source.outputs(), source.inputs());
        let panel_bytes = inputs.div_ceil(BLOCK) * format.block_bytes();
        let mut memory = Memory::new(outputs.div_ceil(PANEL) * panel_bytes)?;
        let panels_at_a_time = (PIECE / (4 * PANEL * inputs).max(1)).max(1);
        memory
            .bytes_mut()
            .par_chunks_mut((panels_at_a_time * panel_bytes).max(1))
            .enumerate()
            .for_each_init(Vec::new, |scratch, (index, panels)| {
                let first = index * panels_at_a_time * PANEL;
                let piece = first..outputs.min(first + panels_at_a_time * PANEL);
                for (panel, start) in panels.chunks_exact_mut(panel_bytes).zip(piece.clone().step_by(PANEL)) {
                    let task = &mut PackTask {
                        format,
                        rows: source.read(start..outputs.min(start + PANEL), scratch),
                        inputs,
                        panel,
                    };
                    pack_panel(isa, task);
                }
                source.done_with(piece);
            });
        Ok(Self {
            format,
            outputs,
            inputs,
            memory,
        })
    }

    /// Packs the columns of a matrix: they are the rows of its transpose, which is not made.
    ///
    /// # Errors
    /// As for [`PackedMatrix::pack`].
    ///
    /// # Panics
    /// The format is neither f32 nor bf16.
    pub fn pack_columns(columns: &impl MatrixSource, format: WeightFormat) -> std::io::Result<Self> {
        let (outputs, inputs) = (columns.inputs(), columns.outputs());
        let mut scratch = Vec::new();
        let rows = columns.read(0..inputs, &mut scratch);
        let panel_bytes = inputs.div_ceil(BLOCK) * format.block_bytes();
        let mut memory = Memory::new(outputs.div_ceil(PANEL) * panel_bytes)?;
        for (index, panel) in memory.bytes_mut().chunks_exact_mut(panel_bytes.max(1)).enumerate() {
            let (first, last) = (index * PANEL, outputs.min((index + 1) * PANEL));
            let places = panel.as_chunks_mut::<4>().0.chunks_exact_mut(PANEL);
            match format {
                WeightFormat::F32 => {
                    for (places, row) in places.zip(rows.chunks_exact(outputs)) {
                        for (place, number) in places.iter_mut().zip(&row[first..last]) {
                            *place = number.to_ne_bytes();
                        }
                    }
                }
                WeightFormat::Bf16 => {
                    let nothing = vec![0.0; outputs];
                    for (places, rows) in places.zip(rows.chunks(2 * outputs)) {
                        let (row, next) = rows.split_at(outputs);
                        let next = if next.is_empty() { &nothing } else { next };
                        let two = row[first..last].iter().zip(&next[first..last]);
                        for (place, (row, next)) in places.iter_mut().zip(two) {
                            *place = pair(*row, *next).to_ne_bytes();
                        }
                    }
                }
                _ => unreachable!("columns are packed in f32 or bf16"),
            }
        }
        Ok(Self {
            format,
            outputs,
            inputs,
            memory,
        })
    }

    /// A matrix whose [`PackedMatrix::stored`] bytes are somewhere: `read` fills a piece of them from
    /// an offset on, on all cores.
    ///
    /// # Errors
    /// The system has no memory for it, or those of `read`.
    pub fn from_stored(
        outputs: usize,
        inputs: usize,
        format: WeightFormat,
        read: impl Fn(usize, &mut [u8]) -> std::io::Result<()> + Sync,
    ) -> std::io::Result<Self> {
        let mut memory = Memory::new(outputs.div_ceil(PANEL) * inputs.div_ceil(BLOCK) * format.block_bytes())?;
        memory
            .bytes_mut()
            .par_chunks_mut(PIECE)
            .enumerate()
            .try_for_each(|(index, piece)| read(index * PIECE, piece))?;
        Ok(Self {
            format,
            outputs,
            inputs,
            memory,
        })
    }

    /// The blocks of all panels as they lie in memory.
    pub fn stored(&self) -> &[u8] {
        self.memory.bytes()
    }

    /// Without the padding of the last panel.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Without the padding of the last block, for which see [`PackedMatrix::padded_inputs`].
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// How the weights are stored; whoever multiplies chooses the kernel by it.
    pub fn format(&self) -> WeightFormat {
        self.format
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.memory.bytes().len()
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
        let size = self.memory.bytes().len() / self.panels();
        Panel {
            format: self.format,
            bytes: &self.memory.bytes()[index * size..(index + 1) * size],
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

/// Memory that begins at a cache line, so that no read of a register crosses two, and is zero.
enum Memory {
    Lines(Vec<Line>),
    Pages(MmapMut),
}

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u8; 64]);

impl Line {
    pub(super) const ZERO: Self = Self([0; 64]);
}

/// Bytes from which on memory is asked of the system.
const WORTH_PAGES: usize = 1 << 20;

impl Memory {
    /// So many bytes, a multiple of 64.
    fn new(bytes: usize) -> std::io::Result<Self> {
        if bytes < WORTH_PAGES {
            return Ok(Self::Lines(vec![Line::ZERO; bytes / 64]));
        }
        let pages = MmapMut::map_anon(bytes)?;
        // Large pages cost fewer faults now and fewer look-ups in every product.
        #[cfg(target_os = "linux")]
        drop(pages.advise(memmap2::Advice::HugePage));
        Ok(Self::Pages(pages))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            // SAFETY: lines are 64 bytes each, without padding.
            Self::Lines(lines) => unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * 64) },
            Self::Pages(pages) => pages,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            // SAFETY: as above, and the borrow is ours alone.
            Self::Lines(lines) => unsafe {
                std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 64)
            },
            Self::Pages(pages) => pages,
        }
    }
}

/// A view of one panel: its blocks one behind the other.
#[derive(Clone, Copy)]
pub struct Panel<'a> {
    pub format: WeightFormat,
    bytes: &'a [u8],
}

impl Panel<'_> {
    /// The inputs with their padding: whole blocks, all of which are there.
    pub fn padded_inputs(&self) -> usize {
        self.bytes.len() / self.format.block_bytes() * BLOCK
    }

    /// Where the block of inputs begins that `input` (a multiple of 32) is the first of; it is
    /// [`WeightFormat::block_bytes`] long.
    ///
    /// # Safety
    /// `input` is less than [`Panel::padded_inputs`].
    #[inline(always)]
    pub unsafe fn block(&self, input: usize) -> *const u8 {
        let start = input / BLOCK * self.format.block_bytes();
        debug_assert!(start < self.bytes.len());
        // SAFETY: the block is one of the panel's, says the caller.
        unsafe { self.bytes.as_ptr().add(start) }
    }
}

/// Numbers that are in memory already, `inputs` a row.
pub struct InMemory<'a> {
    /// Row after row, `[outputs, inputs]`.
    pub numbers: &'a [f32],
    pub inputs: usize,
}

impl MatrixSource for InMemory<'_> {
    fn outputs(&self) -> usize {
        self.numbers.len() / self.inputs.max(1)
    }

    fn inputs(&self) -> usize {
        self.inputs
    }

    fn read<'a>(&'a self, rows: Range<usize>, _: &'a mut Vec<f32>) -> &'a [f32] {
        &self.numbers[rows.start * self.inputs..rows.end * self.inputs]
    }

    fn done_with(&self, _: Range<usize>) {}
}
