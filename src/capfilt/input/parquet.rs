//! Parquet: a row a pair; pictures as bytes in it, as files or as addresses.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::file::reader::FileReader;
use parquet::record::Field;
use serde_json::{Map, Value};

use super::Take;
use super::parquet_pages::UnpackedFile;
use super::record::Record;
use crate::capfilt::CapfiltError;

/// Columns that hold the bytes of pictures.
const BYTES: [&str; 6] = ["image", "jpg", "jpeg", "png", "webp", "bytes"];

/// Reads a file's rows.
pub fn read(path: &Path, base: &Path, take: &mut Take) -> Result<(), CapfiltError> {
    let mut place = 0;
    rows(path, &mut |columns, extent| {
        let samples = record(columns).samples(place, base);
        place += 1;
        samples.into_iter().all(|sample| take(sample, extent).is_continue())
    })
}

/// Reads a file's rows as objects, for as long as the function wants them; the second number is how far it
/// is, in bytes of the file.
///
/// # Errors
/// It is no Parquet, or is damaged.
pub fn rows(path: &Path, each: &mut dyn FnMut(Vec<(String, Field)>, u64) -> bool) -> Result<(), CapfiltError> {
    let unreadable = |error: parquet::errors::ParquetError| CapfiltError::unreadable(path, error);
    let file = File::open(path).map_err(|error| CapfiltError::unreadable(path, error))?;
    let bytes = file.metadata().map_or(0, |file| file.len());
    let reader = whole(path, || UnpackedFile::new(file))?.map_err(unreadable)?;
    let count = u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or_default();
    let mut rows = whole(path, || reader.get_row_iter(None))?.map_err(unreadable)?;
    let mut place = 0u64;
    while let Some(row) = whole(path, || rows.next())? {
        place += 1;
        let extent = (u128::from(bytes) * u128::from(place) / u128::from(count.max(1))) as u64;
        if !each(row.map_err(unreadable)?.into_columns(), extent) {
            break;
        }
    }
    Ok(())
}

/// What the package says, which breaks at some damage that it does not foresee.
fn whole<T>(path: &Path, read: impl FnOnce() -> T) -> Result<T, CapfiltError> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| CapfiltError::unreadable(path, "it is damaged"))
}

fn record(columns: Vec<(String, Field)>) -> Record {
    let mut record = Record::default();
    for (name, field) in columns {
        match field {
            Field::Bytes(bytes) if BYTES.contains(&name.as_str()) => record.bytes = Some(bytes.data().to_vec()),
            // As HF writes pictures.
            Field::Group(parts) if name == "image" => {
                for (part, field) in parts.into_columns() {
                    match (part.as_str(), field) {
                        ("bytes", Field::Bytes(bytes)) => record.bytes = Some(bytes.data().to_vec()),
                        ("path", Field::Str(path)) => {
                            record.fields.insert("image".into(), path.into());
                        }
                        _ => {}
                    }
                }
            }
            field => {
                if let Some(value) = json(field) {
                    record.fields.insert(name, value);
                }
            }
        }
    }
    record
}

/// A column's value as JSON; none of bytes that are no text.
pub fn json(field: Field) -> Option<Value> {
    Some(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => value.into(),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) => value.into(),
        Field::Long(value) => value.into(),
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => value.into(),
        Field::Float(value) => single(value),
        Field::Double(value) => value.into(),
        Field::Str(text) => text.into(),
        Field::Bytes(bytes) => String::from_utf8(bytes.data().to_vec()).ok()?.into(),
        Field::Group(row) => {
            let columns = row.into_columns().into_iter();
            let object: Map<String, Value> = columns.filter_map(|(name, field)| Some((name, json(field)?))).collect();
            object.into()
        }
        Field::ListInternal(list) => list
            .elements()
            .iter()
            .cloned()
            .filter_map(json)
            .collect::<Vec<_>>()
            .into(),
        other => other.to_string().into(),
    })
}

/// A number of 32 bits with the digits that it needs, and no others.
fn single(value: f32) -> Value {
    serde_json::from_str(&value.to_string()).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(path: &Path) -> Result<Vec<Map<String, Value>>, CapfiltError> {
        let mut read = Vec::new();
        rows(path, &mut |columns, _| {
            read.push(record(columns).fields);
            true
        })?;
        Ok(read)
    }

    #[test]
    fn a_damaged_file_is_told_of_and_breaks_nothing() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("damaged.parquet");
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let mut damaged = 0;
        for name in ["zstd", "gzip-v2", "snappy", "zstd-v2", "none"] {
            let whole = std::fs::read(format!("tests/golden/parquet/{name}.parquet"))?;
            for step in 0..120 {
                let mut bytes = whole.clone();
                let at = step * 7919 % bytes.len();
                bytes[at] ^= 1 << (step % 8);
                bytes.truncate(if step % 10 == 9 { at } else { whole.len() });
                std::fs::write(&path, &bytes)?;
                damaged += usize::from(read_all(&path).is_err());
            }
        }
        std::panic::set_hook(quiet);
        assert!(damaged > 50, "{damaged}");
        Ok(())
    }
}
