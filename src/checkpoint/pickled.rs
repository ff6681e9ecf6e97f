//! `pytorch_model.bin`: weights as `torch.save` writes them, a zip archive whose `data.pkl` says which
//! part of which file in it is which tensor.
//!
//! A pickle is a program for Python. Here nothing of it is run: candle's reader knows the few
//! instructions that a table of tensors is made of, keeps calls as what they are called, and leaves out
//! what is no tensor. The numbers are read where they lie, from the mapped file.

use std::io::{Cursor, Read};
use std::ops::Range;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use candle_core::pickle::{Object, Stack, TensorInfo};
use candle_core::{DType, Layout};
use safetensors::Dtype;
use zip::read::ZipFile;
use zip::{CompressionMethod, ZipArchive};

use super::pickle_bounds;

/// The weights in one file, and in shards with an index.
pub const SINGLE_FILE: &str = "pytorch_model.bin";
pub const INDEX_FILE: &str = "pytorch_model.bin.index.json";

/// How a zip archive begins; before torch 1.6 the files were none.
const ZIP: &[u8] = b"PK\x03\x04";

/// How such a file begins: a pickle (whose protocol is left out here) of the number 0x1950a86a20f9469cfc6c.
const MAGIC_BEFORE_ZIP: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

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

/// Whether a file is one that torch wrote before version 1.6, or that was saved as those are.
pub fn is_before_zip(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x80) && bytes.get(2..).is_some_and(|rest| rest.starts_with(MAGIC_BEFORE_ZIP))
}

/// What tensors a file has; `bytes` are all of it.
///
/// # Errors
/// Why it cannot be used, as a part of a sentence.
pub fn tensors(bytes: &[u8]) -> Result<Vec<PickledTensor>, String> {
    if !bytes.starts_with(ZIP) {
        return Err("it is no file as torch has written them since version 1.6".into());
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    let (folder, pickle) = list_of_tensors(&mut archive, bytes)?;
    check_byte_order(&mut archive, bytes)?;
    pickle_bounds::check(pickle)?;
    // The reader trusts that calls have all of their arguments.
    let infos = catch_unwind(|| infos_of(pickle, &folder));
    let infos = infos.map_err(|_| NO_LIST.to_owned())??;
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

const NO_LIST: &str = "its list of tensors makes no sense";

/// The pickle that lists the tensors, and the folder that their numbers are in.
fn list_of_tensors<'b>(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    bytes: &'b [u8],
) -> Result<(PathBuf, &'b [u8]), String> {
    let Entry { name, place } = entry_called(archive, "data.pkl")?.ok_or("it lists no tensors")?;
    let folder = name.strip_suffix(".pkl").unwrap_or(&name).into();
    let pickle = place.filter(|place| place.len() as u64 <= MOST_PICKLED);
    let pickle = pickle.and_then(|place| bytes.get(place));
    Ok((folder, pickle.ok_or("its list of tensors is packed, or too long")?))
}

/// A file of an archive.
struct Entry {
    name: String,
    /// Where it lies, if it is not packed.
    place: Option<Range<usize>>,
}

/// An archive's first file with such an end of its name.
fn entry_called(archive: &mut ZipArchive<Cursor<&[u8]>>, end: &str) -> Result<Option<Entry>, String> {
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|error| error.to_string())?;
        let name = entry.name().map(|name| name.into_owned()).unwrap_or_default();
        if !name.ends_with(end) {
            continue;
        }
        let place = place_of(&entry);
        return Ok(Some(Entry { name, place }));
    }
    Ok(None)
}

/// Where a file's bytes lie in its archive, if they are not packed.
fn place_of<R: Read>(entry: &ZipFile<'_, R>) -> Option<Range<usize>> {
    let start = usize::try_from(entry.data_start()?).ok()?;
    let end = start.checked_add(usize::try_from(entry.size()).ok()?)?;
    (entry.compression() == CompressionMethod::Stored).then_some(start..end)
}

/// torch writes numbers as the machine has them, and says which way that is.
fn check_byte_order(archive: &mut ZipArchive<Cursor<&[u8]>>, bytes: &[u8]) -> Result<(), String> {
    let entry = entry_called(archive, "/byteorder")?;
    let order = entry.and_then(|entry| bytes.get(entry.place?));
    match order {
        None | Some(b"little") => Ok(()),
        Some(_) => Err("its numbers are those of a machine with another order of bytes".into()),
    }
}

/// The tensors that a list has. Values that are no tensors, or of numbers that no model computes with, are
/// left out.
fn infos_of(pickle: &[u8], folder: &Path) -> Result<Vec<TensorInfo>, String> {
    let mut stack = Stack::empty();
    let read = stack
        .read_loop(&mut Cursor::new(pickle))
        .and_then(|()| stack.finalize());
    let Ok(Object::Dict(values)) = read else {
        return Err(NO_LIST.into());
    };
    let infos = values
        .into_iter()
        .map(|(name, value)| value.into_tensor_info(name, folder));
    Ok(infos.filter_map(|info| info.ok().flatten()).collect())
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
    let whole = place_of(&entry).filter(|whole| whole.end <= bytes.len());
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
