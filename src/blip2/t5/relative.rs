//! T5's relative positions: how far a key is from a query, in a few buckets.

use candle_core::{DType, Device, Result};

use crate::blip2::config::T5Config;
use crate::nn::{Kernels, Mask, Weights};

/// What is added to the scores of each head, by distance.
pub struct RelativeBias {
    /// One row a head, one number a bucket.
    table: Vec<Vec<f32>>,
    /// The bucket of a key that is 0, 1, 2, ... positions before the query; from the greatest
    /// distance on all keys share one. The logarithms are taken here, once and for all.
    before: Vec<usize>,
    /// The same of a key behind the query, which the decoder does not see.
    behind: Option<Vec<usize>>,
    kernels: Kernels,
}

impl RelativeBias {
    pub fn new(config: &T5Config, is_decoder: bool, vb: Weights) -> Result<Self> {
        let (count, heads) = (config.relative_attention_num_buckets, config.num_heads);
        let table = vb.get((count, heads), "relative_attention_bias.weight")?;
        let buckets = Buckets {
            count,
            max_distance: config.relative_attention_max_distance,
            is_decoder,
        };
        let table = table.to_dtype(DType::F32)?.t()?.to_vec2()?;
        Ok(Self::from_table(table, &buckets, vb.kernels()))
    }

    /// `table` has one row a head, one number a bucket.
    fn from_table(table: Vec<Vec<f32>>, buckets: &Buckets, kernels: Kernels) -> Self {
        let distances = 0..=buckets.max_distance;
        let behind = || distances.clone().map(|distance| buckets.of(0, distance)).collect();
        Self {
            table,
            behind: (!buckets.is_decoder).then(behind),
            before: distances.clone().map(|distance| buckets.of(distance, 0)).collect(),
            kernels,
        }
    }

    /// The bias of `queries` new positions behind `past` ones, in f32. In the decoder it hides
    /// what comes later.
    pub fn forward(&self, queries: usize, past: usize, device: &Device) -> Result<Mask> {
        let keys = past + queries;
        let of_heads: Vec<_> = self
            .table
            .iter()
            .map(|head| self.of_head(head, queries, keys))
            .collect();
        Mask::by_distance(&of_heads, queries, self.kernels, device)
    }

    /// Of each head the bias of so many distances, from the farthest key before the query to the query
    /// itself.
    pub fn by_distance(&self, distances: usize) -> Vec<Vec<f32>> {
        self.table.iter().map(|head| self.of_head(head, 1, distances)).collect()
    }

    /// The bias of a head by `key - query`: from the first key as the last query sees it to the
    /// last key as the first query does.
    fn of_head(&self, head: &[f32], queries: usize, keys: usize) -> Vec<f32> {
        let bias = |buckets: &[usize], distance: usize| head[buckets[distance.min(buckets.len() - 1)]];
        let before = (0..keys).rev().map(|distance| bias(&self.before, distance));
        let behind = (1..queries).map(|distance| match &self.behind {
            Some(behind) => bias(behind, distance),
            None => f32::NEG_INFINITY,
        });
        before.chain(behind).collect()
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

    #[test]
    fn the_bias_by_distance_is_that_of_each_pair_to_the_bit() -> Result<()> {
        for (count, max_distance, is_decoder) in [(32, 128, true), (32, 128, false), (7, 10, true), (20, 64, false)] {
            let buckets = Buckets {
                count,
                max_distance,
                is_decoder,
            };
            let head = |factor: f32| (0..count).map(|bucket| bucket as f32 * factor).collect::<Vec<_>>();
            let table = vec![head(0.37), head(-1.0)];
            let bias = RelativeBias::from_table(table.clone(), &buckets, Kernels::Own);
            for (queries, past) in [(1, 0), (1, 5), (3, 700), (300, 0), (40, 300)] {
                let keys = past + queries;
                let Mask::ByDistance(mask) = bias.forward(queries, past, &Device::Cpu)? else {
                    panic!("it is dense");
                };
                let by_distance: Vec<Vec<f32>> = mask.reshape((2, ()))?.to_vec2()?;
                for (head, by_distance) in by_distance.iter().enumerate() {
                    for (query, start) in (past..keys).zip((0..queries).rev()) {
                        let pair = |key| match is_decoder && key > query {
                            true => f32::NEG_INFINITY,
                            false => table[head][buckets.of(query, key)],
                        };
                        let pairs: Vec<f32> = (0..keys).map(pair).collect();
                        assert_eq!(
                            by_distance[start..start + keys],
                            pairs,
                            "{count} {queries} {past} {query}"
                        );
                    }
                }
            }
        }
        Ok(())
    }
}
