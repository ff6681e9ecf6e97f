//! The KV pool: keys and values of all sequences, in blocks, and attention over them.
//!
//! [`KvBlocks`](super::KvBlocks) says which block is whose; here are the numbers. Our own
//! kernels have them in the host's memory and read them where they lie; in candle's formulation a
//! layer is one tensor, from which a pass gathers what it attends to.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};

use super::attention_record::{Attending, AttentionRecord};
use super::cpu_ops;
use super::cuda_rules::{self, Ids};
use super::kernels::{Kernels, attend_by_products};
use super::kv_blocks::{BLOCK, KvSequence};
use super::rotary::Rotation;
use crate::cpu::Rows;
use crate::cpu::paged_attention::{KvPages, PagedRow};

/// The shape of what a decoder's layers keep of each position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// Of the decoder, each with keys and values of its own.
    pub layers: usize,
    /// Of each layer's self-attention.
    pub heads: usize,
    /// Numbers of a head.
    pub size: usize,
}

impl KvShape {
    /// Numbers of a block, all layers, keys and values.
    pub fn block_numbers(self) -> usize {
        2 * self.layers * BLOCK * self.heads * self.size
    }
}

/// Keys and values of a decoder.
pub struct KvPool {
    shape: KvShape,
    layers: Layers,
}

enum Layers {
    /// Of each layer keys and values, `[blocks][heads][16][size]`.
    Host(Vec<[Vec<f32>; 2]>),
    /// Of each layer keys and values, `[blocks * 16, heads * size]`.
    Tensors(Vec<[Tensor; 2]>),
}

impl KvPool {
    /// Room for so many blocks. The host's memory is taken as it is written.
    ///
    /// # Errors
    /// The device has no memory for it.
    pub fn new(shape: KvShape, blocks: usize, kernels: Kernels, dtype: DType, device: &Device) -> Result<Self> {
        let width = shape.heads * shape.size;
        let layers = match kernels {
            Kernels::Own => {
                let zeros = || vec![0f32; blocks * BLOCK * width];
                Layers::Host((0..shape.layers).map(|_| [zeros(), zeros()]).collect())
            }
            Kernels::Candle => {
                let zeros = || Tensor::zeros((blocks * BLOCK, width), dtype, device);
                let layer = |_| Ok::<_, candle_core::Error>([zeros()?, zeros()?]);
                Layers::Tensors((0..shape.layers).map(layer).collect::<Result<_>>()?)
            }
        };
        Ok(Self { shape, layers })
    }

    /// Makes room for so many further positions of a sequence.
    ///
    /// # Errors
    /// There are no blocks left, or the device fails.
    pub fn make_room(&mut self, sequence: &mut KvSequence, positions: usize) -> Result<()> {
        // Where a block had to be replaced, the rest may still be missing.
        while let Some((old, new)) = sequence.make_room(positions).map_err(candle_core::Error::wrap)? {
            self.copy(old, new)?;
        }
        Ok(())
    }

    fn copy(&mut self, old: u32, new: u32) -> Result<()> {
        let rows = BLOCK * self.shape.heads * self.shape.size;
        let (old, new) = (old as usize, new as usize);
        match &mut self.layers {
            Layers::Host(layers) => {
                for numbers in layers.iter_mut().flatten() {
                    numbers.copy_within(old * rows..(old + 1) * rows, new * rows);
                }
            }
            Layers::Tensors(layers) => {
                for tensor in layers.iter().flatten() {
                    tensor.slice_set(&tensor.narrow(0, old * BLOCK, BLOCK)?.copy()?, 0, new * BLOCK)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the keys and values of a pass's positions into a layer, and attends to all that
    /// each of them sees: the positions up to its own.
    ///
    /// `q`, `k` and `v` are `[1, rows, heads * size]`, and so is the result.
    pub fn attend(&mut self, layer: usize, pass: &Paging, [q, k, v]: [&Tensor; 3], scale: f64) -> Result<Tensor> {
        if let Some(record) = pass.record(Attending::ToEarlier) {
            let split = |x: &Tensor| x.reshape((1, (), self.shape.heads, self.shape.size))?.transpose(1, 2);
            record.add(&split(q)?, &split(k)?, scale)?;
        }
        match (&mut self.layers, &pass.tensors) {
            (Layers::Host(layers), _) => {
                let [keys, values] = &mut layers[layer];
                let shape = (self.shape.heads, self.shape.size);
                cpu_ops::write_pages(k, keys, shape, &pass.rows)?;
                cpu_ops::write_pages(v, values, shape, &pass.rows)?;
                let pages = KvPages {
                    keys,
                    values,
                    heads: shape.0,
                    size: shape.1,
                };
                cpu_ops::attend_pages(q, &pages, &pass.rows, scale as f32, pass.bias.as_deref())
            }
            (Layers::Tensors(layers), Some(groups)) => {
                let [keys, values] = &layers[layer];
                for (tensor, new) in [(keys, k), (values, v)] {
                    let new = new.squeeze(0)?;
                    for (row, slot) in pass.runs() {
                        let run = new.narrow(0, row.start, row.len())?;
                        tensor.slice_set(&run.contiguous()?, 0, slot)?;
                    }
                }
                let outputs: Vec<Tensor> = groups
                    .iter()
                    .map(|group| group.attend(self.shape, q, keys, values, scale))
                    .collect::<Result<_>>()?;
                Tensor::cat(&outputs, 1)
            }
            (Layers::Tensors(_), None) => candle_core::bail!("the pass was made for another pool"),
        }
    }
}

/// New positions of a sequence in a pass.
pub struct Segment<'a> {
    /// With room for them already ([`KvPool::make_room`]).
    pub sequence: &'a KvSequence,
    /// How many; the first is the sequence's next one.
    pub count: usize,
}

/// Where the rows of a pass lie and what they see: the same in every layer.
pub struct Paging {
    rows: Vec<PagedRow>,
    /// How the linear layers are to multiply them.
    pub kind: Rows,
    /// The angles of its rows, where the network turns queries and keys by their position.
    pub rotation: Option<Rotation>,
    /// Where what its rows attend to is written down.
    pub recorded: Option<Arc<AttentionRecord>>,
    /// Of each head what is added to scores, by distance from the farthest to 0.
    bias: Option<Vec<Vec<f32>>>,
    /// For candle's formulation.
    tensors: Option<Vec<Group>>,
}

impl Paging {
    /// The rows of these segments, one behind the other. `bias` gives, for so many distances, what
    /// each head adds to scores, from the farthest to distance 0.
    pub fn new(
        segments: &[Segment],
        kind: Rows,
        bias: Option<&dyn Fn(usize) -> Vec<Vec<f32>>>,
        kernels: Kernels,
        device: &Device,
    ) -> Result<Self> {
        let mut rows = Vec::new();
        for segment in segments {
            let table: Arc<[u32]> = segment.sequence.blocks().into();
            let first = segment.sequence.length();
            rows.extend((first..first + segment.count).map(|position| PagedRow {
                blocks: Arc::clone(&table),
                position,
            }));
        }
        let longest = rows.iter().map(|row| row.position + 1).max().unwrap_or(0);
        let bias = bias.map(|bias| bias(longest));
        let tensors = match kernels {
            Kernels::Own => None,
            Kernels::Candle => Some(groups(segments, &rows, bias.as_deref(), device)?),
        };
        Ok(Self {
            rows,
            kind,
            rotation: None,
            recorded: None,
            bias,
            tensors,
        })
    }

    /// The record of these attentions, if they are to be recorded.
    pub fn record(&self, attending: Attending) -> Option<&AttentionRecord> {
        self.recorded.as_deref().filter(|record| record.of == attending)
    }

    /// The position of each row.
    pub fn positions(&self) -> Vec<u32> {
        self.rows.iter().map(|row| row.position as u32).collect()
    }

    /// Rows of the pass that lie one behind the other in the pool, and where the first does.
    fn runs(&self) -> Vec<(Range<usize>, usize)> {
        let mut runs: Vec<(Range<usize>, usize)> = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            let slot = row.slot();
            match runs.last_mut() {
                Some((rows, first)) if *first + rows.len() == slot => rows.end = index + 1,
                _ => runs.push((index..index + 1, slot)),
            }
        }
        runs
    }
}

/// Segments of as many rows each, which attend together in candle's formulation.
struct Group {
    /// Of the pass.
    rows: Range<usize>,
    segments: usize,
    /// Places in the pool of what each segment sees, `[segments * longest]`; behind its end
    /// its first one.
    slots: Ids,
    /// `[segments, heads or 1, rows of a segment, longest]`, f32.
    mask: Tensor,
}

fn groups(segments: &[Segment], rows: &[PagedRow], bias: Option<&[Vec<f32>]>, device: &Device) -> Result<Vec<Group>> {
    let mut groups = Vec::new();
    let mut start = 0;
    for alike in segments.chunk_by(|one, other| one.count == other.count) {
        let end = start + alike.len() * alike[0].count;
        if end > start {
            groups.push(Group::new(start..end, alike.len(), rows, bias, device)?);
        }
        start = end;
    }
    Ok(groups)
}

impl Group {
    fn new(
        range: Range<usize>,
        segments: usize,
        rows: &[PagedRow],
        bias: Option<&[Vec<f32>]>,
        device: &Device,
    ) -> Result<Self> {
        let rows = &rows[range.clone()];
        let count = rows.len() / segments;
        let longest = rows.iter().map(|row| row.position + 1).max().unwrap_or(0);
        let mut slots = Vec::with_capacity(segments * longest);
        for segment in rows.chunks_exact(count) {
            let last = &segment[count - 1];
            slots.extend((0..longest).map(|position| last.slot_of(position.min(last.position)) as u32));
        }
        let heads = bias.map_or(1, <[_]>::len);
        let mut mask = Vec::with_capacity(segments * heads * count * longest);
        for segment in rows.chunks_exact(count) {
            for head in 0..heads {
                for row in segment {
                    mask.extend((0..longest).map(|key| match bias {
                        _ if key > row.position => f32::NEG_INFINITY,
                        Some(bias) => bias[head][bias[head].len() - 1 - (row.position - key)],
                        None => 0.0,
                    }));
                }
            }
        }
        Ok(Self {
            rows: range,
            segments,
            slots: Ids::new(slots, device)?,
            mask: Tensor::from_vec(mask, (segments, heads, count, longest), device)?,
        })
    }

    fn attend(&self, shape: KvShape, q: &Tensor, keys: &Tensor, values: &Tensor, scale: f64) -> Result<Tensor> {
        let split = |x: Tensor| {
            x.reshape((self.segments, (), shape.heads, shape.size))?
                .transpose(1, 2)?
                .contiguous()
        };
        let q = split(q.narrow(1, self.rows.start, self.rows.len())?)?;
        let k = split(cuda_rules::rows_at(keys, &self.slots)?)?;
        let v = split(cuda_rules::rows_at(values, &self.slots)?)?;
        let y = attend_by_products(&q, &k, &v, scale, Some(&self.mask))?;
        y.reshape((1, self.rows.len(), ()))
    }
}
