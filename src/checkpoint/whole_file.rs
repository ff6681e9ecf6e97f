//! Files that are there whole or not at all, whatever interrupts their writing.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::Path;

/// Writes a file as `part`, beside its place, and gives it its own name when it is whole and on the disk.
/// What is left of one that failed is removed.
///
/// # Errors
/// What `fill` says, or the disk, as `unwritable` has it.
pub fn write_as<E>(
    part: &Path,
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
    unwritable: impl Fn(io::Error) -> E,
) -> Result<(), E> {
    let mut writer = BufWriter::with_capacity(1 << 20, File::create(part).map_err(&unwritable)?);
    let written = fill(&mut writer).and_then(|()| {
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error);
        file.and_then(|file| publish(&file, part, path)).map_err(&unwritable)
    });
    if written.is_err() {
        // It is of no use; where it cannot be removed, nothing else can be done.
        let _ = fs::remove_file(part);
    }
    written
}

/// Brings a file that is whole to the disk, and gives it its name.
///
/// # Errors
/// The disk's.
pub fn publish(file: &File, part: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(part, path)?;
    sync_folder(path)
}

/// The folder's list of names is on the disk too.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        #[cfg(unix)]
        Some(folder) if folder.as_os_str().is_empty() => File::open(".")?.sync_all(),
        #[cfg(unix)]
        Some(folder) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}
