//! A reader that knows how far it is, and refuses a record that would fill the memory. What is packed with
//! gzip is unpacked as it is read: a record is measured by what comes out, so that a small file that
//! stands for a very large one is read in no more memory than any other.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use crate::capfilt::CapfiltError;

/// Bytes of a record, at most.
pub const MOST_BYTES: u64 = 16 << 20;

/// Whether a file is packed with gzip, by its name.
pub fn is_packed(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    ending == "gz" || ending == "tgz"
}

/// Where a reader is, shared with whoever reads by way of it.
#[derive(Clone, Default)]
pub struct Position {
    /// In the file.
    at: Rc<Cell<u64>>,
    /// In what the file stands for, which is more where it is packed; and where the record began there.
    unpacked: Rc<Cell<u64>>,
    record: Rc<Cell<u64>>,
}

impl Position {
    /// Bytes of the file that were read.
    pub fn get(&self) -> u64 {
        self.at.get()
    }

    /// Another record begins.
    pub fn begin_record(&self) {
        self.record.set(self.unpacked.get());
    }
}

/// A file that says how far it was read.
pub struct Counted {
    file: File,
    position: Position,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.position.at.set(self.position.at.get() + count as u64);
        Ok(count)
    }
}

/// A file, unpacked where it is packed.
pub enum Content {
    Plain(Counted),
    Packed(MultiGzDecoder<BufReader<Counted>>),
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Packed(file) => file.read(buffer),
        }
    }
}

/// See [`open`].
pub struct Bounded {
    content: Content,
    position: Position,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        let at = self.position.unpacked.get() + count as u64;
        self.position.unpacked.set(at);
        // What is read ahead counts too, which is little beside it.
        if at - self.position.record.get() > MOST_BYTES + BUFFER as u64 {
            let reason = format!("a record has more than {MOST_BYTES} bytes, or a quotation mark is missing");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(count)
    }
}

const BUFFER: usize = 1 << 18;

/// Opens a file, to be unpacked if it is packed.
///
/// # Errors
/// It cannot be opened.
pub fn content(path: &Path) -> Result<(Content, Position), CapfiltError> {
    let file = File::open(path).map_err(|error| CapfiltError::unreadable(path, error))?;
    let position = Position::default();
    let counted = Counted {
        file,
        position: position.clone(),
    };
    let content = match is_packed(path) {
        true => Content::Packed(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, counted))),
        false => Content::Plain(counted),
    };
    Ok((content, position))
}

/// Opens a file of records.
///
/// # Errors
/// It cannot be opened.
pub fn open(path: &Path) -> Result<(BufReader<Bounded>, Position), CapfiltError> {
    let (content, position) = content(path)?;
    let bounded = Bounded {
        content,
        position: position.clone(),
    };
    Ok((BufReader::with_capacity(BUFFER, bounded), position))
}
