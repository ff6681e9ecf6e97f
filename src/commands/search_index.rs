//! The vectors of a folder's pictures, kept beside them.
//!
//! A file in the safetensors format, whose one tensor has a row for each vector and whose metadata names
//! the pictures, with when each was changed and its size. It is good for one model alone, whose
//! fingerprint is in its name.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::folder::{Folder, write_whole};
use crate::models::{OpenModel, Vectors};

/// What the names of index files begin with.
const NAME: &str = ".glimpse-index-";

const TENSOR: &str = "vectors";

/// Of the metadata.
const PICTURES: &str = "pictures";

/// The order of the file, which goes up with every change of it.
const VERSION: (&str, &str) = ("glimpse_index", "1");

/// What tells a file from what it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Nanoseconds since 1970.
    changed: u64,
    size: u64,
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let changed = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Self {
            changed: changed.map_or(0, |since| since.as_nanos() as u64),
            size: metadata.len(),
        })
    }
}

/// A picture that is known.
struct Known {
    stamp: Stamp,
    place: Place,
}

/// Where a picture's vectors are.
enum Place {
    /// In the file that was there, so many pictures behind its first.
    Kept(usize),
    New(Vec<f32>),
}

/// As a picture stands in the metadata.
#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    #[serde(flatten)]
    stamp: Stamp,
}

/// Whether these are the bytes of a vector as models give them.
fn is_of_length_1(vector: &[u8]) -> bool {
    let numbers = vector
        .as_chunks::<4>()
        .0
        .iter()
        .map(|number| f32::from_le_bytes(*number));
    let length: f32 = numbers.map(|number| number * number).sum();
    (length - 1.0).abs() < 1e-2
}

/// The vectors of all pictures of a folder.
pub struct Index {
    path: PathBuf,
    /// Numbers of a picture.
    numbers: usize,
    width: usize,
    /// The file that was there, and where its numbers begin.
    kept: Option<(Mmap, usize)>,
    known: HashMap<String, Known>,
    is_changed: bool,
}

impl Index {
    /// The index of a folder for a model, without pictures that are gone or were changed. What is no
    /// index, or another's, is made anew.
    pub fn open(folder: &Folder, model: &OpenModel, width: usize, vectors: usize) -> Self {
        let model = model
            .fingerprint
            .as_deref()
            .unwrap_or(&model.name)
            .get(..16)
            .unwrap_or("demo")
            .to_owned()
            + "-"
            + &model.dtype;
        let mut index = Self {
            path: folder.path.join(format!("{NAME}{model}")),
            numbers: width * vectors,
            width,
            kept: None,
            known: HashMap::new(),
            is_changed: false,
        };
        match index.read(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!("{} is made anew: {error}", index.path.display());
                (index.kept, index.is_changed) = (None, true);
                index.known.clear();
            }
        }
        index
    }

    fn read(&mut self, folder: &Folder) -> io::Result<()> {
        let file = File::open(&self.path)?;
        // SAFETY: the file is replaced as a whole, by renaming, and never written to.
        let map = unsafe { Mmap::map(&file) }?;
        let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        let (_, metadata) = SafeTensors::read_metadata(&map).map_err(|error| invalid(error.to_string()))?;
        let said = metadata.metadata().clone().unwrap_or_default();
        if said.get(VERSION.0).map(String::as_str) != Some(VERSION.1) {
            return Err(invalid("it is of another version of Glimpse".into()));
        }
        let entries: Vec<Entry> = serde_json::from_str(said.get(PICTURES).map_or("", String::as_str))?;
        let tensors = SafeTensors::deserialize(&map).map_err(|error| invalid(error.to_string()))?;
        let tensor = tensors.tensor(TENSOR).map_err(|error| invalid(error.to_string()))?;
        let rows = entries.len() * self.numbers / self.width.max(1);
        if tensor.dtype() != Dtype::F32 || tensor.shape() != [rows, self.width] {
            return Err(invalid("its pictures are not those of its vectors".into()));
        }
        let bytes_of_vector = 4 * self.width.max(1);
        if !tensor.data().par_chunks(bytes_of_vector).all(is_of_length_1) {
            return Err(invalid("it is damaged".into()));
        }
        let start = tensor.data().as_ptr() as usize - map.as_ptr() as usize;
        let there: HashSet<&String> = folder.pictures.iter().collect();
        for (picture, Entry { name, stamp }) in entries.into_iter().enumerate() {
            let is_same = there.contains(&name) && Stamp::of(&folder.whole(&name)).is_ok_and(|now| now == stamp);
            if is_same {
                let place = Place::Kept(picture);
                self.known.insert(name, Known { stamp, place });
            } else {
                self.is_changed = true;
            }
        }
        self.kept = Some((map, start));
        Ok(())
    }

    /// The pictures that are not known yet, as they are now.
    pub fn unknown(&self, folder: &Folder) -> Vec<(String, Stamp)> {
        let pictures = folder.pictures.iter().filter(|name| !self.known.contains_key(*name));
        // Of one that is gone nothing will be read either.
        let stamp = |name: &String| Stamp::of(&folder.whole(name)).unwrap_or_default();
        pictures.map(|name| (name.clone(), stamp(name))).collect()
    }

    /// Notes the vectors of a picture that was so when it was read.
    pub fn add(&mut self, name: &str, stamp: Stamp, vectors: Vectors) {
        let place = Place::New(vectors.numbers);
        self.known.insert(name.to_owned(), Known { stamp, place });
        self.is_changed = true;
    }

    /// All pictures with their vectors: `[vectors, width]`.
    pub fn pictures(&self) -> Vec<(&str, &[f32])> {
        let known = self.known.iter();
        known
            .filter_map(|(name, known)| Some((name.as_str(), self.vectors(known)?)))
            .collect()
    }

    fn vectors<'a>(&'a self, known: &'a Known) -> Option<&'a [f32]> {
        match &known.place {
            Place::New(numbers) => Some(numbers),
            Place::Kept(picture) => {
                let (map, start) = self.kept.as_ref()?;
                let bytes = self.numbers * 4;
                let numbers = map.get(start + picture * bytes..start + (picture + 1) * bytes)?;
                // SAFETY: all bits are numbers.
                let (before, numbers, after) = unsafe { numbers.align_to::<f32>() };
                // Safetensors' data begin at a multiple of 8 bytes, and maps at one of a page.
                (before.is_empty() && after.is_empty()).then_some(numbers)
            }
        }
    }

    /// Writes the file, if it is not what it was.
    ///
    /// # Errors
    /// The folder cannot be written to, or the disk is full.
    pub fn save(&mut self) -> io::Result<()> {
        if !self.is_changed {
            return Ok(());
        }
        let mut known: Vec<(&String, &Known)> = self.known.iter().collect();
        known.sort_by_key(|(name, _)| *name);
        let (mut entries, mut numbers) = (Vec::new(), Vec::new());
        for (name, known) in known {
            for number in self.vectors(known).unwrap_or_default() {
                numbers.extend_from_slice(&number.to_le_bytes());
            }
            entries.push(Entry {
                name: name.clone(),
                stamp: known.stamp,
            });
        }
        let shape = vec![numbers.len() / 4 / self.width.max(1), self.width];
        let tensor = TensorView::new(Dtype::F32, shape, &numbers).map_err(io::Error::other)?;
        let metadata = HashMap::from([
            (VERSION.0.to_owned(), VERSION.1.to_owned()),
            (PICTURES.to_owned(), serde_json::to_string(&entries)?),
        ]);
        let file = safetensors::serialize([(TENSOR, tensor)], Some(metadata)).map_err(io::Error::other)?;
        write_whole(&self.path, |out| out.write_all(&file))?;
        self.is_changed = false;
        Ok(())
    }

    /// Where it is kept.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
