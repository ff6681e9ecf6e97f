//! CSV and TSV: a row a pair, the first line names the columns.
//!
//! In CSV a value may stand in quotation marks. In TSV, as Conceptual Captions and others have it, a line is a
//! row whatever it says, and a quotation mark is a letter like others.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::bounded;
use super::record::{Record, names_pictures};
use super::{Sample, Take};
use crate::capfilt::CapfiltError;

/// Put behind a table: as a row of its own it says that the last one has ended. No text has these bytes.
const END: &[u8] = b"\n\xff\xfeend of the table\xfe\xff";

/// Reads a table.
pub fn read(path: &Path, base: &Path, delimiter: u8, take: &mut Take) -> Result<(), CapfiltError> {
    let (reader, position) = bounded::open(path)?;
    let unreadable = |error: csv::Error| CapfiltError::unreadable(path, error);
    let mut table = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(delimiter != b'\t')
        .flexible(true)
        .from_reader(reader.chain(END));
    let names = table.byte_headers().map_err(unreadable)?.clone();
    check_quotes(path, &names)?;
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
        let is_there = table.read_byte_record(&mut row).map_err(unreadable)?;
        if !is_there || row.as_slice() == &END[1..] {
            break;
        }
        check_quotes(path, &row)?;
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

/// Refuses a row that ends with the file because a quotation mark is missing: all rows behind it are in it.
fn check_quotes(path: &Path, row: &csv::ByteRecord) -> Result<(), CapfiltError> {
    if row.as_slice().ends_with(END) {
        let line = row.position().map_or(1, csv::Position::line);
        let reason = format!("the row that begins in line {line} opens a quotation mark that nothing closes");
        return Err(CapfiltError::unreadable(path, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;

    /// The texts of a table, and whether it was read to its end.
    fn texts(name: &str, table: &str) -> (Vec<String>, Result<(), String>) {
        let folder = tempfile::tempdir().expect("there is a folder for tests");
        let path = folder.path().join(name);
        std::fs::write(&path, table).expect("the folder is ours");
        let delimiter = if name.ends_with("tsv") { b'\t' } else { b',' };
        let mut texts = Vec::new();
        let read = read(&path, folder.path(), delimiter, &mut |sample, _| {
            texts.push(sample.text);
            ControlFlow::Continue(())
        });
        (texts, read.map_err(|error| error.to_string()))
    }

    #[test]
    fn in_tsv_a_quotation_mark_is_a_letter() {
        for end in ["", "\n", "\r\n"] {
            let table = format!("caption\turl\n\"one\tx\ntwo \"and\" more\tx\n\"three\"\tx{end}");
            let (texts, read) = texts("a.tsv", &table);
            assert_eq!(texts, ["\"one", "two \"and\" more", "\"three\""]);
            assert_eq!(read, Ok(()));
        }
    }

    #[test]
    fn in_csv_a_quotation_mark_that_stays_open_is_told() {
        let (read, ended) = texts("a.csv", "url,caption\nx,\"on\"\"e, and\nmore\"\nx,5\" wide\n");
        assert_eq!(
            (read, ended),
            (vec!["on\"e, and\nmore".into(), "5\" wide".into()], Ok(()))
        );
        let (read, ended) = texts("a.csv", "url,caption\nx,one\nx,\"two\nx,three\n");
        assert_eq!(read, ["one"]);
        let said = ended.expect_err("the last row never ends");
        assert!(said.contains("line 3") && said.contains("quotation mark"), "{said}");
        let (_, ended) = texts("a.csv", "url,\"caption\nx,one\n");
        assert!(ended.is_err_and(|said| said.contains("line 1")));
    }
}
