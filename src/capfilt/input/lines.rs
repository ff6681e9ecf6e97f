//! JSON lines: an object a line.

use std::io::{BufRead, Read};
use std::path::Path;

use serde_json::{Map, Value};

use super::bounded::{self, MOST_BYTES};
use super::record::Record;
use super::{Sample, Take};
use crate::capfilt::CapfiltError;

/// Reads a file of lines. One that is no object is told in its place.
pub fn read(path: &Path, base: &Path, take: &mut Take) -> Result<(), CapfiltError> {
    let (mut reader, position) = bounded::open(path)?;
    let unreadable = |error: std::io::Error| CapfiltError::unreadable(path, error);
    let (mut place, mut line) = (0u64, Vec::new());
    loop {
        line.clear();
        position.begin_record();
        let read = reader
            .by_ref()
            .take(MOST_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(unreadable)?;
        if read == 0 {
            return Ok(());
        }
        let is_cut = read as u64 == MOST_BYTES && !line.ends_with(b"\n");
        if is_cut {
            skip_line(&mut reader, &position).map_err(unreadable)?;
        }
        let samples = match is_cut {
            true => vec![Sample::broken(
                format!("{place:09}"),
                format!("its line has more than {MOST_BYTES} bytes"),
            )],
            false if is_blank(&line) => continue,
            false => samples(&line, place, base),
        };
        place += 1;
        for sample in samples {
            if take(sample, position.get()).is_break() {
                return Ok(());
            }
        }
    }
}

/// Skips to the line's end without holding it.
fn skip_line(reader: &mut impl BufRead, position: &bounded::Position) -> std::io::Result<()> {
    loop {
        position.begin_record();
        let buffer = reader.fill_buf()?;
        let (length, is_end) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        reader.consume(length);
        if is_end {
            return Ok(());
        }
    }
}

fn is_blank(line: &[u8]) -> bool {
    without_mark(line).iter().all(u8::is_ascii_whitespace)
}

fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

fn samples(line: &[u8], place: u64, base: &Path) -> Vec<Sample> {
    match serde_json::from_slice::<Map<String, Value>>(without_mark(line)) {
        Ok(fields) => Record { fields, bytes: None }.samples(place, base),
        Err(error) => vec![Sample::broken(
            format!("{place:09}"),
            format!("its line is no JSON object: {error}"),
        )],
    }
}
