//! The tensors of a checkpoint: one `model.safetensors`, or shards with an index; or where there are none the
//! same as `torch.save` writes them.
//!
//! The files are mapped, and opening them reads their headers alone.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use super::files::{FileSource, Files};
use super::hex::hex;
use super::pickled::{self, Numbers};
use super::shard_index::{INDEX_FILE, Index};
use super::{CheckpointError, demo, ordinary_file};

pub const SINGLE_FILE: &str = "model.safetensors";

/// Pieces of a file that are looked at to tell it from others, and their bytes.
const SAMPLES: usize = 64;
const SAMPLE: usize = 1 << 12;

/// Bytes that are compared before their pages are given back.
const PIECE: usize = 1 << 22;

/// The tensors, not yet read.
pub struct MappedTensors {
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Stored>,
}

/// One weight file.
enum Shard {
    Mapped(MappedFile),
    /// Part of the program.
    Static(&'static [u8]),
    /// One tensor, which its file has in another order.
    Gathered(Vec<u8>),
}

impl Shard {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(file) => &file.map,
            Self::Static(bytes) => bytes,
            Self::Gathered(bytes) => bytes,
        }
    }
}

struct MappedFile {
    map: Mmap,
    /// When it was last changed, if the system says so.
    changed: Option<SystemTime>,
}

/// Where a tensor lies, and what it is.
struct Stored {
    shard: usize,
    bytes: Range<usize>,
    dtype: Dtype,
    shape: Vec<usize>,
}

/// A tensor's bytes as the file has them: little-endian, row by row.
pub struct StoredTensor<'a> {
    pub dtype: Dtype,
    pub shape: &'a [usize],
    pub bytes: &'a [u8],
    map: Option<(&'a Mmap, usize)>,
}

impl StoredTensor<'_> {
    /// Gives the pages of bytes that were converted back to the system; they count as this
    /// program's memory for as long as they are mapped in.
    pub fn give_back(&self, converted: Range<usize>) {
        #[cfg(unix)]
        if let Some((map, start)) = self.map {
            let (start, length) = (start + converted.start, converted.len());
            // SAFETY: the pages of a read-only file mapping hold what the file holds; whoever
            // looks at them again gets them from the file again.
            let advised = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, length) };
            // A system that does not take the advice is right all the same, only larger.
            drop(advised);
        }
        #[cfg(not(unix))]
        let _ = (converted, self.map);
    }
}

impl MappedTensors {
    /// Maps the weight files, reading no more than their headers.
    pub fn open(files: &Files) -> Result<Self, CheckpointError> {
        match files.source() {
            FileSource::Folder(folder) => Self::open_folder(files, folder),
            FileSource::Demo => {
                let bytes = demo::file(SINGLE_FILE).ok_or_else(|| files.missing(SINGLE_FILE))?;
                Self::from_shards(vec![(SINGLE_FILE.into(), Shard::Static(bytes))])
            }
        }
    }

    fn open_folder(files: &Files, folder: &Path) -> Result<Self, CheckpointError> {
        if files.contains(SINGLE_FILE) {
            return Self::map(folder, vec![SINGLE_FILE.into()]);
        }
        for index_file in [INDEX_FILE, pickled::INDEX_FILE] {
            if index_file == pickled::INDEX_FILE && files.contains(pickled::SINGLE_FILE) {
                return Self::map(folder, vec![pickled::SINGLE_FILE.into()]);
            }
            if files.contains(index_file) {
                let index = Index::parse(index_file, &files.read_text(index_file)?)?;
                let shards = index.shards();
                if let Some(missing) = shards.iter().find(|shard| !files.contains(shard)) {
                    return Err(files.missing(missing));
                }
                let weights = Self::map(folder, shards)?;
                index.check(|name| weights.contains(name))?;
                return Ok(weights);
            }
        }
        Err(files.missing(SINGLE_FILE))
    }

    fn map(folder: &Path, names: Vec<String>) -> Result<Self, CheckpointError> {
        let mut shards = Vec::with_capacity(names.len());
        for name in names {
            let path = folder.join(&name);
            let map = map_file(&path).map_err(|error| CheckpointError::Unreadable {
                file: name.clone(),
                reason: error.to_string(),
            })?;
            let changed = std::fs::metadata(&path).and_then(|about| about.modified()).ok();
            shards.push((name, Shard::Mapped(MappedFile { map, changed })));
        }
        if shards.iter().any(|(name, _)| name.ends_with(".bin")) {
            return Self::from_pickled(shards);
        }
        Self::from_shards(shards)
    }

    /// Reads the lists of tensors one by one, so that a damaged file is named.
    fn from_pickled(shards: Vec<(String, Shard)>) -> Result<Self, CheckpointError> {
        let mut all = Self {
            shards: Vec::new(),
            tensors: BTreeMap::new(),
        };
        let mut gathered = Vec::new();
        for (index, (file, shard)) in shards.into_iter().enumerate() {
            if pickled::is_before_zip(shard.bytes()) {
                return Err(CheckpointError::OldFormat { file });
            }
            let listed = pickled::tensors(shard.bytes());
            let listed = listed.map_err(|reason| CheckpointError::Damaged { file, reason })?;
            for tensor in listed {
                let (shard, bytes) = match tensor.numbers {
                    Numbers::InFile(range) => (index, range),
                    Numbers::Gathered(bytes) => {
                        gathered.push((tensor.name.clone(), bytes));
                        (usize::MAX, 0..0)
                    }
                };
                let stored = Stored {
                    shard,
                    bytes,
                    dtype: tensor.dtype,
                    shape: tensor.shape,
                };
                all.tensors.insert(tensor.name, stored);
            }
            all.shards.push(shard);
        }
        for (name, bytes) in gathered {
            if let Some(stored) = all.tensors.get_mut(&name).filter(|stored| stored.shard == usize::MAX) {
                (stored.shard, stored.bytes) = (all.shards.len(), 0..bytes.len());
                all.shards.push(Shard::Gathered(bytes));
            }
        }
        Ok(all)
    }

    /// Reads the headers one by one, so that a damaged file is named.
    fn from_shards(shards: Vec<(String, Shard)>) -> Result<Self, CheckpointError> {
        let mut tensors = BTreeMap::new();
        for (index, (file, shard)) in shards.iter().enumerate() {
            let header = SafeTensors::read_metadata(shard.bytes());
            let (length, header) = header.map_err(|error| CheckpointError::Damaged {
                file: file.clone(),
                reason: error.to_string(),
            })?;
            // The header's length comes first, then the header, then the numbers.
            let data = size_of::<u64>() + length;
            for (name, info) in header.tensors() {
                let (start, end) = info.data_offsets;
                let stored = Stored {
                    shard: index,
                    bytes: data + start..data + end,
                    dtype: info.dtype,
                    shape: info.shape.clone(),
                };
                tensors.insert(name, stored);
            }
        }
        Ok(Self {
            shards: shards.into_iter().map(|(_, shard)| shard).collect(),
            tensors,
        })
    }

    /// What tells these weights from others without reading them all: of each file its size, when it
    /// was changed, and a hash of its beginning and of [`SAMPLES`] pieces on its way. None for those that are
    /// part of the program.
    pub fn fingerprint(&self) -> Option<String> {
        let mut hash = Sha256::new();
        for shard in &self.shards {
            let MappedFile { map, changed } = match shard {
                Shard::Mapped(file) => file,
                Shard::Static(_) => return None,
                // Its file is among the others.
                Shard::Gathered(_) => continue,
            };
            let changed = changed.and_then(|changed| changed.duration_since(UNIX_EPOCH).ok());
            hash.update(map.len().to_le_bytes());
            hash.update(changed.unwrap_or_default().as_nanos().to_le_bytes());
            for index in 0..SAMPLES {
                let start = map.len() / SAMPLES * index;
                hash.update(&map[start..map.len().min(start + SAMPLE)]);
            }
        }
        Some(hex(&hash.finalize()))
    }

    /// The names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether one of the files has a tensor of this whole name, whatever its shape and dtype.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor's bytes, if it is there.
    pub fn get(&self, name: &str) -> Option<StoredTensor<'_>> {
        let stored = self.tensors.get(name)?;
        let shard = &self.shards[stored.shard];
        Some(StoredTensor {
            dtype: stored.dtype,
            shape: &stored.shape,
            bytes: &shard.bytes()[stored.bytes.clone()],
            map: match shard {
                Shard::Mapped(file) => Some((&file.map, stored.bytes.start)),
                Shard::Static(_) | Shard::Gathered(_) => None,
            },
        })
    }

    /// Whether two tensors are the same to the bit.
    pub fn are_equal(&self, one: &str, other: &str) -> bool {
        let (Some(one), Some(other)) = (self.get(one), self.get(other)) else {
            return false;
        };
        if (one.dtype, one.shape) != (other.dtype, other.shape) {
            return false;
        }
        let pieces = one.bytes.chunks(PIECE).zip(other.bytes.chunks(PIECE)).enumerate();
        let mut equal = true;
        for (index, (a, b)) in pieces {
            equal = a == b;
            let read = index * PIECE..index * PIECE + a.len();
            one.give_back(read.clone());
            other.give_back(read);
            if !equal {
                break;
            }
        }
        equal
    }

    /// Bytes of a tensor in its file; 0 where there is none.
    pub fn stored_bytes(&self, name: &str) -> u64 {
        self.tensors.get(name).map_or(0, |stored| stored.bytes.len() as u64)
    }

    /// Checks from the header alone that a tensor is there, with this shape, as numbers that
    /// weights can be.
    pub fn check(&self, checkpoint: &str, name: &str, shape: &[usize]) -> Result<(), CheckpointError> {
        let (checkpoint, tensor) = (checkpoint.to_owned(), name.to_owned());
        let Some(stored) = self.tensors.get(name) else {
            return Err(CheckpointError::MissingTensor { checkpoint, tensor });
        };
        if stored.shape != shape {
            return Err(CheckpointError::WrongShape {
                checkpoint,
                tensor,
                expected: format!("{shape:?}"),
                found: shown(&stored.shape),
            });
        }
        if !matches!(stored.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64) {
            return Err(CheckpointError::WrongNumbers {
                checkpoint,
                tensor,
                found: format!("{:?}", stored.dtype),
            });
        }
        Ok(())
    }
}

/// The most dimensions that are told of a shape: the header is somebody else's.
const MOST_SHOWN: usize = 8;

/// A shape in a sentence.
fn shown(shape: &[usize]) -> String {
    match shape.get(..MOST_SHOWN) {
        Some(first) if shape.len() > MOST_SHOWN => {
            let first = format!("{first:?}");
            format!("{}, … in {} dimensions]", first.trim_end_matches(']'), shape.len())
        }
        _ => format!("{shape:?}"),
    }
}

fn map_file(path: &Path) -> std::io::Result<Mmap> {
    let file = ordinary_file::open(path)?;
    // SAFETY: the checkpoint's files are not written to while the program runs, as
    // everywhere where weights are mapped; a file cut short under us ends the process.
    let map = unsafe { Mmap::map(&file) }?;
    // Each byte is read once, tensor by tensor; a system without this advice reads as well.
    #[cfg(unix)]
    drop(map.advise(memmap2::Advice::Sequential));
    Ok(map)
}
