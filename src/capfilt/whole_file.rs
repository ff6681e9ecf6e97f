//! Files that are there whole or not at all, whatever interrupts their writing.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::CapfiltError;

/// What a file is called while it is written.
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
    let unwritable = |error: io::Error| CapfiltError::unwritable(path, error);
    let part = partial(path);
    let mut writer = BufWriter::with_capacity(1 << 20, File::create(&part).map_err(unwritable)?);
    fill(&mut writer)?;
    let file = writer.into_inner().map_err(|error| unwritable(error.into_error()))?;
    publish(&file, &part, path).map_err(unwritable)
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

/// Brings a file that is whole to the disk, and gives it its name.
pub fn publish(file: &File, part: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(part, path)?;
    sync_folder(path)
}

/// The folder's list of names is on the disk too.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        #[cfg(unix)]
        Some(folder) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
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
