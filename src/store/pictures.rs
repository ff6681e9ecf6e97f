//! The files of pictures, by the hash of their pixels: `ab/HASH` as it was put in, and
//! `ab/HASH.preview.jpg` for browsers.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStoreExt, PutPayload};
use tokio_util::bytes::Bytes;

use super::StoreError;
use super::folder::make_private;
use crate::chat::PictureId;

const PREVIEW: &str = ".preview.jpg";

/// The folder of all pictures. Files are written beside and renamed, so that there is a whole
/// one or none.
#[derive(Debug)]
pub struct PictureFiles {
    files: LocalFileSystem,
    folder: PathBuf,
}

impl PictureFiles {
    /// Makes the folder where it is missing. With `is_lasting`, files are on the disk when
    /// keeping them returns, so that a power cut does not take them.
    pub fn open(folder: PathBuf, is_lasting: bool) -> io::Result<Self> {
        make_private(&folder)?;
        let files = LocalFileSystem::new_with_prefix(&folder).map_err(io::Error::other)?;
        Ok(Self {
            files: files.with_fsync(is_lasting),
            folder,
        })
    }

    /// Writes both files, also over those that are there: it takes as long whether or not
    /// somebody else has put the picture in before.
    pub async fn keep(&self, id: &PictureId, file: Bytes, preview: Bytes) -> Result<(), StoreError> {
        self.files.put(&path(id, ""), PutPayload::from(file)).await?;
        self.files.put(&path(id, PREVIEW), PutPayload::from(preview)).await?;
        Ok(())
    }

    pub async fn file(&self, id: &PictureId) -> Result<Bytes, StoreError> {
        self.read(id, "").await
    }

    pub async fn preview(&self, id: &PictureId) -> Result<Bytes, StoreError> {
        self.read(id, PREVIEW).await
    }

    async fn read(&self, id: &PictureId, suffix: &str) -> Result<Bytes, StoreError> {
        let file = match self.files.get(&path(id, suffix)).await {
            Err(object_store::Error::NotFound { .. }) => return Err(StoreError::NoPictureFile { picture: *id }),
            file => file?,
        };
        Ok(file.bytes().await?)
    }

    /// Removes both files, where they are.
    pub async fn remove(&self, id: &PictureId) -> Result<(), StoreError> {
        for suffix in ["", PREVIEW] {
            match self.files.delete(&path(id, suffix)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// All pictures that have files. Removes what was being written when a process was killed:
    /// only before this one writes, or it takes what is its own.
    pub fn tidy_up(&self) -> io::Result<BTreeSet<PictureId>> {
        let mut found = BTreeSet::new();
        for folder in std::fs::read_dir(&self.folder)? {
            let folder = folder?.path();
            if !folder.is_dir() {
                continue;
            }
            for file in std::fs::read_dir(folder)? {
                let file = file?;
                let name = file.file_name();
                let name = name.to_string_lossy();
                let (hash, rest) = name.split_at_checked(64).unwrap_or_default();
                match PictureId::parse(hash) {
                    Some(id) if rest.is_empty() || rest == PREVIEW => {
                        found.insert(id);
                    }
                    Some(_) if rest.contains('#') => std::fs::remove_file(file.path())?,
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

fn path(id: &PictureId, suffix: &str) -> ObjectPath {
    let hash = id.to_string();
    ObjectPath::from(format!("{}/{hash}{suffix}", &hash[..2]))
}

/// What kind of picture a file is, such as `image/jpeg`.
pub fn media_type(file: &[u8]) -> &'static str {
    image::guess_format(file).map_or("application/octet-stream", |format| format.to_mime_type())
}
