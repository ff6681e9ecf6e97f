//! What a decoder looks at beside its own text: keys and values that are the same for all of its
//! answers' tokens, computed once.

use std::sync::{Arc, Weak};

use candle_core::{Result, Tensor};

use super::attention::Attention;
use super::attention_record::AttentionRecord;

/// Keys and values of what is looked at (a prompt, a picture), `[1, heads, length, size]` each, of every
/// layer that looks. Clones share them.
#[derive(Clone)]
pub struct LookedAt(Arc<Vec<(Tensor, Tensor)>>);

/// What is looked at for as long as somebody else holds it.
#[derive(Default)]
pub struct LookedAtElsewhere(Weak<Vec<(Tensor, Tensor)>>);

impl LookedAtElsewhere {
    /// It, if somebody still does.
    pub fn get(&self) -> Option<LookedAt> {
        self.0.upgrade().map(LookedAt)
    }
}

/// So many rows of a pass, one behind the other, and what they look at. How many attend together may show
/// in the last bits: those of one request do, by one `Arc`, and those of others by another.
pub type LookingRows = (usize, Arc<LookedAt>);

impl LookedAt {
    /// Of each layer its keys and values. They are laid out head by head, as each token's attention
    /// reads them.
    ///
    /// # Errors
    /// The device's.
    pub fn new(layers: impl Iterator<Item = Result<(Tensor, Tensor)>>) -> Result<Self> {
        let head_by_head = layers.map(|layer| {
            let (k, v) = layer?;
            Ok((k.contiguous()?, v.contiguous()?))
        });
        head_by_head.collect::<Result<_>>().map(|layers| Self(Arc::new(layers)))
    }

    /// A way to it that does not hold it.
    pub fn elsewhere(&self) -> LookedAtElsewhere {
        LookedAtElsewhere(Arc::downgrade(&self.0))
    }

    /// Keys and values of a layer.
    pub fn layer(&self, index: usize) -> &(Tensor, Tensor) {
        &self.0[index]
    }
}

impl Attention {
    /// Each row attends to what it looks at: queries `[1, rows, heads * size]` to the same shape. The
    /// weights are written down where all rows look at the same.
    ///
    /// # Errors
    /// There are fewer rows than are counted, or the device's.
    pub fn look(
        &self,
        queries: &Tensor,
        layer: usize,
        rows: &[LookingRows],
        record: Option<&AttentionRecord>,
    ) -> Result<Tensor> {
        let mut start = 0;
        let mut outputs = Vec::with_capacity(rows.len());
        for (count, looked_at) in rows {
            let (k, v) = looked_at.layer(layer);
            let queries = self.split_heads(&queries.narrow(1, start, *count)?)?;
            if let (Some(record), 1) = (record, rows.len()) {
                self.record(&queries, k, record)?;
            }
            outputs.push(self.forward(&queries, k, v, None)?);
            start += count;
        }
        Tensor::cat(&outputs, 1)
    }
}
