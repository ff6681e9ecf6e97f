//! The kernels of [`cpu`](crate::cpu) as operations on candle's tensors, which must be f32 and
//! in the host's memory.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

use super::attention::Mask;
use crate::cpu::activation::ActivationKernel;
use crate::cpu::attention::{Heads, HeadsMask};
use crate::cpu::paged_attention::{self, KvPages, PagedRow};
use crate::cpu::{PackedMatrix, Rows, WeightFormat, attention, norm, product, rotary};

/// The numbers of an f32 tensor that lie in order.
fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("a kernel needs a contiguous tensor"),
    }
}

/// `x W^T + b`, and the activation behind it: `[…, in]` to `[…, out]`.
pub fn product(
    rows: Rows,
    x: &Tensor,
    matrix: &Arc<PackedMatrix>,
    bias: Option<&Arc<Vec<f32>>>,
    activation: Option<ActivationKernel>,
) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Product {
        rows,
        matrix: Arc::clone(matrix),
        bias: bias.cloned(),
        activation,
    })
}

struct Product {
    rows: Rows,
    matrix: Arc<PackedMatrix>,
    /// Padded to whole panels.
    bias: Option<Arc<Vec<f32>>>,
    activation: Option<ActivationKernel>,
}

impl CustomOp1 for Product {
    fn name(&self) -> &'static str {
        "packed-product"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = contiguous(storage, layout)?;
        let mut dims = layout.dims().to_vec();
        match dims.last_mut() {
            Some(last) if *last == self.matrix.inputs() => *last = self.matrix.outputs(),
            _ => candle_core::bail!("{:?} are no rows of {} inputs", layout.dims(), self.matrix.inputs()),
        }
        let bias = self.bias.as_ref().map(|bias| bias.as_slice());
        let mut y = product::product_of(self.rows, x, &self.matrix, bias);
        if let Some(activation) = self.activation {
            activation.apply(&mut y);
        }
        Ok((CpuStorage::F32(y), dims.into()))
    }
}

/// An activation of every element.
pub fn activate(x: &Tensor, activation: ActivationKernel) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Activate(activation))
}

struct Activate(ActivationKernel);

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut numbers = contiguous(storage, layout)?.to_vec();
        self.0.apply(&mut numbers);
        Ok((CpuStorage::F32(numbers), layout.shape().clone()))
    }
}

/// Layer norm over the last dimension.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    x.contiguous()?.apply_op3_no_bwd(weight, bias, &LayerNorm { eps })
}

struct LayerNorm {
    eps: f32,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (weight, bias) = (contiguous(weight, weight_layout)?, contiguous(bias, bias_layout)?);
        if x_layout.dims().last() != Some(&weight.len()) || weight.len() != bias.len() {
            candle_core::bail!("{:?} cannot be normed by {} weights", x_layout.dims(), weight.len());
        }
        let normed = norm::layer_norm(contiguous(x, x_layout)?, weight, bias, self.eps);
        Ok((CpuStorage::F32(normed), x_layout.shape().clone()))
    }
}

/// T5's norm over the last dimension.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    x.contiguous()?.apply_op2_no_bwd(weight, &RmsNorm { eps })
}

struct RmsNorm {
    eps: f32,
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let weight = contiguous(weight, weight_layout)?;
        if x_layout.dims().last() != Some(&weight.len()) {
            candle_core::bail!("{:?} cannot be normed by {} weights", x_layout.dims(), weight.len());
        }
        let normed = norm::rms_norm(contiguous(x, x_layout)?, weight, self.eps);
        Ok((CpuStorage::F32(normed), x_layout.shape().clone()))
    }
}

/// The sum of two tensors of one shape.
///
/// candle adds on threads of its own, which wait for each other where the products' threads
/// want to work.
pub fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    each_pair("add", x, y, |x, y| x + y)
}

/// The product of two tensors of one shape, number by number.
pub fn multiply(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    each_pair("multiply", x, y, |x, y| x * y)
}

fn each_pair(name: &'static str, x: &Tensor, y: &Tensor, of: impl Fn(f32, f32) -> f32) -> Result<Tensor> {
    x.contiguous()?
        .apply_op2_no_bwd(&y.contiguous()?, &EachPair { name, of })
}

struct EachPair<F> {
    name: &'static str,
    of: F,
}

impl<F: Fn(f32, f32) -> f32> CustomOp2 for EachPair<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if x_layout.shape() != y_layout.shape() {
            candle_core::bail!("{}: {:?} and {:?} differ", self.name, x_layout.dims(), y_layout.dims());
        }
        let mut numbers = contiguous(x, x_layout)?.to_vec();
        for (x, y) in numbers.iter_mut().zip(contiguous(y, y_layout)?) {
            *x = (self.of)(*x, *y);
        }
        Ok((CpuStorage::F32(numbers), x_layout.shape().clone()))
    }
}

/// Attention of all heads, from wherever they lie, in a network whose weights are stored like this.
pub fn attend(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    scale: f32,
    mask: Option<&Mask>,
    weights: WeightFormat,
) -> Result<Tensor> {
    let (batch, heads, queries, _) = q.dims4()?;
    let keys = k.dim(2)?;
    let mask = mask.map(|mask| match mask {
        Mask::Each(mask) => mask.broadcast_as((batch, heads, queries, keys)).map(Mask::Each),
        Mask::ByDistance(mask) => mask
            .broadcast_as((batch, heads, 1, keys + queries - 1))
            .map(Mask::ByDistance),
    });
    let mask = mask.transpose()?;
    q.apply_op3_no_bwd(k, v, &Attend { scale, mask, weights })
}

struct Attend {
    scale: f32,
    /// In its whole shape.
    mask: Option<Mask>,
    weights: WeightFormat,
}

impl CustomOp3 for Attend {
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
        let (batch, heads_per_row, queries, size) = q_layout.shape().dims4()?;
        let (mask, is_by_distance) = match &self.mask {
            Some(Mask::Each(mask)) => (Some(mask), false),
            Some(Mask::ByDistance(mask)) => (Some(mask), true),
            None => (None, false),
        };
        let mask = mask.map(Tensor::storage_and_layout);
        let mask = match &mask {
            Some((storage, layout)) => match &**storage {
                candle_core::Storage::Cpu(storage) if is_by_distance => {
                    Some(HeadsMask::ByDistance(heads(storage, layout)?))
                }
                candle_core::Storage::Cpu(storage) => Some(HeadsMask::Each(heads(storage, layout)?)),
                _ => candle_core::bail!("the mask is not in the host's memory"),
            },
            None => None,
        };
        let (q, k, v) = (heads(q, q_layout)?, heads(k, k_layout)?, heads(v, v_layout)?);
        let output = attention::attend(q, k, v, self.scale, mask, self.weights)?;
        Ok((CpuStorage::F32(output), (batch, queries, heads_per_row * size).into()))
    }
}

/// A tensor of four dimensions, wherever its numbers lie.
fn heads<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<Heads<'a>> {
    let (&[batch, heads, rows, size], &[batch_stride, head_stride, row_stride, column_stride]) =
        (layout.dims(), layout.stride())
    else {
        candle_core::bail!("{:?} are not four dimensions", layout.dims());
    };
    Ok(Heads::new(
        &storage.as_slice::<f32>()?[layout.start_offset()..],
        [batch, heads, rows, size],
        [batch_stride, head_stride, row_stride, column_stride],
    ))
}

/// The numbers of an f32 tensor on the host, which must lie in order.
fn with_numbers<T>(x: &Tensor, work: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(storage) => Ok(work(contiguous(storage, layout)?)),
        _ => candle_core::bail!("a kernel needs a tensor in the host's memory"),
    }
}

/// Rows of heads, `[1, rows, heads * size]`, turned by their angles, `[rows][size / 2]`.
pub fn rotate(x: &Tensor, cos: &[f32], sin: &[f32]) -> Result<Tensor> {
    let (_, rows, width) = x.dims3()?;
    let size = 2 * cos.len() / rows.max(1);
    if size == 0 || !width.is_multiple_of(size) || cos.len() != sin.len() {
        candle_core::bail!("{:?} cannot be turned by {} angles", x.dims(), cos.len());
    }
    let turned = with_numbers(&x.contiguous()?, |x| rotary::rotate(x, rows, cos, sin))?;
    Tensor::from_vec(turned, x.shape(), x.device())
}

/// Keys or values of a pass, `[1, rows, heads * size]`, to where their rows lie.
pub fn write_pages(x: &Tensor, pages: &mut [f32], shape: (usize, usize), rows: &[PagedRow]) -> Result<()> {
    with_numbers(&x.contiguous()?, |numbers| {
        paged_attention::write(numbers, pages, shape, rows)
    })
}

/// Attention of a pass's rows, `[1, rows, heads * size]`, over pages.
pub fn attend_pages(
    q: &Tensor,
    pages: &KvPages,
    rows: &[PagedRow],
    scale: f32,
    bias: Option<&[Vec<f32>]>,
) -> Result<Tensor> {
    let output = with_numbers(&q.contiguous()?, |q| {
        paged_attention::attend(q, pages, rows, scale, bias)
    })?;
    Tensor::from_vec(output, q.shape(), q.device())
}
