//! Scaled dot-product attention: `softmax(q k^T + mask) v`, head by head.

use candle_core::{Device, Result, Tensor};

use super::attention_record::AttentionRecord;
use super::kernels::Kernels;
use super::precision::Precision;
use super::weights::Weights;

/// What an attention layer does between its projections: splits heads, attends, merges them.
#[derive(Clone, Copy)]
pub struct Attention {
    heads: usize,
    scale: f64,
    precision: Precision,
}

impl Attention {
    /// Heads whose scores are divided by the root of their size, out of `hidden` numbers.
    pub fn new(heads: usize, hidden: usize, vb: &Weights) -> Self {
        let scale = ((hidden / heads.max(1)) as f64).powf(-0.5);
        Self {
            scale,
            ..Self::unscaled(heads, vb)
        }
    }

    /// Heads whose scores stay as they are, as T5's.
    pub fn unscaled(heads: usize, vb: &Weights) -> Self {
        Self {
            heads,
            scale: 1.0,
            precision: vb.precision(),
        }
    }

    /// Splits the last dimension into heads: `[batch, length, heads * size]` to
    /// `[batch, heads, length, size]`.
    pub fn split_heads(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, length, hidden) = x.dims3()?;
        let split = x
            .reshape((batch, length, self.heads, hidden / self.heads))?
            .transpose(1, 2)?;
        match self.precision.kernels {
            // Ours reads heads from wherever they lie.
            Kernels::Own => Ok(split),
            Kernels::Candle => split.contiguous(),
        }
    }

    /// `softmax(scale q k^T + mask) v`, heads merged again.
    ///
    /// `q` is `[batch, heads, queries, size]`, `k` and `v` are
    /// `[batch, heads, keys, size]`; the result is `[batch, queries, heads * size]`. The softmax
    /// runs in f32 whatever the dtype, as torch's `scaled_dot_product_attention` does. Where our
    /// kernels round to bf16 what they multiply with weights, they do so with keys and values.
    pub fn forward(&self, q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Mask>) -> Result<Tensor> {
        let Precision { kernels, weights, .. } = self.precision;
        kernels.attend(q, k, v, self.scale, mask, weights)
    }

    /// Writes down what [`Attention::forward`] weighs values by, where no mask is added.
    ///
    /// # Errors
    /// As for [`AttentionRecord::add`].
    pub fn record(&self, q: &Tensor, k: &Tensor, record: &AttentionRecord) -> Result<()> {
        record.add(q, k, self.scale)
    }
}

/// What is added to the scores, in f32.
pub enum Mask {
    /// A number for each query and key; broadcasts to `[batch, heads, queries, keys]`.
    Each(Tensor),
    /// For our kernels alone: a number for each distance, `[1, heads, 1, keys + queries - 1]`.
    /// Those of the last query are the first `keys`, those of the query before begin one
    /// further on.
    ByDistance(Tensor),
}

impl Mask {
    /// The additive mask that keeps `queries` new positions from looking ahead:
    /// `[queries, past + queries]`, 0 or minus infinity.
    pub fn causal(queries: usize, past: usize, device: &Device) -> Result<Self> {
        let keys = past + queries;
        let mask: Vec<f32> = (0..queries)
            .flat_map(|query| (0..keys).map(move |key| if key > past + query { f32::NEG_INFINITY } else { 0.0 }))
            .collect();
        Tensor::from_vec(mask, (queries, keys), device).map(Self::Each)
    }

    /// A mask by distance, of so many new positions: of each head `keys + queries - 1` numbers,
    /// from the first key as the last query sees it to the last key as the first query does.
    pub fn by_distance(heads: &[Vec<f32>], queries: usize, kernels: Kernels, device: &Device) -> Result<Self> {
        let distances = heads.first().map_or(0, Vec::len);
        let keys = distances + 1 - queries;
        match kernels {
            Kernels::Own => {
                Tensor::from_vec(heads.concat(), (1, heads.len(), 1, distances), device).map(Self::ByDistance)
            }
            Kernels::Candle => {
                let mut dense = Vec::with_capacity(heads.len() * queries * keys);
                for head in heads {
                    // Each query sees the same distances as the one before it, a key further on.
                    (0..queries)
                        .rev()
                        .for_each(|start| dense.extend_from_slice(&head[start..start + keys]));
                }
                Tensor::from_vec(dense, (1, heads.len(), queries, keys), device).map(Self::Each)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_attention_is_candles() -> Result<()> {
        // Single queries and many, sizes that are no multiple of a register's, rows of beams.
        for (batch, heads, queries, keys, size) in
            [(1, 2, 1, 1, 4), (3, 2, 1, 40, 20), (1, 3, 5, 9, 33), (2, 1, 50, 50, 88)]
        {
            let ours = Attention {
                heads,
                scale: 0.3,
                precision: Precision::F32,
            };
            let textbook = Attention {
                precision: Precision {
                    kernels: Kernels::Candle,
                    ..Precision::F32
                },
                ..ours
            };
            let random = |rows: usize| Tensor::randn(0f32, 1.0, (batch, rows, heads * size), &Device::Cpu);
            let (q, k, v) = (random(queries)?, random(keys)?, random(keys)?);
            let distances: Vec<Vec<f32>> =
                Tensor::randn(0f32, 1.0, (heads, keys + queries - 1), &Device::Cpu)?.to_vec2()?;
            let bias = Tensor::randn(0f32, 1.0, (1, heads, queries, keys), &Device::Cpu)?;
            let masks = |kernels| {
                Ok::<_, candle_core::Error>([
                    None,
                    Some(Mask::causal(queries, keys - queries, &Device::Cpu)?),
                    Some(Mask::Each(bias.clone())),
                    Some(Mask::by_distance(&distances, queries, kernels, &Device::Cpu)?),
                ])
            };
            for (mask, same) in masks(Kernels::Own)?.iter().zip(&masks(Kernels::Candle)?) {
                let attend = |attention: &Attention, mask| {
                    let split = |x| attention.split_heads(x);
                    attention.forward(&split(&q)?, &split(&k)?, &split(&v)?, mask)
                };
                let (ours, textbook) = (attend(&ours, mask.as_ref())?, attend(&textbook, same.as_ref())?);
                assert_eq!(ours.dims(), textbook.dims());
                let worst = (ours - textbook)?.abs()?.max_all()?.to_scalar::<f32>()?;
                assert!(worst <= 2e-6, "{queries} queries, {keys} keys of {size}: {worst}");
            }
        }
        Ok(())
    }
}
