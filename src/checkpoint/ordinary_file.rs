//! Opening a file of a checkpoint: an ordinary one, or what a link to it leads to.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::path::Path;

/// Opens a file that ends. Opening a pipe waits for whoever writes into it, and a device may go
/// on for ever.
///
/// # Errors
/// Those of the system, and [`ErrorKind::InvalidInput`] for what is no ordinary file.
pub fn open(path: &Path) -> Result<File> {
    if std::fs::metadata(path)?.is_file() {
        return File::open(path);
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        "it is no ordinary file, but a folder, a pipe or a device",
    ))
}
