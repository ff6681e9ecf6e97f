//! T5's relative positions: how far a key is from a query, in a few buckets.

use candle_core::{DType, Device, Result, Tensor};

use crate::blip2::config::T5Config;
use crate::blip2::weights::Weights;

/// What is added to the scores of each head, by distance.
pub struct RelativeBias {
    /// One row a bucket, one number a head.
    table: Vec<Vec<f32>>,
    heads: usize,
    buckets: Buckets,
}

impl RelativeBias {
    pub fn new(config: &T5Config, is_decoder: bool, vb: Weights) -> Result<Self> {
        let (buckets, heads) = (config.relative_attention_num_buckets, config.num_heads);
        let table = vb.get((buckets, heads), "relative_attention_bias.weight")?;
        Ok(Self {
            table: table.to_dtype(DType::F32)?.to_vec2()?,
            heads,
            buckets: Buckets {
                count: buckets,
                max_distance: config.relative_attention_max_distance,
                is_decoder,
            },
        })
    }

    /// The bias of `queries` new positions behind `past` ones, `[1, heads, queries, past + queries]`
    /// in f32. In the decoder it hides what comes later.
    pub fn forward(&self, queries: usize, past: usize, device: &Device) -> Result<Tensor> {
        let keys = past + queries;
        let mut bias = Vec::with_capacity(self.heads * queries * keys);
        for head in 0..self.heads {
            for query in past..keys {
                bias.extend((0..keys).map(|key| self.of(head, query, key)));
            }
        }
        Tensor::from_vec(bias, (1, self.heads, queries, keys), device)
    }

    fn of(&self, head: usize, query: usize, key: usize) -> f32 {
        if self.buckets.is_decoder && key > query {
            return f32::NEG_INFINITY;
        }
        self.table[self.buckets.of(query, key)][head]
    }
}

/// Which distances share a bucket: `_relative_position_bucket`.
struct Buckets {
    count: usize,
    max_distance: usize,
    is_decoder: bool,
}

impl Buckets {
    fn of(&self, query: usize, key: usize) -> usize {
        let distance = query.abs_diff(key);
        if self.is_decoder {
            return self.of_distance(distance, self.count);
        }
        // Each direction has a half.
        let half = self.count / 2;
        self.of_distance(distance, half) + if key > query { half } else { 0 }
    }

    /// Half of the buckets are for one distance each, the rest grow with its logarithm; all in
    /// f32, since a distance may lie on the border of two.
    fn of_distance(&self, distance: usize, count: usize) -> usize {
        let exact = count / 2;
        if distance < exact {
            return distance;
        }
        let ratio = f64::from(distance as f32 / exact as f32).ln() as f32;
        let whole = (self.max_distance as f64 / exact as f64).ln() as f32;
        let further = (ratio / whole * (count - exact) as f32) as usize;
        (exact + further).min(count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distances, and the reference's buckets of keys that far before and behind the query.
    const DISTANCES: [usize; 17] = [0, 1, 3, 7, 8, 11, 15, 16, 22, 31, 32, 45, 63, 64, 91, 128, 1000];

    #[test]
    fn distances_on_a_border_are_put_where_the_reference_puts_them() {
        let cases = [
            (
                32,
                128,
                true,
                [0, 1, 3, 7, 8, 11, 15, 16, 18, 21, 21, 23, 26, 26, 29, 31, 31],
            ),
            (
                32,
                128,
                false,
                [0, 1, 3, 7, 8, 8, 9, 10, 10, 11, 12, 12, 13, 14, 15, 15, 15],
            ),
            (7, 10, true, [0, 1, 3, 5, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6]),
            (7, 10, false, [0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]),
            (
                20,
                64,
                true,
                [0, 1, 3, 7, 8, 10, 12, 12, 14, 16, 16, 18, 19, 19, 19, 19, 19],
            ),
            (20, 64, false, [0, 1, 3, 5, 5, 6, 7, 7, 7, 8, 8, 9, 9, 9, 9, 9, 9]),
        ];
        for (count, max_distance, is_decoder, expected) in cases {
            let buckets = Buckets {
                count,
                max_distance,
                is_decoder,
            };
            let before = DISTANCES.map(|distance| buckets.of(distance, 0));
            assert_eq!(before, expected, "{count} buckets, {max_distance}");
            if !is_decoder {
                // What comes later has the other half, but for no distance at all.
                let behind = DISTANCES.map(|distance| buckets.of(0, distance));
                let other_half = expected.map(|bucket| bucket + if bucket > 0 { count / 2 } else { 0 });
                assert_eq!(behind, other_half);
            }
        }
    }
}
