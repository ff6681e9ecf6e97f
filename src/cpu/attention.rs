//! Softmax attention on the CPU, in f32: `softmax(scale q k^T + mask) v`. Where weights are multiplied
//! in tiles of bf16, queries and keys are as well, and what becomes of them and values.
//!
//! A head is one piece of work for one core, on the packed products of
//! [`product`](super::product), and reads its queries, keys and values from wherever they lie.

use std::ops::Range;

use rayon::prelude::*;

use super::format::WeightFormat;
use super::isa::{Isa, compiled_for_each};
use super::lanes::{LANES, Lanes, exp, maximum, sum};
use super::matrix::{MatrixSource, PackedMatrix};
use super::product::{Rows, WORTH_A_CORE, product_on};

/// Queries from which on it is worth packing keys and values.
const WORTH_PACKING: usize = 4;

/// The heads of a tensor `[batch, heads, rows, size]`, wherever its numbers lie.
#[derive(Clone, Copy)]
pub struct Heads<'a> {
    numbers: &'a [f32],
    shape: [usize; 4],
    strides: [usize; 4],
}

impl<'a> Heads<'a> {
    /// `numbers` begin with the tensor's first; `strides` are in numbers.
    pub fn new(numbers: &'a [f32], shape: [usize; 4], strides: [usize; 4]) -> Self {
        Self {
            numbers,
            shape,
            strides,
        }
    }

    /// Of all batches' heads the one with this index.
    fn head(&self, index: usize) -> Head<'a> {
        let [_, heads, rows, size] = self.shape;
        let [batch_stride, head_stride, row_stride, column_stride] = self.strides;
        Head {
            numbers: &self.numbers[index / heads * batch_stride + index % heads * head_stride..],
            rows,
            size,
            row_stride,
            column_stride,
        }
    }
}

/// What is added to the scores.
#[derive(Clone, Copy)]
pub enum HeadsMask<'a> {
    /// A number for each query and key, `[batch, heads, queries, keys]`.
    Each(Heads<'a>),
    /// A number for each distance, `[batch, heads, 1, keys + queries - 1]`. Those of the last
    /// query are the first `keys`, those of the query before begin one further on.
    ByDistance(Heads<'a>),
}

/// Attention of all heads: `q` is `[batch, heads, queries, size]`, `k` and `v` are `[batch,
/// heads, keys, size]`; the result is `[batch, queries, heads * size]`.
///
/// `weights` is how the network stores its weights, which says how exact attention has to be.
///
/// # Errors
/// The system has no memory for the packed keys and values.
pub fn attend(
    q: Heads,
    k: Heads,
    v: Heads,
    scale: f32,
    mask: Option<HeadsMask>,
    weights: WeightFormat,
) -> std::io::Result<Vec<f32>> {
    let isa = Isa::current();
    let format = match isa.tile_unit(weights) {
        Some(_) => WeightFormat::Bf16,
        None => WeightFormat::F32,
    };
    attend_on(isa, q, k, v, scale, mask, format)
}

/// Keys and values are packed in a format: f32 or bf16.
fn attend_on(
    isa: Isa,
    q: Heads,
    k: Heads,
    v: Heads,
    scale: f32,
    mask: Option<HeadsMask>,
    format: WeightFormat,
) -> std::io::Result<Vec<f32>> {
    let [batch, heads, queries, size] = q.shape;
    let work = 2 * queries * k.shape[2] * size;
    let of_heads: Vec<Vec<f32>> = (0..batch * heads)
        .into_par_iter()
        .with_min_len((WORTH_A_CORE / work.max(1)).max(1))
        .map(|index| {
            let mask = mask.map(|mask| HeadMask::new(mask, index, queries));
            let task = HeadTask {
                q: &q.head(index),
                k: &k.head(index),
                v: &v.head(index),
                scale,
                mask: mask.as_ref(),
                format,
            };
            task.run(isa)
        })
        .collect::<std::io::Result<_>>()?;
    let mut output = vec![0f32; batch * heads * queries * size];
    for (row, output) in output.chunks_exact_mut((heads * size).max(1)).enumerate() {
        let (batch, query) = (row / queries, row % queries);
        for (head, output) in output.chunks_exact_mut(size).enumerate() {
            let from = &of_heads[batch * heads + head][query * size..];
            output.copy_from_slice(&from[..size]);
        }
    }
    Ok(output)
}

/// One head of a tensor: a matrix of `[rows, size]`.
struct Head<'a> {
    numbers: &'a [f32],
    rows: usize,
    size: usize,
    row_stride: usize,
    column_stride: usize,
}

impl Head<'_> {
    fn copy_row(&self, row: usize, to: &mut [f32]) {
        let row = &self.numbers[row * self.row_stride..];
        if self.column_stride == 1 {
            return to.copy_from_slice(&row[..to.len()]);
        }
        for (index, to) in to.iter_mut().enumerate() {
            *to = row[index * self.column_stride];
        }
    }

    fn copy(&self, rows: Range<usize>, to: &mut Vec<f32>) {
        to.resize(rows.len() * self.size, 0.0);
        for (row, to) in rows.zip(to.chunks_exact_mut(self.size)) {
            self.copy_row(row, to);
        }
    }
}

impl MatrixSource for Head<'_> {
    fn outputs(&self) -> usize {
        self.rows
    }

    fn inputs(&self) -> usize {
        self.size
    }

    fn read<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        if (self.row_stride, self.column_stride) == (self.size, 1) {
            return &self.numbers[rows.start * self.size..rows.end * self.size];
        }
        self.copy(rows, scratch);
        scratch
    }

    fn done_with(&self, _: Range<usize>) {}
}

/// What is added to one head's scores.
struct HeadMask<'a> {
    head: Head<'a>,
    is_by_distance: bool,
    queries: usize,
}

impl<'a> HeadMask<'a> {
    fn new(mask: HeadsMask<'a>, index: usize, queries: usize) -> Self {
        let (heads, is_by_distance) = match mask {
            HeadsMask::Each(heads) => (heads, false),
            HeadsMask::ByDistance(heads) => (heads, true),
        };
        Self {
            head: heads.head(index),
            is_by_distance,
            queries,
        }
    }

    fn copy_row(&self, query: usize, to: &mut [f32]) {
        if !self.is_by_distance {
            return self.head.copy_row(query, to);
        }
        let start = (self.queries - 1 - query) * self.head.column_stride;
        Head {
            numbers: &self.head.numbers[start..],
            ..self.head
        }
        .copy_row(0, to);
    }
}

/// Attention of one head.
struct HeadTask<'a> {
    q: &'a Head<'a>,
    k: &'a Head<'a>,
    v: &'a Head<'a>,
    scale: f32,
    mask: Option<&'a HeadMask<'a>>,
    format: WeightFormat,
}

impl HeadTask<'_> {
    /// `[queries, size]`.
    fn run(&self, isa: Isa) -> std::io::Result<Vec<f32>> {
        let mut queries = Vec::new();
        self.q.copy(0..self.q.rows, &mut queries);
        for number in &mut queries {
            *number *= self.scale;
        }
        if self.q.rows < WORTH_PACKING {
            return Ok(self.query_by_query(isa, &queries));
        }
        let keys = PackedMatrix::pack_on(isa, self.k, self.format)?;
        let mut weights = product_on(isa, Rows::Prompt, &queries, &keys, None);
        for (index, weights) in weights.chunks_mut(self.k.rows).enumerate() {
            self.scores_to_weights(isa, weights, index);
        }
        let values = PackedMatrix::pack_columns(self.v, self.format)?;
        Ok(product_on(isa, Rows::Prompt, &weights, &values, None))
    }

    /// The same without packing.
    fn query_by_query(&self, isa: Isa, queries: &[f32]) -> Vec<f32> {
        let (mut key_scratch, mut value_scratch) = (Vec::new(), Vec::new());
        let keys = self.k.read(0..self.k.rows, &mut key_scratch);
        let values = self.v.read(0..self.v.rows, &mut value_scratch);
        let size = self.q.size;
        let mut output = vec![0f32; queries.len()];
        for (index, (query, output)) in queries.chunks(size).zip(output.chunks_mut(size)).enumerate() {
            let mut weights = vec![0f32; self.k.rows];
            score(
                isa,
                &mut RowTask {
                    query,
                    rows: keys,
                    weights: &mut weights,
                },
            );
            self.scores_to_weights(isa, &mut weights, index);
            gather(
                isa,
                &mut GatherTask {
                    rows: values,
                    weights: &weights,
                    output,
                },
            );
        }
        output
    }

    fn scores_to_weights(&self, isa: Isa, weights: &mut [f32], query: usize) {
        if let Some(mask) = self.mask {
            let mut row = vec![0f32; weights.len()];
            mask.copy_row(query, &mut row);
            for (score, mask) in weights.iter_mut().zip(&row) {
                *score += mask;
            }
        }
        softmax(isa, weights);
    }
}

/// A query against the rows of a matrix, as many as there are weights.
pub(super) struct RowTask<'a> {
    pub query: &'a [f32],
    pub rows: &'a [f32],
    pub weights: &'a mut [f32],
}

/// # Safety
/// Compiled for the instruction set of `L`.
#[inline(always)]
unsafe fn score_rows<L: Lanes>(task: &mut RowTask) {
    let (query, rest) = task.query.as_chunks::<LANES>();
    for (weight, row) in task.weights.iter_mut().zip(task.rows.chunks_exact(task.query.len())) {
        let (row, row_rest) = row.as_chunks::<LANES>();
        let mut sums = [0f32; LANES];
        // SAFETY: each chunk is sixteen numbers, and it is compiled for `L`.
        unsafe {
            let mut lanes = L::splat(0.0);
            for (query, row) in query.iter().zip(row) {
                lanes = L::load(query.as_ptr()).mul_add(L::load(row.as_ptr()), lanes);
            }
            lanes.store(sums.as_mut_ptr());
        }
        for (sum, (query, row)) in sums.iter_mut().zip(rest.iter().zip(row_rest)) {
            *sum += query * row;
        }
        *weight = sum(&sums);
    }
}

/// The sum of a matrix's rows, each with its weight, added to the output.
pub(super) struct GatherTask<'a> {
    pub rows: &'a [f32],
    pub weights: &'a [f32],
    pub output: &'a mut [f32],
}

/// # Safety
/// Compiled for the instruction set of `L`.
#[expect(
    clippy::extra_unused_type_parameters,
    reason = "`L` says for which instructions it is compiled"
)]
#[inline(always)]
unsafe fn gather_rows<L: Lanes>(task: &mut GatherTask) {
    for (weight, row) in task.weights.iter().zip(task.rows.chunks_exact(task.output.len())) {
        for (output, number) in task.output.iter_mut().zip(row) {
            *output += weight * number;
        }
    }
}

/// Scores to weights that add up to 1, in place.
///
/// # Safety
/// Compiled for the instruction set of `L`.
#[expect(
    clippy::extra_unused_type_parameters,
    reason = "`L` says for which instructions it is compiled"
)]
#[inline(always)]
unsafe fn softmax_row<L: Lanes>(row: &mut [f32]) {
    let maximum = maximum(row);
    for score in row.iter_mut() {
        *score = exp(*score - maximum);
    }
    let inverse = 1.0 / sum(row);
    for weight in row {
        *weight *= inverse;
    }
}

compiled_for_each!(pub(super) score, score_rows, &mut RowTask);
compiled_for_each!(pub(super) gather, gather_rows, &mut GatherTask);
compiled_for_each!(pub(super) softmax, softmax_row, &mut [f32]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_in_bf16_change_little() {
        let (queries, keys, size) = (9, 33, 20);
        let numbers = |count: usize, step: f32| (0..count).map(|i| (i as f32 * step).sin()).collect::<Vec<_>>();
        let (q, k, v) = (
            numbers(queries * size, 0.7),
            numbers(keys * size, 1.3),
            numbers(keys * size, 2.9),
        );
        let heads = |numbers, rows: usize| Heads::new(numbers, [1, 1, rows, size], [rows * size, rows * size, size, 1]);
        for isa in Isa::all() {
            let attend = |format| {
                let (q, k, v) = (heads(&q, queries), heads(&k, keys), heads(&v, keys));
                attend_on(isa, q, k, v, 0.2, None, format).expect("there is memory")
            };
            let (exact, rounded) = (attend(WeightFormat::F32), attend(WeightFormat::Bf16));
            let worst = exact
                .iter()
                .zip(&rounded)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(0.0 < worst && worst < 5e-3, "{isa:?}: {worst}");
        }
    }

    #[test]
    fn a_nan_is_not_hidden() {
        for isa in Isa::all() {
            let mut weights = [2.0, f32::NAN];
            softmax(isa, &mut weights);
            assert!(weights.iter().all(|weight| weight.is_nan()), "{isa:?}");
        }
    }

    #[test]
    fn masked_scores_have_no_weight() {
        for isa in Isa::all() {
            let mut weights = [2.0, f32::NEG_INFINITY, 2.0];
            softmax(isa, &mut weights);
            assert_eq!(weights, [0.5, 0.0, 0.5], "{isa:?}");
        }
    }
}
