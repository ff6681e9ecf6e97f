//! CSV and TSV: a row a pair, the first line names the columns.

use std::path::Path;

use serde_json::{Map, Value};

use super::bounded;
use super::record::{Record, names_pictures};
use super::{Sample, Take};
use crate::capfilt::CapfiltError;

/// Reads a table.
pub fn read(path: &Path, base: &Path, delimiter: u8, take: &mut Take) -> Result<(), CapfiltError> {
    let (reader, position) = bounded::open(path)?;
    let unreadable = |error: csv::Error| CapfiltError::unreadable(path, error);
    let mut table = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .from_reader(reader);
    let names = table.byte_headers().map_err(unreadable)?.clone();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let names: Vec<String> = names
        .iter()
        .map(|name| text(name).trim_start_matches('\u{feff}').to_owned())
        .collect();
    if !names_pictures(names.iter().map(String::as_str)) {
        let reason = "its first line names no column `image` or `url`";
        return Err(CapfiltError::unreadable(path, reason));
    }
    let mut row = csv::ByteRecord::new();
    for place in 0u64.. {
        position.begin_record();
        if !table.read_byte_record(&mut row).map_err(unreadable)? {
            break;
        }
        let samples = if row.len() > names.len() {
            let reason = format!(
                "its row has {} columns, and the first line names {}",
                row.len(),
                names.len()
            );
            vec![Sample::broken(format!("{place:09}"), reason)]
        } else {
            let pairs = names.iter().zip(&row);
            let fields: Map<String, Value> = pairs.map(|(name, value)| (name.clone(), text(value).into())).collect();
            Record { fields, bytes: None }.samples(place, base)
        };
        for sample in samples {
            if take(sample, position.get()).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}
