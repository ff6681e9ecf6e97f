//! One file into the cache: where it stopped, and only if it is what the hub announces.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use ureq::http::StatusCode;

use super::HubId;
use super::client::{Client, FileFacts};
use super::error::HubError;
use crate::checkpoint::hex::hex;
use crate::checkpoint::progress::{Progress, Task};
use crate::checkpoint::readable_bytes;

/// How often a transfer may break off in a row without bringing a byte.
const FRUITLESS_ATTEMPTS: u32 = 5;

/// A file that is to become a blob of the cache.
pub struct Transfer<'a> {
    pub client: &'a Client,
    /// The repository, at the commit of `facts`.
    pub id: &'a HubId,
    pub file: &'a str,
    pub facts: &'a FileFacts,
    /// Where the blob is to be.
    pub blob: PathBuf,
    /// Who hears of its bytes.
    pub progress: &'a dyn Progress,
}

impl Transfer<'_> {
    /// Downloads the file unless it is there.
    pub fn run(&self) -> Result<(), HubError> {
        if self.blob.is_file() {
            return Ok(());
        }
        let partial = PathBuf::from(format!("{}.incomplete", self.blob.display()));
        let mut download = Download::open(&partial)?;
        if let Some(size) = self.facts.size {
            tracing::info!(
                "downloading {} of {} ({})",
                self.file,
                self.id.name,
                readable_bytes(size)
            );
        }
        let progress = self.progress.begin(self.file, self.facts.size.unwrap_or_default());
        self.receive(&mut download, &*progress)?;
        self.check(download, &partial)?;
        std::fs::rename(&partial, &self.blob).map_err(|error| unwritable(&self.blob, &error))
    }

    /// Asks for what is missing until nothing is.
    fn receive(&self, download: &mut Download, progress: &dyn Task) -> Result<(), HubError> {
        // More than the whole cannot be a part of it.
        if self.facts.size.is_some_and(|size| download.length > size) {
            download.start_over()?;
        }
        let mut fruitless = 0;
        while self.facts.size != Some(download.length) {
            progress.set(download.length);
            let before = download.length;
            let Err(broken) = self.receive_some(download, progress)? else {
                return Ok(());
            };
            fruitless = if download.length > before { 0 } else { fruitless + 1 };
            if fruitless == FRUITLESS_ATTEMPTS {
                return Err(HubError::Interrupted {
                    file: self.file.into(),
                    left: self.facts.size.unwrap_or_default().saturating_sub(download.length),
                    reason: broken.to_string(),
                });
            }
            tracing::info!(
                "{} broke off after {} ({broken}); going on",
                self.file,
                readable_bytes(download.length)
            );
            std::thread::sleep(std::time::Duration::from_millis(100 << fruitless));
        }
        Ok(())
    }

    /// One request's worth; the inner error is a connection that broke.
    fn receive_some(&self, download: &mut Download, progress: &dyn Task) -> Result<std::io::Result<()>, HubError> {
        let mut response = self.client.get(self.id, self.file, download.length)?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(&response, download.length) => {}
            // A server that knows no ranges sends it all again.
            StatusCode::OK => download.start_over()?,
            // Whatever is there already is not the beginning of this file.
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT if download.length > 0 => {
                download.start_over()?;
                return Ok(Err(std::io::Error::other("the hub has nothing from there on")));
            }
            status => return Err(self.client.unexpected(self.id, self.file, status)),
        }
        progress.set(download.length);
        let mut body = response.body_mut().as_reader();
        let mut buffer = vec![0; 1 << 18];
        loop {
            match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    download.write(&buffer[..read])?;
                    progress.add(read as u64);
                    // What goes on behind its announced end is not this file, and may never end.
                    if self.facts.size.is_some_and(|size| download.length > size) {
                        break;
                    }
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        match self.facts.size {
            Some(size) if download.length < size => Ok(Err(std::io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(Ok(())),
        }
    }

    /// Throws a file away that is not what the hub announced.
    fn check(&self, download: Download, partial: &Path) -> Result<(), HubError> {
        let found = download.length;
        let sum = download.finish()?;
        let problem = match self.facts.size {
            Some(expected) if expected != found => HubError::WrongSize {
                file: self.file.into(),
                expected,
                found,
            },
            // Large files are named by their SHA-256, small ones by git's own hash.
            _ if self.facts.etag.len() == sum.len() && self.facts.etag != sum => HubError::WrongChecksum {
                file: self.file.into(),
                expected: self.facts.etag.clone(),
                found: sum,
            },
            _ => return Ok(()),
        };
        std::fs::remove_file(partial).map_err(|error| unwritable(partial, &error))?;
        Err(problem)
    }
}

/// Whether a partial answer begins where it was asked to.
fn starts_at(response: &ureq::http::Response<ureq::Body>, start: u64) -> bool {
    let range = response
        .headers()
        .get("content-range")
        .and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
}

/// The part of a file that is here, with its checksum so far.
struct Download {
    path: PathBuf,
    file: File,
    length: u64,
    sum: Sha256,
}

impl Download {
    /// Opens what an earlier download left, or begins.
    fn open(path: &Path) -> Result<Self, HubError> {
        let file = File::options().read(true).append(true).create(true).open(path);
        let mut download = Self {
            path: path.into(),
            file: file.map_err(|error| unwritable(path, &error))?,
            length: 0,
            sum: Sha256::new(),
        };
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = download
                .file
                .read(&mut buffer)
                .map_err(|error| unwritable(path, &error))?;
            if read == 0 {
                return Ok(download);
            }
            download.sum.update(&buffer[..read]);
            download.length += read as u64;
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file
            .write_all(bytes)
            .map_err(|error| unwritable(&self.path, &error))?;
        self.sum.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn start_over(&mut self) -> Result<(), HubError> {
        self.file.set_len(0).map_err(|error| unwritable(&self.path, &error))?;
        self.sum = Sha256::new();
        self.length = 0;
        Ok(())
    }

    /// Writes it all to the disk, and gives its SHA-256 in hexadecimal.
    fn finish(self) -> Result<String, HubError> {
        self.file.sync_all().map_err(|error| unwritable(&self.path, &error))?;
        Ok(hex(&self.sum.finalize()))
    }
}

pub fn unwritable(path: &Path, error: &std::io::Error) -> HubError {
    HubError::Cache {
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}
