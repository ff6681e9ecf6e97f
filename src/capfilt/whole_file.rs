//! Files that are there whole or not at all, whatever interrupts their writing.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::CapfiltError;
pub use crate::models::whole_file::publish;
use crate::models::whole_file::write_as;

/// What a file is called while it is written: by a run that goes on, it is written over.
pub fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.partial"))
}

/// Writes a file under another name, and gives it its own when it is whole and on the disk.
///
/// # Errors
/// What writing says, or the disk.
pub fn write(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), CapfiltError>,
) -> Result<(), CapfiltError> {
    write_as(&partial(path), path, fill, |error| {
        CapfiltError::unwritable(path, error)
    })
}

/// The same of bytes that are there.
///
/// # Errors
/// The disk's.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), CapfiltError> {
    write(path, |writer| {
        writer
            .write_all(bytes)
            .map_err(|error| CapfiltError::unwritable(path, error))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_fails_leaves_what_was_there() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.json");
        write_bytes(&path, b"first")?;
        let failed = write(&path, |writer| {
            writer.write_all(b"sec").expect("there is room");
            Err(CapfiltError::unwritable(&path, "no room"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path)?, b"first");
        Ok(())
    }
}
