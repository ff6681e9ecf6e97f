//! A reader that knows how far it is, and refuses a record that would fill the memory.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use crate::capfilt::CapfiltError;

/// Bytes of a record, at most.
pub const MOST_BYTES: u64 = 16 << 20;

/// Where a reader is, shared with whoever reads by way of it.
#[derive(Clone, Default)]
pub struct Position {
    at: Rc<Cell<u64>>,
    record: Rc<Cell<u64>>,
}

impl Position {
    /// Bytes that were read.
    pub fn get(&self) -> u64 {
        self.at.get()
    }

    /// Another record begins.
    pub fn begin_record(&self) {
        self.record.set(self.at.get());
    }
}

/// See [`open`].
pub struct Bounded {
    file: File,
    position: Position,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let at = self.position.at.get() + count as u64;
        self.position.at.set(at);
        // What is read ahead counts too, which is little beside it.
        if at - self.position.record.get() > MOST_BYTES + BUFFER as u64 {
            let reason = format!("a record has more than {MOST_BYTES} bytes, or a quotation mark is missing");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(count)
    }
}

const BUFFER: usize = 1 << 18;

/// Opens a file of records.
pub fn open(path: &Path) -> Result<(BufReader<Bounded>, Position), CapfiltError> {
    let file = File::open(path).map_err(|error| CapfiltError::unreadable(path, error))?;
    let position = Position::default();
    let bounded = Bounded {
        file,
        position: position.clone(),
    };
    Ok((BufReader::with_capacity(BUFFER, bounded), position))
}
