//! Files that were put in lately, and what was made of them: one that comes again, such as a picture
//! that goes round, is not decoded again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio_util::bytes::Bytes;

use crate::chat::PictureId;

/// Files that are known at most.
const FILES: usize = 256;

/// Bytes of their previews, at most.
const BYTES: usize = 16 << 20;

/// What is made of a picture's file, but for the pixels.
pub struct KnownFile {
    pub id: PictureId,
    /// In pixels, after its EXIF orientation.
    pub width: u32,
    pub height: u32,
    /// A JPEG that browsers may see.
    pub preview: Bytes,
}

/// SHA-256 of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileHash([u8; 32]);

impl FileHash {
    pub fn of(file: &[u8]) -> Self {
        Self(Sha256::digest(file).into())
    }
}

/// The last used last.
#[derive(Default)]
pub struct KnownFiles(Mutex<VecDeque<(FileHash, Arc<KnownFile>)>>);

impl KnownFiles {
    /// What was made of a file, if it is known; it is the last used then.
    pub fn recall(&self, hash: FileHash) -> Option<Arc<KnownFile>> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = files.iter().rposition(|(known, _)| *known == hash)?;
        let entry = files.remove(index)?;
        let file = Arc::clone(&entry.1);
        files.push_back(entry);
        Some(file)
    }

    /// Remembers a file; those used longest ago are forgotten for it.
    pub fn remember(&self, hash: FileHash, file: Arc<KnownFile>) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|(known, _)| *known != hash);
        files.push_back((hash, file));
        let mut bytes: usize = files.iter().map(|(_, file)| file.preview.len()).sum();
        while files.len() > FILES || bytes > BYTES {
            let Some((_, oldest)) = files.pop_front() else { break };
            bytes -= oldest.preview.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(number: u8, bytes: usize) -> (FileHash, Arc<KnownFile>) {
        let file = KnownFile {
            id: PictureId([number; 32]),
            width: 1,
            height: 1,
            preview: vec![number; bytes].into(),
        };
        (FileHash::of(&[number]), Arc::new(file))
    }

    #[test]
    fn those_used_longest_ago_are_forgotten_where_there_are_too_many_bytes() {
        let files = KnownFiles::default();
        for number in 0..3 {
            let (hash, file) = file(number, BYTES / 3);
            files.remember(hash, file);
        }
        assert!(
            files
                .recall(FileHash::of(&[0]))
                .is_some_and(|file| file.id == PictureId([0; 32]))
        );
        let (hash, fourth) = file(3, BYTES / 3);
        files.remember(hash, fourth);
        let known = |number| files.recall(FileHash::of(&[number])).is_some();
        assert_eq!([0, 1, 2, 3].map(known), [true, false, true, true]);
    }

    #[test]
    fn no_more_than_so_many_are_known() {
        let files = KnownFiles::default();
        for number in 0..=FILES {
            let hash = FileHash::of(&number.to_le_bytes());
            files.remember(hash, file(0, 1).1);
        }
        assert!(files.recall(FileHash::of(&0usize.to_le_bytes())).is_none());
        assert!(files.recall(FileHash::of(&1usize.to_le_bytes())).is_some());
    }
}
