//! Why the store cannot do what it was asked. Sentences are for the host, in the log and the
//! terminal; visitors are told a code.

use std::error::Error;
use std::io;

use crate::chat::PictureId;

/// Use the first six where a visitor has something to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("it is not kept here (any more)")]
    NotFound,
    #[error("the file of the picture {picture} is gone from the folder of pictures")]
    NoPictureFile { picture: PictureId },
    #[error("an answer of this conversation is still being given")]
    TurnInProgress,
    #[error("the conversation has {limit} turns (--max-turns)")]
    TooManyTurns { limit: usize },
    #[error("the picture takes {bytes} bytes, and a visitor may keep {limit} (--max-megabytes-per-visitor)")]
    VisitorFull { bytes: u64, limit: u64 },
    #[error("the picture takes {bytes} bytes, and {limit} may be kept (--max-stored-megabytes)")]
    Full { bytes: u64, limit: u64 },
    /// The folder is no good from the start.
    #[error("The folder {folder} cannot be used for conversations: {reason}. Name another one with --data.")]
    Folder { folder: String, reason: String },
    #[error("a newer Glimpse used it last, and this one does not know its database. Start that one again")]
    Newer,
    #[error("an older Glimpse used it last. Serve it once with this one, which brings its database up to date")]
    Older,
    #[error("no conversations were kept in it yet")]
    Nothing,
    /// What lies on the disk is not what was written.
    #[error("what is kept is damaged: {detail}")]
    Damaged { detail: String },
    #[error("the disk is full: nothing more is kept until there is room")]
    DiskFull(#[source] Source),
    #[error("the disk cannot be written to, it is mounted read-only")]
    ReadOnly(#[source] Source),
    #[error("the disk is too slow: what is to be kept waited for too long")]
    TooSlow(#[source] Source),
    #[error("the disk failed")]
    Disk(#[source] Source),
    /// Asked for after the end.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// The same, of the folder that was to be opened; with what it came from, in one sentence.
    pub(super) fn at_start(self, folder: String) -> Self {
        if matches!(self, Self::Folder { .. }) {
            return self;
        }
        let chain = std::iter::successors(Some(&self as &(dyn Error + 'static)), |&error| error.source());
        let reason = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        Self::Folder { folder, reason }
    }

    /// Whether the disk is to blame, and may do better later.
    pub(super) fn is_of_the_disk(&self) -> bool {
        matches!(
            self,
            Self::DiskFull(_) | Self::ReadOnly(_) | Self::TooSlow(_) | Self::Disk(_)
        )
    }
}

/// What the database or the folder said.
type Source = Box<dyn Error + Send + Sync>;

/// SQLite's primary result codes (<https://www.sqlite.org/rescode.html>), the low byte of what it says.
mod code {
    pub const BUSY: i32 = 5;
    pub const LOCKED: i32 = 6;
    pub const READONLY: i32 = 8;
    pub const CORRUPT: i32 = 11;
    pub const FULL: i32 = 13;
    pub const NOTADB: i32 = 26;
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::RowNotFound => Self::NotFound,
            sqlx::Error::PoolTimedOut => Self::TooSlow(error.into()),
            sqlx::Error::PoolClosed => Self::Closed,
            sqlx::Error::Database(said) if said.is_foreign_key_violation() => Self::NotFound,
            sqlx::Error::Database(said) => match primary_code(said.as_ref()) {
                Some(code::FULL) => Self::DiskFull(error.into()),
                Some(code::READONLY) => Self::ReadOnly(error.into()),
                Some(code::BUSY | code::LOCKED) => Self::TooSlow(error.into()),
                Some(code::CORRUPT | code::NOTADB) => Self::Damaged {
                    detail: said.message().to_owned(),
                },
                _ => Self::Disk(error.into()),
            },
            sqlx::Error::ColumnDecode { .. } => Self::Damaged {
                detail: error.to_string(),
            },
            _ => Self::Disk(error.into()),
        }
    }
}

fn primary_code(said: &dyn sqlx::error::DatabaseError) -> Option<i32> {
    let extended: i32 = said.code()?.parse().ok()?;
    Some(extended & 0xff)
}

impl From<object_store::Error> for StoreError {
    fn from(error: object_store::Error) -> Self {
        if matches!(error, object_store::Error::NotFound { .. }) {
            return Self::NotFound;
        }
        let mut sources = std::iter::successors(Some(&error as &(dyn Error + 'static)), |&error| error.source());
        let kind = sources.find_map(|error| error.downcast_ref::<io::Error>().map(io::Error::kind));
        match kind {
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Self::DiskFull(error.into()),
            Some(io::ErrorKind::ReadOnlyFilesystem) => Self::ReadOnly(error.into()),
            _ => Self::Disk(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_was_too_long_is_the_disks() {
        let error = StoreError::from(sqlx::Error::PoolTimedOut);
        assert!(matches!(error, StoreError::TooSlow(_)) && error.is_of_the_disk());
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let said = |kind: io::ErrorKind| {
            StoreError::from(object_store::Error::Generic {
                store: "LocalFileSystem",
                source: Box::new(io::Error::from(kind)),
            })
        };
        assert!(matches!(said(io::ErrorKind::StorageFull), StoreError::DiskFull(_)));
        assert!(matches!(
            said(io::ErrorKind::ReadOnlyFilesystem),
            StoreError::ReadOnly(_)
        ));
        assert!(matches!(said(io::ErrorKind::Other), StoreError::Disk(_)));
    }
}
