//! One process at a time writes what a worker writes; whoever comes second is refused. The system lets go of a lock
//! with the process that has it, whatever ends that.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::CapfiltError;
use super::shards::{ShardRange, Worker};

/// Keeps other processes from writing the same for as long as it is held.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// That of a worker's shards in a folder: others with other shards write beside it.
    ///
    /// # Errors
    /// Another process has it, or the folder cannot be written to.
    pub fn of_worker(folder: &Path, worker: Worker, shards: ShardRange) -> Result<Self, CapfiltError> {
        let of_shards = match shards == ShardRange::default() {
            true => String::new(),
            false => format!("-{shards}"),
        };
        let name = format!(".worker-{}-of-{}{of_shards}.lock", worker.index, worker.count);
        let path = folder.join(name);
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|error| CapfiltError::unwritable(&path, error))?;
        lock(&file, folder)?;
        Ok(Self { _file: file })
    }
}

/// Locks a file until it is closed. Where files cannot be locked, as on some network file systems, nobody is kept
/// out.
///
/// # Errors
/// Another process has it: `folder` is named.
pub fn lock(file: &File, folder: &Path) -> Result<(), CapfiltError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(CapfiltError::Busy {
            folder: folder.to_path_buf(),
        }),
        Err(TryLockError::Error(error)) => {
            tracing::debug!("{} cannot be locked: {error}", folder.display());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_writes_a_workers_shards_and_others_write_theirs() {
        let folder = tempfile::tempdir().expect("there is a folder for tests");
        let take = |worker: &str, shards: &str| {
            let worker = worker.parse().expect("it is one");
            let shards = match shards {
                "" => ShardRange::default(),
                shards => shards.parse().expect("it is one"),
            };
            Lock::of_worker(folder.path(), worker, shards)
        };
        let held = take("0/2", "").expect("nobody has it");
        assert!(take("0/2", "").is_err_and(|error| error.to_string().contains("Another process")));
        assert!(take("1/2", "").is_ok() && take("0/2", "0..9").is_ok());
        drop(held);
        assert!(take("0/2", "").is_ok(), "the file alone is no lock");
    }
}
