//! Pictures read, decoded and resized ahead of the models.

use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::input::{PictureSource, Sample};
use super::perceptual_hash::perceptual_hash;
use crate::processor::{Picture, PictureLimits, Processor};
use crate::remote::{Fetcher, address};

/// How pictures are read.
pub struct PictureReader {
    pub limits: PictureLimits,
    pub fetcher: Fetcher,
    /// Of the captioner, where there is one, and of the filter.
    pub captioner: Option<Arc<Processor>>,
    pub filter: Arc<Processor>,
    /// Whether pictures that look the same count as one.
    pub looks: bool,
}

/// A picture as both models see it: a few hundred kilobytes, once where they see it alike.
pub struct PreparedPicture {
    pub captioner: Option<Arc<Picture>>,
    pub filter: Arc<Picture>,
}

/// A sample whose picture is read.
pub struct Prepared {
    pub key: String,
    pub text: String,
    pub fields: Map<String, Value>,
    /// How far the reader was.
    pub extent: u64,
    pub picture: ReadPicture,
}

/// What came of reading a picture.
#[derive(Default)]
pub struct ReadPicture {
    /// Of the file's bytes, where there were any.
    pub sha256: Option<[u8; 32]>,
    /// What it looks like, where that is asked for.
    pub looks: Option<u64>,
    /// `None` with the reason beside it.
    pub picture: Option<PreparedPicture>,
    pub error: Option<String>,
}

impl ReadPicture {
    /// What a picture is known by where others of its bytes, or of its looks, count as the same.
    pub fn id(&self) -> Option<[u8; 32]> {
        let looks = self.looks.map(|looks| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&looks.to_le_bytes());
            id
        });
        looks.or(self.sha256)
    }
}

impl PictureReader {
    /// Reads the picture of a sample.
    pub fn prepare(&self, sample: Sample, extent: u64) -> Prepared {
        let source = sample.picture;
        // A reader that breaks has met a file that nobody foresaw.
        let read = catch_unwind(AssertUnwindSafe(|| self.read(source)));
        let gave_up = |_| ReadPicture {
            error: Some("its decoder gave up".into()),
            ..ReadPicture::default()
        };
        Prepared {
            key: sample.key,
            text: sample.text,
            fields: sample.fields,
            extent,
            picture: read.unwrap_or_else(gave_up),
        }
    }

    fn read(&self, source: PictureSource) -> ReadPicture {
        let mut done = ReadPicture::default();
        let decoded = read(source, &self.fetcher, self.limits.max_bytes).and_then(|bytes| {
            done.sha256 = Some(Sha256::digest(&bytes).into());
            Picture::decode(&bytes, &self.limits).map_err(|error| error.to_string())
        });
        match decoded {
            Ok(picture) => {
                done.looks = self.looks.then(|| perceptual_hash(&picture));
                done.picture = Some(self.resized(&picture));
            }
            Err(reason) => done.error = Some(reason),
        }
        done
    }

    fn resized(&self, picture: &Picture) -> PreparedPicture {
        let filter = Arc::new(self.filter.image.resize(picture));
        let of_captioner = |processor: &Arc<Processor>| match processor.image.size == self.filter.image.size {
            true => Arc::clone(&filter),
            false => Arc::new(processor.image.resize(picture)),
        };
        PreparedPicture {
            captioner: self.captioner.as_ref().map(of_captioner),
            filter,
        }
    }
}

/// The bytes of a picture.
///
/// # Errors
/// Why there are none.
pub fn read(source: PictureSource, fetcher: &Fetcher, max_bytes: usize) -> Result<Vec<u8>, String> {
    match source {
        PictureSource::Bytes(bytes) => Ok(bytes),
        PictureSource::File(path) => read_file(&path, max_bytes),
        PictureSource::Address(text) => fetcher
            .fetch(&text)
            // Whatever becomes of it, a password is not repeated.
            .map_err(|error| format!("{}: {error}", address::shown(&text))),
        PictureSource::None(reason) => Err(reason),
    }
}

/// Reads one byte more than is allowed at most: enough for the decoder to refuse it.
fn read_file(path: &Path, max_bytes: usize) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let file = File::open(path).map_err(unreadable)?;
    // A pipe or a device would be waited for for ever.
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(format!("{} is no file", path.display()));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}
