//! The weights of attention, written down for whoever wants to see what an answer looked at.
//!
//! Attention itself never has them in memory: they are computed a second time from queries and keys, where
//! a record was asked for.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use candle_core::{D, DType, Result, Tensor};

use super::{Mask, cuda_rules};

/// Which of a decoder's attentions are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attending {
    /// Those to the positions before, of a pass that begins with the first.
    ToEarlier,
    /// Those to what it looks at beside its text.
    ToLookedAt,
}

/// What some rows of a pass gave some keys, layer by layer.
pub struct AttentionRecord {
    pub of: Attending,
    rows: Range<usize>,
    keys: Range<usize>,
    layers: Mutex<Vec<Tensor>>,
}

impl AttentionRecord {
    /// Of so many rows, by their places in the pass, and so many keys, by theirs.
    pub fn new(of: Attending, rows: Range<usize>, keys: Range<usize>) -> Self {
        Self {
            of,
            rows,
            keys,
            layers: Mutex::default(),
        }
    }

    /// The same of all rows of a pass, and of all that it looks at.
    pub fn of_all(rows: usize, keys: usize) -> Self {
        Self::new(Attending::ToLookedAt, 0..rows, 0..keys)
    }

    /// Adds a layer: queries `[1, heads, all rows, size]`, keys `[1, heads, all keys, size]`, whose scores are
    /// multiplied by `scale`.
    ///
    /// # Errors
    /// There are fewer of them, or the device's.
    pub(super) fn add(&self, q: &Tensor, k: &Tensor, scale: f64) -> Result<()> {
        let q = q.narrow(2, self.rows.start, self.rows.len())?.to_dtype(DType::F32)?;
        let keys = match self.of {
            // Who sees what comes later?
            Attending::ToEarlier => self.rows.end,
            Attending::ToLookedAt => k.dim(2)?,
        };
        let k = k.narrow(2, 0, keys)?.to_dtype(DType::F32)?.transpose(2, 3)?;
        let scores = cuda_rules::matmul(&(q.contiguous()? * scale)?, &cuda_rules::factor(&k)?)?;
        let scores = match self.of {
            Attending::ToEarlier => self.without_later(&scores)?,
            Attending::ToLookedAt => scores,
        };
        let weights = cuda_rules::softmax_last_dim(&scores)?.squeeze(0)?;
        let weights = weights.narrow(D::Minus1, self.keys.start, self.keys.len())?;
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.push(weights.contiguous()?);
        Ok(())
    }

    fn without_later(&self, scores: &Tensor) -> Result<Tensor> {
        match Mask::causal(self.rows.len(), self.rows.start, scores.device())? {
            Mask::Each(mask) => scores.broadcast_add(&mask),
            Mask::ByDistance(_) => candle_core::bail!("a causal mask has a number for each query and key"),
        }
    }

    /// What was recorded, `[heads, rows, keys]` a layer, in f32.
    pub fn layers(&self) -> Vec<Tensor> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The ids of an answer that are read while its tokens are predicted: all but the last.
///
/// # Errors
/// There is no answer.
pub fn ids_read(answer_ids: &[u32]) -> Result<&[u32]> {
    match answer_ids.split_last() {
        Some((_, read)) => Ok(read),
        None => candle_core::bail!("there is no answer that could have looked at anything"),
    }
}

/// The mean over layers and their heads, `[rows, keys]`.
///
/// # Errors
/// There are no layers, or the device's.
pub fn mean_of_layers(layers: &[Tensor]) -> Result<Tensor> {
    let means = layers.iter().map(|layer| layer.mean(0)).collect::<Result<Vec<_>>>()?;
    Tensor::stack(&means, 0)?.mean(0)
}

/// What an answer looked at, in f32.
pub struct AnswerAttention {
    /// What queries gave the rows of the picture, the class token's first, `[heads, queries, 1 + patches]`: of
    /// each layer that looks at it, as the reference's `output_attentions` has them.
    pub layers: Vec<Tensor>,
    /// How much each token drew on each query, `[tokens, queries]`: the mean over layers and heads.
    pub weights: Tensor,
    /// How much of its look each token gave each patch, `[tokens, rows, columns]`: the mean over layers and heads
    /// of what queries gave the patches, weighted by how much the token drew on them. The class token's part is
    /// left out.
    pub maps: Tensor,
    /// What each token was chosen by, before any setting: `[tokens, vocabulary]`.
    pub logits: Tensor,
}

impl AnswerAttention {
    /// Of what queries gave the picture and tokens the queries, for so many rows of patches, and as many columns;
    /// and of the logits of the pass, a row a token.
    ///
    /// # Errors
    /// They do not go together, or the device's.
    pub fn new(layers: Vec<Tensor>, weights: Tensor, side: usize, logits: &Tensor) -> Result<Self> {
        let of_queries = mean_of_layers(&layers)?;
        let patches = of_queries.narrow(1, 1, side * side)?.contiguous()?;
        let shares = weights.broadcast_div(&weights.sum_keepdim(1)?)?;
        let maps = cuda_rules::matmul(&shares, &cuda_rules::factor(&patches)?)?;
        let tokens = weights.dim(0)?;
        Ok(Self {
            maps: maps.reshape((tokens, side, side))?,
            logits: logits.to_dtype(DType::F32)?.reshape((tokens, ()))?,
            layers,
            weights,
        })
    }
}
