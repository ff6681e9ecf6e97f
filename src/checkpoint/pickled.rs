//! `pytorch_model.bin`: weights as `torch.save` writes them, a zip archive whose `data.pkl` says which
//! part of which file in it is which tensor.
//!
//! A pickle is a program for Python. Here nothing of it is run: candle's reader knows the few
//! instructions that a table of tensors is made of, keeps calls as what they are called, and leaves out
//! what is no tensor. The numbers are read where they lie, from the mapped file.

use std::io::Cursor;
use std::ops::Range;
use std::panic::catch_unwind;
use std::path::Path;

use candle_core::pickle::{TensorInfo, read_pth_tensor_info};
use candle_core::{DType, Layout};
use safetensors::Dtype;
use zip::{CompressionMethod, ZipArchive};

/// The weights in one file, and in shards with an index.
pub const SINGLE_FILE: &str = "pytorch_model.bin";
pub const INDEX_FILE: &str = "pytorch_model.bin.index.json";

/// How a zip archive begins; before torch 1.6 the files were none.
const ZIP: &[u8] = b"PK\x03\x04";

/// Bytes of `data.pkl`, at most: a large model's has a thousandth of them.
const MOST_PICKLED: u64 = 1 << 26;

/// A tensor in a file.
pub struct PickledTensor {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub numbers: Numbers,
}

/// Where a tensor's numbers are.
pub enum Numbers {
    /// As they lie in the file, row by row.
    InFile(Range<usize>),
    /// Gathered, since the file has them in another order.
    Gathered(Vec<u8>),
}

/// What tensors a file has; `bytes` are all of it.
///
/// # Errors
/// Why it cannot be used, as a part of a sentence.
pub fn tensors(path: &Path, bytes: &[u8]) -> Result<Vec<PickledTensor>, String> {
    if !bytes.starts_with(ZIP) {
        return Err("it is no file of torch 1.6 or later".into());
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    check_pickle(&mut archive)?;
    // The reader trusts that calls have all of their arguments.
    let infos = catch_unwind(|| read_pth_tensor_info(path, false, None));
    let infos = infos.map_err(|_| "its list of tensors makes no sense".to_owned())?;
    let infos = infos.map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())?;
    if infos.is_empty() {
        return Err("it lists no tensors".into());
    }
    infos
        .into_iter()
        .map(|info| {
            let name = info.name.clone();
            tensor(info, &mut archive, bytes).map_err(|reason| format!("{name}: {reason}"))
        })
        .collect()
}

fn check_pickle(archive: &mut ZipArchive<Cursor<&[u8]>>) -> Result<(), String> {
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|error| error.to_string())?;
        let is_pickle = entry.name().is_ok_and(|name| name.ends_with("data.pkl"));
        if is_pickle && (entry.size() > MOST_PICKLED || entry.compression() != CompressionMethod::Stored) {
            return Err("its list of tensors is packed, or too long".into());
        }
    }
    Ok(())
}

fn tensor(info: TensorInfo, archive: &mut ZipArchive<Cursor<&[u8]>>, bytes: &[u8]) -> Result<PickledTensor, String> {
    let dtype = match info.dtype {
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F64 => Dtype::F64,
        DType::I64 => Dtype::I64,
        _ => Dtype::U8,
    };
    let entry = archive.by_name(&info.path).map_err(|error| error.to_string())?;
    let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
    let size = usize::try_from(entry.size()).ok();
    let is_stored = entry.compression() == CompressionMethod::Stored;
    let whole = match (start, size, is_stored) {
        (Some(start), Some(size), true) => start.checked_add(size).map(|end| start..end),
        _ => None,
    };
    let whole = whole.filter(|whole| whole.end <= bytes.len());
    let whole = whole.ok_or("its numbers are packed, or lie outside of the file")?;
    // The reader counts where it begins in bytes, and its steps in numbers.
    let shape = info.layout.dims().to_vec();
    let begin = whole.start.checked_add(info.layout.start_offset());
    let begin = begin.filter(|begin| *begin <= whole.end).ok_or(OUTSIDE)?;
    let size = info.dtype.size_in_bytes();
    let numbers = if info.layout.is_contiguous() {
        let count = shape.iter().try_fold(size, |all, length| all.checked_mul(*length));
        let end = count.and_then(|count| begin.checked_add(count));
        Numbers::InFile(begin..end.filter(|end| *end <= whole.end).ok_or(OUTSIDE)?)
    } else {
        let layout = Layout::new(info.layout.shape().clone(), info.layout.stride().to_vec(), 0);
        Numbers::Gathered(gather(&layout, &bytes[begin..whole.end], size)?)
    };
    Ok(PickledTensor {
        name: info.name,
        dtype,
        shape,
        numbers,
    })
}

const OUTSIDE: &str = "its numbers lie outside of their file";

/// The numbers row by row, of as many bytes each.
fn gather(layout: &Layout, bytes: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let strides = layout.dims().iter().zip(layout.stride());
    let last = strides
        .map(|(length, stride)| length.saturating_sub(1).checked_mul(*stride))
        .try_fold(0usize, |all, step| all.checked_add(step?));
    let end = last.and_then(|last| last.checked_add(1)?.checked_mul(size));
    let count = layout
        .dims()
        .iter()
        .try_fold(size, |all, length| all.checked_mul(*length));
    // However its steps repeat, it is no larger than what it lies in.
    if end.is_none_or(|end| end > bytes.len()) || count.is_none_or(|count| count > bytes.len()) {
        return Err(OUTSIDE.into());
    }
    let mut places = vec![0];
    for (length, stride) in layout.dims().iter().zip(layout.stride()) {
        let steps = |place: usize| (0..*length).map(move |step| place + step * stride);
        places = places.into_iter().flat_map(steps).collect();
    }
    let number = |place: usize| bytes[place * size..(place + 1) * size].iter().copied();
    Ok(places.into_iter().flat_map(number).collect())
}
