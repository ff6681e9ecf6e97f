//! Matrices as our kernels want them, kept in a file: what is packed once need not be packed at the
//! next start.
//!
//! The file: [`MAGIC`], the header's length (8 bytes, little-endian), the header ([`Header`], JSON),
//! then the matrices, each from the next multiple of [`PAGE`] on. It is written beside its place and
//! renamed, so that it is whole or not there, and it is good for the very checkpoint that its header
//! names alone.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::cpu::{PackedMatrix, WeightFormat};

/// What a file begins with. The number is that of the order of packed weights, and goes up with
/// every change of it.
const MAGIC: [u8; 16] = *b"glimpse packed 1";

/// Matrices begin at multiples of this.
const PAGE: u64 = 4096;

/// The longest header that is read: names and numbers of some thousand matrices.
const MOST_HEADER: u64 = 1 << 24;

/// What a file holds.
#[derive(Serialize, Deserialize)]
struct Header {
    /// Which checkpoint they were packed from.
    checkpoint: String,
    matrices: Vec<Entry>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    name: String,
    format: String,
    outputs: usize,
    inputs: usize,
    /// Where it begins behind the header's page.
    start: u64,
    bytes: u64,
}

/// The packed matrices of a checkpoint: those that a file has, and those that were packed since.
pub struct PackedWeights {
    path: PathBuf,
    checkpoint: String,
    kept: Option<Kept>,
    /// All that were asked for, in that order, until they are kept.
    used: Mutex<Vec<(String, Arc<PackedMatrix>)>>,
}

/// A file that was found.
struct Kept {
    file: File,
    matrices: HashMap<String, Entry>,
    /// Where the first matrix may begin.
    data: u64,
}

impl PackedWeights {
    /// What is kept in a file of this path, if it was packed from this checkpoint.
    pub fn open(path: PathBuf, checkpoint: String) -> Self {
        let kept = Kept::open(&path, &checkpoint);
        if let Err(error) = &kept
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::info!("weights are packed anew: {} {error}", path.display());
        }
        Self {
            path,
            checkpoint,
            kept: kept.ok(),
            used: Mutex::default(),
        }
    }

    /// The matrix of this name from the file, or as `pack` makes it.
    ///
    /// # Errors
    /// Those of `pack`.
    pub(super) fn matrix<E>(
        &self,
        name: &str,
        (outputs, inputs): (usize, usize),
        format: WeightFormat,
        pack: impl FnOnce() -> Result<PackedMatrix, E>,
    ) -> Result<(Arc<PackedMatrix>, Origin), E> {
        let kept = self.kept.as_ref().and_then(|kept| {
            let entry = kept.matrices.get(name)?;
            let is_it = (entry.outputs, entry.inputs, entry.format.as_str()) == (outputs, inputs, format.name());
            is_it.then(|| kept.read(entry, format))
        });
        let (matrix, origin) = match kept {
            Some(Ok(matrix)) => (matrix, Origin::File),
            Some(Err(error)) => {
                tracing::warn!("{name} is packed anew: {} cannot be read: {error}", self.path.display());
                (pack()?, Origin::Packed)
            }
            None => (pack()?, Origin::Packed),
        };
        let matrix = Arc::new(matrix);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.push((name.to_owned(), Arc::clone(&matrix)));
        Ok((matrix, origin))
    }

    /// Where they are kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the file, if it has not all that was asked for and nobody else is writing it; how many
    /// bytes were written.
    ///
    /// # Errors
    /// A folder that cannot be made or written to, or a full disk; nothing is left behind then.
    pub fn keep(&self) -> io::Result<u64> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let is_whole = |kept: &Kept| used.iter().all(|(name, matrix)| kept.has(name, matrix));
        if cfg!(not(unix)) || self.kept.as_ref().is_some_and(is_whole) {
            return Ok(0);
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let part = self.path.with_extension("part");
        // Whoever was killed while he wrote has left what he wrote, but no lock.
        let mut file = File::options().create(true).write(true).truncate(false).open(&part)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(0),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Another may have been done between the opening and the lock, and this may be his file.
        if Kept::open(&self.path, &self.checkpoint).is_ok_and(|kept| is_whole(&kept)) {
            return Ok(0);
        }
        let written = write(&mut file, &self.checkpoint, &used).and_then(|bytes| {
            fs::rename(&part, &self.path)?;
            Ok(bytes)
        });
        if written.is_err() {
            // What is half written is of no use to anybody.
            drop(fs::remove_file(&part));
        }
        written
    }
}

/// Where a matrix came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    File,
    Packed,
}

impl Kept {
    fn open(path: &Path, checkpoint: &str) -> io::Result<Self> {
        let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut reader = BufReader::new(&file);
        let mut magic = [0; MAGIC.len()];
        reader.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(damaged("is of another version"));
        }
        let mut header_length = [0; 8];
        reader.read_exact(&mut header_length)?;
        let header_length = u64::from_le_bytes(header_length);
        if header_length > MOST_HEADER {
            return Err(damaged("is damaged"));
        }
        let header: Header = serde_json::from_reader(reader.take(header_length))?;
        if header.checkpoint != checkpoint {
            return Err(damaged("is of another checkpoint"));
        }
        let data = data_start(header_length);
        let ends = header
            .matrices
            .iter()
            .map(|entry| entry.start.saturating_add(entry.bytes));
        if data.saturating_add(ends.max().unwrap_or_default()) > length {
            return Err(damaged("is cut short"));
        }
        let matrices = header.matrices.into_iter();
        Ok(Self {
            matrices: matrices.map(|entry| (entry.name.clone(), entry)).collect(),
            file,
            data,
        })
    }

    fn has(&self, name: &str, matrix: &PackedMatrix) -> bool {
        let is_it = |entry: &Entry| entry.format == matrix.format().name() && entry.bytes == matrix.bytes() as u64;
        self.matrices.get(name).is_some_and(is_it)
    }

    fn read(&self, entry: &Entry, format: WeightFormat) -> io::Result<PackedMatrix> {
        let start = self.data + entry.start;
        PackedMatrix::from_stored(entry.outputs, entry.inputs, format, |offset, piece| {
            read_at(&self.file, piece, start + offset as u64)
        })
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, start)
}

#[cfg(not(unix))]
fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Where the matrices begin behind a header of so many bytes.
fn data_start(header: u64) -> u64 {
    (MAGIC.len() as u64 + 8 + header).next_multiple_of(PAGE)
}

/// Writes a file and has it brought to the disk; how many bytes it has.
fn write(file: &mut File, checkpoint: &str, used: &[(String, Arc<PackedMatrix>)]) -> io::Result<u64> {
    let mut end = 0u64;
    let entry = |(name, matrix): &(String, Arc<PackedMatrix>)| {
        let start = end.next_multiple_of(PAGE);
        end = start + matrix.bytes() as u64;
        Entry {
            name: name.clone(),
            format: matrix.format().name().to_owned(),
            outputs: matrix.outputs(),
            inputs: matrix.inputs(),
            start,
            bytes: matrix.bytes() as u64,
        }
    };
    let header = Header {
        checkpoint: checkpoint.to_owned(),
        matrices: used.iter().map(entry).collect(),
    };
    let json = serde_json::to_vec(&header)?;
    file.set_len(0)?;
    file.write_all(&MAGIC)?;
    file.write_all(&(json.len() as u64).to_le_bytes())?;
    file.write_all(&json)?;
    let data = data_start(json.len() as u64);
    let mut at = (MAGIC.len() + 8 + json.len()) as u64;
    for (entry, (_, matrix)) in header.matrices.iter().zip(used) {
        let start = data + entry.start;
        file.write_all(&vec![0; (start - at) as usize])?;
        file.write_all(matrix.stored())?;
        at = start + entry.bytes;
    }
    file.sync_all()?;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::matrix::InMemory;

    const NAMES: [&str; 3] = ["first", "second", "third"];

    fn numbers(seed: usize) -> Vec<f32> {
        (0..40 * 50)
            .map(|index| ((index * 31 + seed * 7) as f32).sin())
            .collect()
    }

    /// Loads three matrices of differing formats; where they came from.
    fn load(weights: &PackedWeights) -> Vec<(Vec<u8>, Origin)> {
        let formats = [WeightFormat::Q8_0, WeightFormat::F32, WeightFormat::Q4K];
        let load = |(seed, (name, format)): (usize, (&str, WeightFormat))| {
            let pack = || {
                let source = InMemory {
                    numbers: &numbers(seed),
                    inputs: 50,
                };
                PackedMatrix::pack(&source, format)
            };
            let (matrix, origin) = weights.matrix(name, (40, 50), format, pack).expect("there is memory");
            (matrix.stored().to_vec(), origin)
        };
        NAMES.into_iter().zip(formats).enumerate().map(load).collect()
    }

    fn origins(loaded: &[(Vec<u8>, Origin)]) -> Vec<Origin> {
        loaded.iter().map(|(_, origin)| *origin).collect()
    }

    #[test]
    fn the_second_start_reads_what_the_first_has_packed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("not yet there").join("model.packed");
        let open = |checkpoint: &str| PackedWeights::open(path.clone(), checkpoint.to_owned());
        let first = open("one");
        let packed = load(&first);
        assert_eq!(origins(&packed), [Origin::Packed; 3]);
        assert!(first.keep().expect("it can be written") > 0);
        let second = open("one");
        let read = load(&second);
        assert_eq!(origins(&read), [Origin::File; 3]);
        assert!(read.iter().zip(&packed).all(|(read, packed)| read.0 == packed.0));
        assert_eq!(second.keep().expect("nothing is to be done"), 0);
        // Another checkpoint takes its place.
        let other = open("other");
        assert_eq!(origins(&load(&other)), [Origin::Packed; 3]);
        assert!(other.keep().expect("it can be written") > 0);
        assert_eq!(origins(&load(&open("one"))), [Origin::Packed; 3]);
        assert_eq!(origins(&load(&open("other"))), [Origin::File; 3]);
        let files = fs::read_dir(path.parent().expect("it has one")).expect("it is there");
        assert_eq!(files.count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_file_that_is_not_whole_is_made_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.packed");
        let open = || PackedWeights::open(path.clone(), "one".to_owned());
        let first = open();
        load(&first);
        first.keep().expect("it can be written");
        let whole = fs::read(&path).expect("it is there");
        for length in [0, 3, 20, 100, whole.len() - 1] {
            fs::write(&path, &whole[..length]).expect("it can be written");
            let weights = open();
            assert_eq!(origins(&load(&weights)), [Origin::Packed; 3], "{length} bytes");
            weights.keep().expect("it can be written");
            assert!(fs::read(&path).expect("it is there") == whole);
        }
    }

    #[test]
    fn what_cannot_be_kept_is_loaded_all_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a file");
        fs::write(&file, "no folder").expect("it can be written");
        let weights = PackedWeights::open(file.join("model.packed"), "one".to_owned());
        assert_eq!(origins(&load(&weights)), [Origin::Packed; 3]);
        weights.keep().expect_err("there is no folder");
    }

    /// Who changes how weights lie in memory finds old files misread, unless [`MAGIC`] changes too.
    #[test]
    fn the_order_of_packed_weights_is_that_of_this_version() {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        for format in WeightFormat::ALL {
            let numbers: Vec<f32> = (0..40 * 300)
                .map(|index| ((index * 37 % 101) as f32 - 50.0) / 64.0)
                .collect();
            let source = InMemory {
                numbers: &numbers,
                inputs: 300,
            };
            hash.update(PackedMatrix::pack(&source, format).expect("there is memory").stored());
        }
        let hash: String = hash
            .finalize()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!((MAGIC.last(), hash.as_str()), (Some(&b'1'), "75aea735e6bb77ed"));
    }
}
