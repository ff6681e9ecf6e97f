//! A decoder's sequences, the pool that they lie in, and what is to be read into them.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::cross_attention::{LookedAt, LookingRows};
use super::kv_blocks::{BLOCK, KvBlocks, KvSequence, KvUsage};
use super::kv_pool::{KvPool, Segment};

/// The KV pool of a model, with its books.
pub struct KvCache {
    pub pool: KvPool,
    pub blocks: KvBlocks,
}

impl KvCache {
    /// How many tokens of a prompt about this picture were read for others, and are there.
    pub fn known(&self, picture: [u8; 32], prompt_ids: &[u32]) -> usize {
        self.blocks.known(picture, prompt_ids)
    }

    /// How full the pool is: the scheduler takes questions by it, and `/metrics` shows it.
    pub fn usage(&self) -> KvUsage {
        self.blocks.usage()
    }

    /// Blocks that so many positions take.
    pub fn blocks_of(positions: usize) -> usize {
        positions.div_ceil(BLOCK)
    }

    /// Makes room for so many further positions of each sequence.
    ///
    /// # Errors
    /// A full pool, or the device's.
    pub fn make_room(&mut self, rows: &mut [(&mut DecoderSequence, usize)]) -> Result<()> {
        rows.iter_mut()
            .try_for_each(|(row, count)| self.pool.make_room(&mut row.kv, *count))
    }
}

/// A sequence of a decoder: what it has read, and where the decoder looks at something beside it, that.
pub struct DecoderSequence {
    pub kv: KvSequence,
    pub looked_at: Option<Arc<LookedAt>>,
}

impl DecoderSequence {
    /// One that has read nothing but what is in `kv`.
    pub fn new(kv: KvSequence) -> Self {
        Self { kv, looked_at: None }
    }

    /// Positions that were read.
    pub fn length(&self) -> usize {
        self.kv.length()
    }

    /// Another one that begins alike.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            kv: self.kv.fork(),
            looked_at: self.looked_at.clone(),
        }
    }

    /// These sequences with so many new positions each, as a pass takes them.
    pub fn segments<'a>(rows: &'a [(&mut Self, usize)]) -> Vec<Segment<'a>> {
        let segment = |(row, count): &'a (&mut Self, usize)| Segment {
            sequence: &row.kv,
            count: *count,
        };
        rows.iter().map(segment).collect()
    }

    /// Which rows of a pass look at what: neighbours that look at the same go together.
    ///
    /// # Errors
    /// One has nothing to look at yet.
    pub fn looking(rows: &[(&mut Self, usize)]) -> Result<Vec<LookingRows>> {
        let looking = rows.iter().map(|(row, count)| match &row.looked_at {
            Some(looked_at) => Ok((*count, Arc::clone(looked_at))),
            None => candle_core::bail!("the prompt was not read"),
        });
        looking.collect::<Result<Vec<_>>>().map(together)
    }
}

/// Neighbours that look at the same go together.
pub fn together(rows: impl IntoIterator<Item = LookingRows>) -> Vec<LookingRows> {
    let mut all: Vec<LookingRows> = Vec::new();
    for (count, looked_at) in rows {
        match all.last_mut() {
            Some((rows, last)) if Arc::ptr_eq(last, &looked_at) => *rows += count,
            _ => all.push((count, looked_at)),
        }
    }
    all
}

/// A part of a prompt that is to be read in a pass.
pub struct PromptPart<'a, S = DecoderSequence, P = Tensor> {
    /// What it is read into; the part begins where this ends.
    pub sequence: &'a mut S,
    /// The whole prompt.
    pub ids: &'a [u32],
    /// What is read of the picture; needed where it was not read yet. BLIP-2's language model has
    /// `[1, query tokens, width]`.
    pub picture: Option<&'a P>,
    /// What an InstructBLIP looks for in it: the instruction's ids. Empty where the picture is already
    /// what the language model sees.
    pub instruction: &'a [u32],
    /// How many tokens, behind those that were read.
    pub tokens: usize,
}

impl<P> PromptPart<'_, DecoderSequence, P> {
    /// Where it begins and ends in the prompt.
    pub fn range(&self) -> Range<usize> {
        let start = self.sequence.length();
        start..start + self.tokens
    }

    /// Whether the prompt is read when it is.
    pub fn is_last(&self) -> bool {
        self.range().end == self.ids.len()
    }
}
