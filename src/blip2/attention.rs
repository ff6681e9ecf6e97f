//! Scaled dot-product attention: `softmax(q k^T + mask) v`, head by head.
//!
//! On the CPU a head is one piece of work for one core, on the packed products of
//! [`linear`](super::linear), and reads its queries, keys and values from wherever they lie;
//! on a GPU it is candle's products.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::linear::WeightFormat;
use super::linear::matrix::{PackedMatrix, Rows};
use super::linear::product::product;
use super::linear::simd::{Isa, LANES, Lanes, compiled_for_each, greatest, sum};

/// Queries from which on it is worth packing keys and values.
const WORTH_PACKING: usize = 4;

/// Splits the last dimension into heads: `[batch, length, heads * size]` to
/// `[batch, heads, length, size]`.
pub fn split_heads(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, length, hidden) = x.dims3()?;
    let split = x.reshape((batch, length, heads, hidden / heads))?.transpose(1, 2)?;
    if split.device().is_cpu() {
        return Ok(split);
    }
    split.contiguous()
}

/// What is added to the scores, in f32.
pub enum Mask {
    /// A number for each query and key; broadcasts to `[batch, heads, queries, keys]`.
    Each(Tensor),
    /// On the CPU alone: a number for each distance, `[1, heads, 1, keys + queries - 1]`. Those
    /// of the last query are the first `keys`, those of the query before begin one further on.
    ByDistance(Tensor),
}

/// `softmax(scale q k^T + mask) v`, heads merged again.
///
/// `q` is `[batch, heads, queries, size]`, `k` and `v` are
/// `[batch, heads, keys, size]`; the result is `[batch, queries, heads * size]`. The softmax
/// runs in f32 whatever the dtype, as torch's `scaled_dot_product_attention` does.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, mask: Option<&Mask>) -> Result<Tensor> {
    if q.device().is_cpu() {
        let (batch, heads, queries, _) = q.dims4()?;
        let keys = k.dim(2)?;
        let mask = mask.map(|mask| match mask {
            Mask::Each(mask) => mask.broadcast_as((batch, heads, queries, keys)).map(Mask::Each),
            Mask::ByDistance(mask) => mask
                .broadcast_as((batch, heads, 1, keys + queries - 1))
                .map(Mask::ByDistance),
        });
        let mask = mask.transpose()?;
        let scale = scale as f32;
        return q.apply_op3_no_bwd(k, v, &OnCpu { scale, mask });
    }
    match mask {
        None => by_products(q, k, v, scale, None),
        Some(Mask::Each(mask)) => by_products(q, k, v, scale, Some(mask)),
        Some(Mask::ByDistance(_)) => candle_core::bail!("distances are for the CPU"),
    }
}

/// Attention as candle's operations, on any device.
fn by_products(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, mask: Option<&Tensor>) -> Result<Tensor> {
    // The queries are scaled, not the scores, as the reference does; in half precision it shows.
    let scores = (q * scale)?
        .matmul(&k.transpose(D::Minus2, D::Minus1)?)?
        .to_dtype(DType::F32)?;
    let scores = match mask {
        Some(mask) => scores.broadcast_add(mask)?,
        None => scores,
    };
    let weights = candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(v.dtype())?;
    weights
        .matmul(&v.contiguous()?)?
        .transpose(1, 2)?
        .contiguous()?
        .flatten_from(2)
}

/// The additive mask that keeps `queries` new positions from looking ahead:
/// `[queries, past + queries]`, f32, 0 or minus infinity.
pub fn causal_mask(queries: usize, past: usize, device: &candle_core::Device) -> Result<Mask> {
    let keys = past + queries;
    let mask: Vec<f32> = (0..queries)
        .flat_map(|query| (0..keys).map(move |key| if key > past + query { f32::NEG_INFINITY } else { 0.0 }))
        .collect();
    Tensor::from_vec(mask, (queries, keys), device).map(Mask::Each)
}

/// Attention on the CPU, in f32.
struct OnCpu {
    scale: f32,
    /// In its whole shape.
    mask: Option<Mask>,
}

impl CustomOp3 for OnCpu {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, heads, queries, size) = q_layout.shape().dims4()?;
        let (q, k, v) = (
            Heads::new(q, q_layout)?,
            Heads::new(k, k_layout)?,
            Heads::new(v, v_layout)?,
        );
        let (mask, is_by_distance) = match &self.mask {
            Some(Mask::Each(mask)) => (Some(mask), false),
            Some(Mask::ByDistance(mask)) => (Some(mask), true),
            None => (None, false),
        };
        let mask = mask.map(Tensor::storage_and_layout);
        let mask = match &mask {
            Some((storage, layout)) => match &**storage {
                candle_core::Storage::Cpu(storage) => Some(Heads::new(storage, layout)?),
                _ => candle_core::bail!("the mask is not in the host's memory"),
            },
            None => None,
        };
        let of_heads: Vec<Vec<f32>> = (0..batch * heads)
            .into_par_iter()
            .map(|index| {
                let mask = mask.as_ref().map(|mask| HeadMask {
                    head: mask.head(index),
                    is_by_distance,
                    queries,
                });
                attend_head(
                    &q.head(index),
                    &k.head(index),
                    &v.head(index),
                    self.scale,
                    mask.as_ref(),
                )
            })
            .collect::<Result<_>>()?;
        let mut output = vec![0f32; q_layout.shape().elem_count()];
        for (row, output) in output.chunks_exact_mut((heads * size).max(1)).enumerate() {
            let (batch, query) = (row / queries, row % queries);
            for (head, output) in output.chunks_exact_mut(size).enumerate() {
                let from = &of_heads[batch * heads + head][query * size..];
                output.copy_from_slice(&from[..size]);
            }
        }
        Ok((CpuStorage::F32(output), (batch, queries, heads * size).into()))
    }
}

/// The heads of a tensor `[batch, heads, rows, size]`, wherever they lie.
struct Heads<'a> {
    numbers: &'a [f32],
    heads: usize,
    rows: usize,
    size: usize,
    strides: [usize; 4],
}

impl<'a> Heads<'a> {
    fn new(storage: &'a CpuStorage, layout: &Layout) -> Result<Self> {
        let (_, heads, rows, size) = layout.shape().dims4()?;
        let &[of_batch, of_head, of_row, of_number] = layout.stride() else {
            candle_core::bail!("{:?} are not four dimensions", layout.dims());
        };
        Ok(Self {
            numbers: &storage.as_slice::<f32>()?[layout.start_offset()..],
            heads,
            rows,
            size,
            strides: [of_batch, of_head, of_row, of_number],
        })
    }

    /// Of all batches' heads the one with this index.
    fn head(&self, index: usize) -> Head<'a> {
        let [of_batch, of_head, of_row, of_number] = self.strides;
        Head {
            numbers: &self.numbers[index / self.heads * of_batch + index % self.heads * of_head..],
            rows: self.rows,
            size: self.size,
            of_row,
            of_number,
        }
    }
}

/// One head of a tensor: a matrix of `[rows, size]`.
struct Head<'a> {
    numbers: &'a [f32],
    rows: usize,
    size: usize,
    of_row: usize,
    of_number: usize,
}

impl Head<'_> {
    fn copy_row(&self, row: usize, to: &mut [f32]) {
        let row = &self.numbers[row * self.of_row..];
        if self.of_number == 1 {
            return to.copy_from_slice(&row[..to.len()]);
        }
        for (index, to) in to.iter_mut().enumerate() {
            *to = row[index * self.of_number];
        }
    }

    fn copy(&self, rows: Range<usize>, to: &mut Vec<f32>) {
        to.resize(rows.len() * self.size, 0.0);
        for (row, to) in rows.zip(to.chunks_exact_mut(self.size)) {
            self.copy_row(row, to);
        }
    }
}

impl Rows for Head<'_> {
    fn outputs(&self) -> usize {
        self.rows
    }

    fn inputs(&self) -> usize {
        self.size
    }

    fn read<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        if (self.of_row, self.of_number) == (self.size, 1) {
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

impl HeadMask<'_> {
    fn copy_row(&self, query: usize, to: &mut [f32]) {
        if !self.is_by_distance {
            return self.head.copy_row(query, to);
        }
        let start = (self.queries - 1 - query) * self.head.of_number;
        Head {
            numbers: &self.head.numbers[start..],
            ..self.head
        }
        .copy_row(0, to);
    }
}

/// `[queries, size]` of one head.
fn attend_head(q: &Head, k: &Head, v: &Head, scale: f32, mask: Option<&HeadMask>) -> Result<Vec<f32>> {
    let mut queries = Vec::new();
    q.copy(0..q.rows, &mut queries);
    for number in &mut queries {
        *number *= scale;
    }
    let isa = Isa::best();
    if q.rows < WORTH_PACKING {
        let (mut of_keys, mut of_values) = (Vec::new(), Vec::new());
        let keys = k.read(0..k.rows, &mut of_keys);
        let values = v.read(0..v.rows, &mut of_values);
        let mut output = vec![0f32; queries.len()];
        for (index, (query, output)) in queries.chunks(q.size).zip(output.chunks_mut(q.size)).enumerate() {
            let mut weights = vec![0f32; k.rows];
            score(
                isa,
                &mut RowTask {
                    query,
                    rows: keys,
                    weights: &mut weights,
                },
            );
            finish(isa, &mut weights, mask, index);
            gather(
                isa,
                &mut GatherTask {
                    rows: values,
                    weights: &weights,
                    output,
                },
            );
        }
        return Ok(output);
    }
    let keys = PackedMatrix::pack(k, WeightFormat::F32)?;
    let mut weights = product(&queries, &keys, None);
    for (index, weights) in weights.chunks_mut(k.rows).enumerate() {
        finish(isa, weights, mask, index);
    }
    let values = PackedMatrix::pack_columns(v)?;
    Ok(product(&weights, &values, None))
}

/// Scores of one query to weights.
fn finish(isa: Isa, weights: &mut [f32], mask: Option<&HeadMask>, query: usize) {
    if let Some(mask) = mask {
        let mut row = vec![0f32; weights.len()];
        mask.copy_row(query, &mut row);
        for (score, mask) in weights.iter_mut().zip(&row) {
            *score += mask;
        }
    }
    softmax(isa, weights);
}

/// A query against every row of a matrix.
struct RowTask<'a> {
    query: &'a [f32],
    rows: &'a [f32],
    weights: &'a mut [f32],
}

#[inline(always)]
unsafe fn score_rows<L: Lanes>(task: &mut RowTask) {
    let (query, rest) = task.query.as_chunks::<LANES>();
    for (weight, row) in task.weights.iter_mut().zip(task.rows.chunks_exact(task.query.len())) {
        let (row, row_rest) = row.as_chunks::<LANES>();
        let mut sums = [0f32; LANES];
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

/// The sum of a matrix's rows, each with its weight.
struct GatherTask<'a> {
    rows: &'a [f32],
    weights: &'a [f32],
    output: &'a mut [f32],
}

#[inline(always)]
unsafe fn gather_rows<L: Lanes>(task: &mut GatherTask) {
    for (weight, row) in task.weights.iter().zip(task.rows.chunks_exact(task.output.len())) {
        for (output, number) in task.output.iter_mut().zip(row) {
            *output += weight * number;
        }
    }
}

/// Scores to weights that add up to 1, in place.
#[inline(always)]
unsafe fn softmax_row<L: Lanes>(row: &mut [f32]) {
    let greatest = greatest(row);
    for score in row.iter_mut() {
        *score = exp(*score - greatest);
    }
    let inverse = 1.0 / sum(row);
    for weight in row {
        *weight *= inverse;
    }
}

compiled_for_each!(score, score_rows, &mut RowTask);
compiled_for_each!(gather, gather_rows, &mut GatherTask);
compiled_for_each!(softmax, softmax_row, &mut [f32]);

/// `e^x` for `x <= 0` within two units of the last place: a power of two by the exponent's
/// bits times a polynomial on half a power to either side (Cephes' coefficients).
#[inline(always)]
fn exp(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 6] = [
        1.987_569_1e-4,
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        5e-1,
    ];
    /// ln 2 in two parts, the first short enough to be exact when it is multiplied.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    // Below, the result is not a normal number any more: it is taken for zero.
    let clamped = x.max(-87.0);
    let power = (clamped * std::f32::consts::LOG2_E - 0.5) as i32 as f32;
    let rest = clamped - power * LN_2.0 - power * LN_2.1;
    let mut polynomial = 0.0;
    for coefficient in COEFFICIENTS {
        polynomial = polynomial * rest + coefficient;
    }
    let scale = f32::from_bits((((power as i32) + 127) as u32) << 23);
    let value = (polynomial * rest * rest + rest + 1.0) * scale;
    // A NaN stays one: what is added is zero elsewhere.
    if x < -87.0 { 0.0 } else { value + (x - clamped) }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_cpus_attention_is_the_textbooks() -> Result<()> {
        // Single queries and many, sizes that are no multiple of a register's, rows of beams.
        for (batch, heads, queries, keys, size) in
            [(1, 2, 1, 1, 4), (3, 2, 1, 40, 20), (1, 3, 5, 9, 33), (2, 1, 50, 50, 88)]
        {
            let of = |rows: usize| {
                let x = Tensor::randn(0f32, 1.0, (batch, rows, heads * size), &Device::Cpu)?;
                split_heads(&x, heads)
            };
            let (q, k, v) = (of(queries)?, of(keys)?, of(keys)?);
            let causal = causal_mask(queries, keys - queries, &Device::Cpu)?;
            let bias = Mask::Each(Tensor::randn(0f32, 1.0, (1, heads, queries, keys), &Device::Cpu)?);
            let distances = Tensor::randn(0f32, 1.0, (1, heads, 1, keys + queries - 1), &Device::Cpu)?;
            let of_query = |query: usize| distances.narrow(3, queries - 1 - query, keys);
            let of_each = Tensor::cat(&(0..queries).map(of_query).collect::<Result<Vec<_>>>()?, 2)?;
            let (by_distance, of_each) = (Mask::ByDistance(distances), Mask::Each(of_each));
            let both = |mask| (Some(mask), Some(mask));
            for (mask, written_out) in [
                (None, None),
                both(&causal),
                both(&bias),
                (Some(&by_distance), Some(&of_each)),
            ] {
                let ours = attend(&q, &k, &v, 0.3, mask)?;
                let dense = match written_out {
                    Some(Mask::Each(mask)) => Some(mask),
                    _ => None,
                };
                let textbook = by_products(&q.contiguous()?, &k.contiguous()?, &v, 0.3, dense)?;
                assert_eq!(ours.dims(), textbook.dims());
                let worst = (ours - textbook)?.abs()?.max_all()?.to_scalar::<f32>()?;
                assert!(worst <= 2e-6, "{queries} queries, {keys} keys of {size}: {worst}");
            }
        }
        Ok(())
    }

    #[test]
    fn the_exponential_is_libms_within_rounding() {
        for step in 0..=90_000 {
            let x = -step as f32 * 1e-3;
            let (ours, libm) = (exp(x), x.exp());
            assert!(
                (ours - libm).abs() <= 3e-7 * libm + 1e-37,
                "exp({x}) = {ours}, libm says {libm}"
            );
        }
    }

    #[test]
    fn a_number_that_is_none_is_not_hidden() {
        let mut weights = [2.0, f32::NAN];
        softmax(Isa::best(), &mut weights);
        assert!(weights.iter().all(|weight| weight.is_nan()));
    }

    #[test]
    fn masked_scores_have_no_weight() {
        let mut weights = [2.0, f32::NEG_INFINITY, 2.0];
        softmax(Isa::best(), &mut weights);
        assert_eq!(weights, [0.5, 0.0, 0.5]);
    }
}
