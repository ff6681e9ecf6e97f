//! Softmax attention over keys and values that lie in blocks of positions, in f32.
//!
//! Each row is one position of a sequence, and sees the positions up to its own. It is computed by
//! itself, in the same order of sums whatever other rows there are: an answer does not depend on
//! who else asks, nor on how its prompt was cut into passes.

use std::sync::Arc;

use rayon::prelude::*;

use super::attention::{GatherTask, RowTask, gather, score, softmax};
use super::isa::Isa;
use super::product::WORTH_A_CORE;

/// Positions of a block.
pub const BLOCK_POSITIONS: usize = 16;

/// Keys and values of a layer, each `[blocks][heads][16][size]`.
#[derive(Clone, Copy)]
pub struct KvPages<'a> {
    pub keys: &'a [f32],
    pub values: &'a [f32],
    pub heads: usize,
    /// Numbers of a head.
    pub size: usize,
}

/// A position of a sequence.
#[derive(Clone)]
pub struct PagedRow {
    /// Block `i` has the sequence's positions from `16 i` on.
    pub blocks: Arc<[u32]>,
    /// Counted from the sequence's beginning: the row sees this one and all before it.
    pub position: usize,
}

impl PagedRow {
    /// Where a position of its sequence lies, counted in positions from the pool's beginning.
    pub fn slot_of(&self, position: usize) -> usize {
        self.blocks[position / BLOCK_POSITIONS] as usize * BLOCK_POSITIONS + position % BLOCK_POSITIONS
    }

    /// Where it lies itself.
    pub fn slot(&self) -> usize {
        self.slot_of(self.position)
    }
}

/// Puts keys or values, `[rows, heads * size]`, where their rows lie in `pages`
/// (`[blocks][heads][16][size]`).
pub fn write(numbers: &[f32], pages: &mut [f32], (heads, size): (usize, usize), rows: &[PagedRow]) {
    for (row, numbers) in rows.iter().zip(numbers.chunks_exact((heads * size).max(1))) {
        let slot = row.slot();
        let block = slot / BLOCK_POSITIONS * heads * BLOCK_POSITIONS * size;
        for (head, numbers) in numbers.chunks_exact(size).enumerate() {
            let at = block + (head * BLOCK_POSITIONS + slot % BLOCK_POSITIONS) * size;
            pages[at..at + size].copy_from_slice(numbers);
        }
    }
}

/// `softmax(scale q k^T + bias) v` for every row: `q` and the result are `[rows, heads * size]`.
///
/// `bias` has for each head what is added to a score by distance: distance 0 is the last.
pub fn attend(q: &[f32], pages: &KvPages, rows: &[PagedRow], scale: f32, bias: Option<&[Vec<f32>]>) -> Vec<f32> {
    let (heads, size) = (pages.heads, pages.size);
    let isa = Isa::current();
    let mut output = vec![0f32; rows.len() * heads * size];
    let work = rows.iter().map(|row| 2 * row.position * size).sum::<usize>() / rows.len().max(1);
    output
        .par_chunks_exact_mut(size.max(1))
        .enumerate()
        .with_min_len((WORTH_A_CORE / work.max(1)).max(1))
        .for_each_init(
            || (Vec::new(), Vec::new()),
            |(query, weights), (index, output)| {
                let (row, head) = (&rows[index / heads], index % heads);
                query.clear();
                query.extend(q[index * size..(index + 1) * size].iter().map(|number| number * scale));
                weights.clear();
                weights.resize(row.position + 1, 0.0);
                let bias = bias.map(|bias| &bias[head][bias[head].len() - weights.len()..]);
                attend_head(isa, pages, (row, head), query, weights, bias, output);
            },
        );
    output
}

fn attend_head(
    isa: Isa,
    pages: &KvPages,
    (row, head): (&PagedRow, usize),
    query: &[f32],
    weights: &mut [f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    let page = BLOCK_POSITIONS * pages.size;
    let at = |block: u32| (block as usize * pages.heads + head) * page;
    for (block, weights) in row.blocks.iter().zip(weights.chunks_mut(BLOCK_POSITIONS)) {
        let rows = &pages.keys[at(*block)..][..page];
        score(isa, &mut RowTask { query, rows, weights });
    }
    if let Some(bias) = bias {
        weights.iter_mut().zip(bias).for_each(|(weight, bias)| *weight += bias);
    }
    softmax(isa, weights);
    for (block, weights) in row.blocks.iter().zip(weights.chunks(BLOCK_POSITIONS)) {
        let rows = &pages.values[at(*block)..][..page];
        gather(isa, &mut GatherTask { rows, weights, output });
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Attention as the textbook has it, of one head of one row.
    fn textbook(q: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>], bias: &[f32]) -> Vec<f64> {
        let dot = |k: &Vec<f32>| q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>();
        let scores: Vec<f64> = keys.iter().zip(bias).map(|(k, b)| dot(k) + f64::from(*b)).collect();
        let weights: Vec<f64> = scores.iter().map(|score| score.exp()).collect();
        let sum: f64 = weights.iter().sum();
        (0..q.len())
            .map(|i| {
                weights
                    .iter()
                    .zip(values)
                    .map(|(w, v)| w * f64::from(v[i]))
                    .sum::<f64>()
                    / sum
            })
            .collect()
    }

    #[test]
    fn rows_see_their_own_sequence_up_to_themselves_wherever_its_blocks_lie() {
        let (heads, size, blocks) = (3, 20, 7);
        let mut rng = StdRng::seed_from_u64(4);
        let mut numbers = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let mut pages = [0, 1].map(|_| vec![0f32; blocks * heads * BLOCK_POSITIONS * size]);
        let tables: [Arc<[u32]>; 2] = [[5, 0, 3].into(), [6, 2, 1].into()];
        let row = |table: usize, position| PagedRow {
            blocks: Arc::clone(&tables[table]),
            position,
        };
        let all: Vec<PagedRow> = (0..40)
            .map(|at| row(0, at))
            .chain((0..33).map(|at| row(1, at)))
            .collect();
        let written = [0, 1].map(|_| numbers(all.len() * heads * size));
        for (numbers, pages) in written.iter().zip(&mut pages) {
            write(numbers, pages, (heads, size), &all);
        }
        let bias = [(); 3].map(|()| numbers(40));
        let asked = [39, 0, 16, 40 + 32, 40 + 15];
        let q = numbers(asked.len() * heads * size);
        let kv = KvPages {
            keys: &pages[0],
            values: &pages[1],
            heads,
            size,
        };
        let rows: Vec<PagedRow> = asked.iter().map(|at| all[*at].clone()).collect();
        let got = attend(&q, &kv, &rows, 0.5, Some(&bias));
        for (index, got) in got.chunks(size).enumerate() {
            let (row, head) = (asked[index / heads], index % heads);
            let first = if row < 40 { 0 } else { 40 };
            let of = |numbers: &Vec<f32>| -> Vec<Vec<f32>> {
                let of_row = |at: usize| numbers[(at * heads + head) * size..][..size].to_vec();
                (first..=row).map(of_row).collect()
            };
            let q: Vec<f32> = q[index * size..][..size].iter().map(|q| q * 0.5).collect();
            let bias = &bias[head][40 - (row - first + 1)..];
            let expected = textbook(&q, &of(&written[0]), &of(&written[1]), bias);
            for (got, expected) in got.iter().zip(expected) {
                assert!((f64::from(*got) - expected).abs() < 1e-5, "{got} instead of {expected}");
            }
        }
        let alone = attend(&q[..heads * size], &kv, &rows[..1], 0.5, Some(&bias));
        assert_eq!(alone, got[..heads * size], "to the bit");
    }
}
