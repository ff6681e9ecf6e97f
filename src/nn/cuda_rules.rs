//! What candle's CUDA operations accept, checked on every device.
//!
//! The CPU's operations take more layouts than CUDA's do. Whatever the candle formulation
//! multiplies, looks up or norms goes through here, so that a tensor that a GPU would refuse
//! is refused by the tests on the CPU as well. The checks compare a few integers, and stay.
//!
//! Source: candle-core 0.11.1, `cuda_backend/mod.rs` (`gemm_config`, `IndexSelect`) and
//! `quantized/cuda.rs`; candle-nn 0.11.1, `ops.rs`; candle-kernels 0.11.1, whose kernels for bf16
//! are compiled for compute capability 8.0 and later only. Elementwise operations, sums and casts
//! take every layout; `slice_set` and `cat` are checked alike on every device. A launch over
//! nothing is an error of the driver.

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{DType, Device, Layout, Module, Result, Tensor};

/// The least compute capability, major and minor, whose kernels know a dtype.
pub fn least_capability(dtype: DType) -> (u32, u32) {
    match dtype {
        DType::BF16 => (8, 0),
        DType::F16 => (5, 3),
        _ => (0, 0),
    }
}

/// A product of matrices, batch by batch.
pub fn matmul(lhs: &Tensor, rhs: &Tensor) -> Result<Tensor> {
    for factor in [lhs, rhs] {
        check_numbers("matmul", factor)?;
        if !is_factor(factor.layout()) {
            candle_core::bail!("CUDA does not multiply the layout {:?}", factor.layout());
        }
    }
    lhs.matmul(rhs)
}

/// The tensor, copied where its layout is none that [`matmul`] takes.
pub fn factor(tensor: &Tensor) -> Result<Tensor> {
    if is_factor(tensor.layout()) {
        Ok(tensor.clone())
    } else {
        tensor.contiguous()
    }
}

/// Whether a matrix, or matrices one behind the other, lie as cuBLAS takes them: row by row or
/// column by column without gaps, and all matrices equally far apart.
fn is_factor(layout: &Layout) -> bool {
    let (&[ref batch_dims @ .., rows, columns], &[ref batch @ .., of_row, of_column]) =
        (layout.dims(), layout.stride())
    else {
        return false;
    };
    let by_rows = (of_column == 1 || columns == 1) && (of_row == columns || rows == 1);
    let by_columns = (of_column == rows || columns == 1) && (of_row == 1 || rows == 1);
    let is_even = match (batch, batch_dims) {
        ([], _) | ([_], _) => true,
        (&[outer, inner], &[outer_dim, inner_dim]) => outer == inner * inner_dim || outer_dim == 1 || inner_dim == 1,
        _ => false,
    };
    (by_rows || by_columns) && is_even
}

/// Rows of a table by their index.
pub fn index_select(table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    rows_at(table, &Ids::new(ids.to_vec(), table.device())?)
}

/// Indices of rows that are looked up in several tables, on their device.
pub struct Ids {
    ids: Tensor,
    greatest: u32,
}

impl Ids {
    pub fn new(ids: Vec<u32>, device: &Device) -> Result<Self> {
        let Some(greatest) = ids.iter().copied().max() else {
            candle_core::bail!("CUDA looks up no empty list")
        };
        let count = ids.len();
        Ok(Self {
            ids: Tensor::from_vec(ids, count, device)?,
            greatest,
        })
    }
}

/// As [`index_select`].
pub fn rows_at(table: &Tensor, ids: &Ids) -> Result<Tensor> {
    check_contiguous("index_select", table)?;
    check_ids(&[ids.greatest], table.dim(0)?)?;
    table.index_select(&ids.ids, 0)
}

/// Rows of a quantised table by their index, in f32. Only these are unpacked.
pub fn quantised_rows(table: &QTensor, ids: &[u32]) -> Result<Tensor> {
    check_ids(ids, table.shape().dims2()?.0)?;
    table.embedding(&Tensor::new(ids, &table.device())?)
}

/// CUDA reads whatever lies at an index.
fn check_ids(ids: &[u32], rows: usize) -> Result<()> {
    match ids.iter().find(|id| **id as usize >= rows) {
        Some(id) => candle_core::bail!("there is no row {id} among {rows}"),
        None if ids.is_empty() => candle_core::bail!("CUDA looks up no empty list"),
        None => Ok(()),
    }
}

/// The softmax over the last dimension.
pub fn softmax_last_dim(x: &Tensor) -> Result<Tensor> {
    check_contiguous("softmax", x)?;
    candle_nn::ops::softmax_last_dim(x)
}

/// candle's layer norm over the last dimension.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    for tensor in [x, weight, bias] {
        check_contiguous("layer_norm", tensor)?;
        if tensor.dtype() != x.dtype() {
            candle_core::bail!("layer_norm of {:?} by {:?}", x.dtype(), tensor.dtype());
        }
    }
    candle_nn::ops::layer_norm(x, weight, bias, eps)
}

/// The product with a quantised matrix, `[…, in]` to `[…, out]`; of two or three dimensions.
pub fn quantised_product(x: &Tensor, weight: &Arc<QTensor>) -> Result<Tensor> {
    check_contiguous("a quantised product", x)?;
    if !matches!(x.rank(), 2 | 3) {
        candle_core::bail!("CUDA multiplies no {} dimensions with a quantised matrix", x.rank());
    }
    QMatMul::from_arc(Arc::clone(weight))?.forward(x)
}

fn check_contiguous(operation: &str, tensor: &Tensor) -> Result<()> {
    check_numbers(operation, tensor)?;
    if tensor.is_contiguous() {
        Ok(())
    } else {
        candle_core::bail!(
            "{operation} on CUDA needs contiguous numbers, not {:?}",
            tensor.layout()
        )
    }
}

/// Some numbers, of a dtype that there are kernels for.
fn check_numbers(operation: &str, tensor: &Tensor) -> Result<()> {
    if tensor.elem_count() == 0 {
        candle_core::bail!("{operation} on CUDA needs numbers, and {:?} has none", tensor.dims());
    }
    match tensor.dtype() {
        DType::F32 | DType::F16 | DType::BF16 => Ok(()),
        other => candle_core::bail!("{operation} of {other:?} is not expected on CUDA"),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::GgmlDType;

    use super::*;

    fn ones(dims: &[usize]) -> Tensor {
        Tensor::ones(dims, DType::F32, &Device::Cpu).expect("memory for a small tensor")
    }

    #[test]
    fn what_cublas_takes_is_multiplied_and_what_it_refuses_is_not() -> Result<()> {
        // Keys of a cache with room for more: without a copy, transposed or not.
        let cache = ones(&[2, 3, 16, 4]).narrow(2, 0, 5)?;
        let queries = ones(&[2, 3, 1, 4]);
        assert_eq!(matmul(&queries, &cache.t()?)?.dims(), [2, 3, 1, 5]);
        assert_eq!(matmul(&ones(&[2, 3, 1, 5]), &cache)?.dims(), [2, 3, 1, 4]);
        // Heads side by side in each row, and matrices at uneven distances.
        let heads = ones(&[1, 5, 3, 4]).transpose(1, 2)?;
        let uneven = ones(&[2, 4, 5, 4]).narrow(1, 0, 3)?;
        for refused in [heads, uneven] {
            assert!(matmul(&refused.t()?.t()?, &ones(&[1, 3, 4, 2])).is_err());
            assert!(is_factor(factor(&refused)?.layout()));
        }
        assert!(matmul(&ones(&[0, 4]), &ones(&[4, 2])).is_err());
        Ok(())
    }

    #[test]
    fn rows_that_are_not_there_are_an_error_and_not_read() -> Result<()> {
        let table = ones(&[3, 32]);
        let quantised = QTensor::quantize(&table, GgmlDType::Q8_0)?;
        assert_eq!(index_select(&table, &[2, 0])?.dims(), [2, 32]);
        assert_eq!(quantised_rows(&quantised, &[2, 0])?.dims(), [2, 32]);
        for ids in [&[3][..], &[]] {
            assert!(index_select(&table, ids).is_err() && quantised_rows(&quantised, ids).is_err());
        }
        assert!(index_select(&table.t()?, &[0]).is_err());
        Ok(())
    }

    #[test]
    fn what_must_be_contiguous_is_not_taken_otherwise() -> Result<()> {
        let (x, ones_of_row) = (ones(&[4, 3]).t()?, ones(&[4]));
        assert!(softmax_last_dim(&x).is_err());
        assert!(layer_norm(&x, &ones_of_row, &ones_of_row, 1e-5).is_err());
        let half = ones_of_row.to_dtype(DType::F16)?;
        assert!(layer_norm(&x.contiguous()?, &half, &half, 1e-5).is_err());
        assert!(layer_norm(&x.contiguous()?, &ones_of_row, &ones_of_row, 1e-5).is_ok());
        Ok(())
    }
}
