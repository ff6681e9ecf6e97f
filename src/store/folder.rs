//! The folder that everything lies in: private, and used by one process at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rand::Rng;

/// How the name of a folder begins that is gone with its process; 32 hexadecimal digits follow.
const TEMPORARY: &str = "glimpse-";

/// The names of what lies in the folder.
pub const DATABASE: &str = "glimpse.sqlite";
pub const PICTURES: &str = "pictures";
/// How the name of a folder begins that holds what was imported; the day follows.
pub const IMPORTED: &str = "imported-";

/// A folder that is locked for as long as this is held. A temporary one is removed at the end.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    is_temporary: bool,
    lock: Mutex<Option<File>>,
}

impl Folder {
    /// Makes the folder where it is missing, tries whether it can be written to, and keeps
    /// other processes out of it.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path.to_str().is_none() {
            return Err(io::Error::other("SQLite takes names in UTF-8 only"));
        }
        make_private(path)?;
        let path = path.canonicalize()?;
        let lock =
            lock_if_possible(&path).map_err(|WouldBlock| io::Error::other("another Glimpse keeps its own there"))?;
        close_to_others(&path)?;
        let probe = path.join("probe.new");
        std::fs::write(&probe, [])?;
        std::fs::remove_file(probe)?;
        Ok(Self {
            path,
            is_temporary: false,
            lock: Mutex::new(lock),
        })
    }

    /// A folder of its own for as long as the process lives, below `parent`. Those that
    /// processes left there which were killed are removed.
    pub fn temporary(parent: &Path) -> io::Result<Self> {
        loop {
            let path = parent.join(format!("{TEMPORARY}{:032x}", rand::rng().random::<u128>()));
            make_private(&path)?;
            let lock = match lock_if_possible(&path) {
                Ok(lock) => lock,
                // Another process takes it for a leftover, before it is locked: then once more.
                Err(WouldBlock) => continue,
            };
            if path.exists() {
                remove_leftovers(parent, &path);
                return Ok(Self {
                    path: path.canonicalize()?,
                    is_temporary: true,
                    lock: Mutex::new(lock),
                });
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn is_temporary(&self) -> bool {
        self.is_temporary
    }

    /// Lets others have the folder; removes a temporary one.
    pub fn close(&self) {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.is_temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("{} could not be removed: {error}", self.path.display());
        }
        drop(lock);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.close();
    }
}

/// A folder, made where it is missing, that only its owner may look into: conversations are
/// private.
pub fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// An empty file, made where it is missing, that only its owner may read.
pub fn make_private_file(path: &Path) -> io::Result<()> {
    let mut options = File::options();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Another process has the lock.
struct WouldBlock;

/// The lock of a folder; none where folders cannot be locked, as on some network file
/// systems: nobody is kept out there.
fn lock_if_possible(path: &Path) -> Result<Option<File>, WouldBlock> {
    match lock(path) {
        Ok(lock) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(WouldBlock),
        Err(TryLockError::Error(error)) => {
            tracing::debug!("{} cannot be locked: {error}", path.display());
            Ok(None)
        }
    }
}

/// Locks the folder itself, so that nothing in it is touched.
fn lock(path: &Path) -> Result<File, TryLockError> {
    let opened = File::open(path).map_err(TryLockError::Error)?;
    opened.try_lock()?;
    Ok(opened)
}

/// Closes a folder that was there before to others. One that holds other things too, such as
/// `/tmp`, is left as it is: what is put into it is private in itself.
#[cfg(unix)]
fn close_to_others(path: &Path) -> io::Result<()> {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let holds_other_things = std::fs::read_dir(path)?.any(|entry| entry.is_ok_and(|entry| !is_ours(&entry)));
    let closed = if holds_other_things {
        Err(io::Error::other("it holds other things too"))
    } else {
        std::fs::set_permissions(path, Permissions::from_mode(0o700))
    };
    if let Err(reason) = closed {
        tracing::warn!(
            "others on this machine may look into {}, though not into conversations: its mode {:03o} stays, since {reason}",
            path.display(),
            mode & 0o777,
        );
    }
    Ok(())
}

#[cfg(not(unix))]
fn close_to_others(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn is_ours(entry: &std::fs::DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    name.starts_with(DATABASE) || name == PICTURES || name.starts_with(IMPORTED) || is_id(&name)
}

/// Whether a name is 32 hexadecimal digits.
pub fn is_id(name: &str) -> bool {
    crate::chat::ConversationId::parse(name).is_some()
}

/// Removes temporary folders that nobody holds. What cannot be removed is another user's.
fn remove_leftovers(parent: &Path, own: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str());
        let is_one = name.and_then(|name| name.strip_prefix(TEMPORARY)).is_some_and(is_id);
        if is_one && path != own && is_of_the_same_user(&path, own) && lock(&path).is_ok() {
            tracing::info!("{} is removed: its process has ended without doing so", path.display());
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::debug!("{} could not be removed: {error}", path.display());
            }
        }
    }
}

/// Whether both are folders, no links, of one user.
fn is_of_the_same_user(path: &Path, own: &Path) -> bool {
    let (Ok(there), Ok(own)) = (std::fs::symlink_metadata(path), std::fs::symlink_metadata(own)) else {
        return false;
    };
    #[cfg(unix)]
    let same = std::os::unix::fs::MetadataExt::uid(&there) == std::os::unix::fs::MetadataExt::uid(&own);
    #[cfg(not(unix))]
    let same = true;
    there.is_dir() && own.is_dir() && same
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent() -> tempfile::TempDir {
        tempfile::tempdir().expect("there is a folder for tests")
    }

    #[test]
    fn one_process_at_a_time() {
        let parent = parent();
        let first = Folder::open(&parent.path().join("a/data")).expect("it is made");
        let second = Folder::open(first.path()).expect_err("it is taken");
        assert!(second.to_string().contains("another Glimpse"), "{second}");
        let path = first.path().to_owned();
        drop(first);
        assert!(path.exists(), "what was named stays");
        Folder::open(&path).expect("it is free again");
    }

    #[test]
    fn a_temporary_folder_goes_with_its_owner_and_leftovers_go_with_the_next() {
        let parent = parent();
        let leftover = parent.path().join(format!("{TEMPORARY}{:032x}", 7));
        let another = parent.path().join("glimpse-of-somebody-else");
        for folder in [&leftover, &another] {
            std::fs::create_dir_all(folder.join("pictures")).expect("it is writable");
        }
        let first = Folder::temporary(parent.path()).expect("it is made");
        assert!(!leftover.exists() && another.exists());
        let second = Folder::temporary(parent.path()).expect("it is another one");
        assert!(first.path().exists(), "it is in use");
        let paths = [first.path().to_owned(), second.path().to_owned()];
        assert_ne!(paths[0], paths[1]);
        drop((first, second));
        assert!(paths.iter().all(|path| !path.exists()));
    }

    #[cfg(unix)]
    fn mode(path: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_look_into_it() {
        use std::fs::Permissions;
        use std::os::unix::fs::PermissionsExt;
        let parent = parent();
        let open = |name: &str| Folder::open(&parent.path().join(name)).expect("it is writable");
        let made = open("made");
        let temporary = Folder::temporary(parent.path()).expect("it is made");
        for name in ["before", "shared"] {
            let path = parent.path().join(name);
            std::fs::create_dir(&path).expect("it is writable");
            std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("it is ours");
        }
        std::fs::write(parent.path().join("shared/other.txt"), "").expect("it is writable");
        std::fs::write(parent.path().join("before").join(DATABASE), "").expect("it is writable");
        let [before, shared] = ["before", "shared"].map(open);
        assert_eq!(mode(made.path()), 0o700);
        assert_eq!(mode(temporary.path()), 0o700);
        assert_eq!(mode(before.path()), 0o700);
        assert_eq!(mode(shared.path()), 0o755, "others may need what is in there");
    }
}
