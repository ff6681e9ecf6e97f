//! The files of one commit, in the cache.
//!
//! The layout is the one that Python's `huggingface_hub` reads and writes: a file of a
//! snapshot is a link to a blob, a lock stands beside each blob that is being written, and
//! `.no_exist` remembers what a commit does not have.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::client::{ATTEMPTS, Client, FileFacts};
use super::error::HubError;
use super::layout::{self, cached_commit};
use super::transfer::{Transfer, unwritable};
use super::{HubId, HubSettings};
use crate::checkpoint::Progress;
use crate::checkpoint::hex::hex;
use sha2::{Digest, Sha256};

/// A commit of a repository, of which files are in the cache or can be had.
pub struct Snapshot {
    id: HubId,
    settings: HubSettings,
    commit: String,
    access: Access,
    /// Who hears of downloads.
    progress: Arc<dyn Progress>,
}

/// Whether files that are not in the cache can be had.
enum Access {
    Hub(Client),
    /// Why they cannot, in a sentence.
    CacheOnly(String),
}

impl Snapshot {
    /// Finds out which commit the revision stands for: by asking the hub, as Python does;
    /// where that cannot be, as it was when the cache was filled.
    pub fn find(id: HubId, settings: HubSettings, progress: Arc<dyn Progress>) -> Result<Self, HubError> {
        let cached = cached_commit(&settings.cache, &id);
        let new = |commit, access| Self {
            id: id.clone(),
            settings: settings.clone(),
            commit,
            access,
            progress: Arc::clone(&progress),
        };
        if settings.offline {
            let commit = cached.ok_or_else(|| incomplete(&id, &settings, "config.json", OFFLINE))?;
            return Ok(new(commit, Access::CacheOnly(OFFLINE.into())));
        }
        let client = Client::new(&settings);
        if id.is_commit() {
            let commit = id.revision.clone();
            return Ok(new(commit, Access::Hub(client)));
        }
        let attempts = if cached.is_some() { 1 } else { ATTEMPTS };
        match client.facts_within(attempts, &id, "config.json") {
            Ok(facts) => {
                let snapshot = new(facts.commit.clone(), Access::Hub(client));
                snapshot.remember_revision()?;
                Ok(snapshot)
            }
            Err(error) => match cached.filter(|_| error.allows_cache()) {
                Some(commit) => {
                    tracing::warn!("{error} Going on with what is in the cache.");
                    Ok(new(commit, Access::CacheOnly(error.to_string())))
                }
                None => Err(error),
            },
        }
    }

    /// The folder of this commit's files.
    pub fn folder(&self) -> PathBuf {
        layout::snapshot(&self.settings.cache, &self.id, &self.commit)
    }

    /// Makes sure that a file is in the cache.
    pub fn need(&self, file: &str) -> Result<(), HubError> {
        if self.want(file)? {
            Ok(())
        } else {
            Err(self.missing(file))
        }
    }

    /// As [`Snapshot::need`], for a file that a repository may lack: whether it has it.
    pub fn want(&self, file: &str) -> Result<bool, HubError> {
        if self.contains(file) {
            return Ok(true);
        }
        let Some((client, facts)) = self.ask(file)? else {
            return Ok(false);
        };
        self.download(client, file, &facts).map(|()| true)
    }

    /// Whether a file is in the cache.
    pub fn contains(&self, file: &str) -> bool {
        self.folder().join(file).is_file()
    }

    /// Drops from the cache what is not as the hub has it, where that can be reached: small files, and large ones
    /// whose checksum is not their name. Gives how many there were.
    pub fn drop_damaged(&self) -> usize {
        let Access::Hub(_) = &self.access else { return 0 };
        let mut files = Vec::new();
        files_below(&self.folder(), &mut files);
        let is_dropped = |link: &&PathBuf| {
            let Ok(blob) = link.canonicalize() else {
                return std::fs::remove_file(link).is_ok();
            };
            if is_sound(&blob) {
                return false;
            }
            std::fs::remove_file(link).is_ok() && (blob == **link || std::fs::remove_file(blob).is_ok())
        };
        files.iter().filter(is_dropped).count()
    }

    /// The facts of a file that is not in the cache; `None` where there is no such file, or
    /// nobody to ask.
    fn ask(&self, file: &str) -> Result<Option<(&Client, FileFacts)>, HubError> {
        let Access::Hub(client) = &self.access else {
            return Ok(None);
        };
        if self.no_exist(file).is_file() {
            return Ok(None);
        }
        match client.facts(&self.at_commit(), file) {
            Ok(facts) => Ok(Some((client, facts))),
            Err(HubError::NoFile { .. }) => {
                self.remember_absence(file);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The error for a file that is neither in the cache nor to be had.
    pub fn missing(&self, file: &str) -> HubError {
        match &self.access {
            Access::Hub(_) => HubError::NoFile {
                id: self.id.name.clone(),
                file: file.into(),
            },
            Access::CacheOnly(why) => incomplete(&self.id, &self.settings, file, why),
        }
    }

    /// The repository at this very commit, so that all files belong together.
    fn at_commit(&self) -> HubId {
        HubId {
            name: self.id.name.clone(),
            revision: self.commit.clone(),
        }
    }

    fn download(&self, client: &Client, file: &str, facts: &FileFacts) -> Result<(), HubError> {
        let link = self.folder().join(file);
        let blobs = self.repository().join("blobs");
        make_folder(&blobs)?;
        // A name with slashes is a path, there too.
        make_folder(link.parent().unwrap_or(&self.folder()))?;
        let _lock = self.lock(&facts.etag, file)?;
        // Another program may have brought it in the meantime.
        if self.contains(file) {
            return Ok(());
        }
        let transfer = Transfer {
            client,
            id: &self.at_commit(),
            file,
            facts,
            blob: blobs.join(&facts.etag),
            progress: &*self.progress,
        };
        transfer.run()?;
        let depth = file.matches('/').count();
        link_to_blob(&blobs.join(&facts.etag), &link, depth).map_err(|error| unwritable(&link, &error))
    }

    /// Keeps two programs from writing the same blob; released when dropped.
    fn lock(&self, etag: &str, file: &str) -> Result<File, HubError> {
        let folder = self.settings.cache.join(".locks").join(layout::folder_name(&self.id));
        make_folder(&folder)?;
        let path = folder.join(format!("{etag}.lock"));
        let lock = File::options().write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(|error| unwritable(&path, &error))?;
        if matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
            tracing::info!("another program is downloading {file}; waiting for it");
            // A file system without locks leaves the programs to themselves, as Python does.
            drop(lock.lock());
        }
        Ok(lock)
    }

    fn repository(&self) -> PathBuf {
        layout::repository(&self.settings.cache, &self.id)
    }

    fn no_exist(&self, file: &str) -> PathBuf {
        self.repository().join(".no_exist").join(&self.commit).join(file)
    }

    fn remember_revision(&self) -> Result<(), HubError> {
        if self.id.is_commit() || cached_commit(&self.settings.cache, &self.id).as_ref() == Some(&self.commit) {
            return Ok(());
        }
        layout::remember_commit(&self.settings.cache, &self.id, &self.commit)
            .map_err(|error| unwritable(&self.repository().join("refs"), &error))
    }

    /// As in Python, a hint for the next time; without it, the hub is asked again.
    fn remember_absence(&self, file: &str) {
        let path = self.no_exist(file);
        let made = path.parent().map(std::fs::create_dir_all);
        if made.is_some_and(|made| made.is_ok()) {
            drop(File::create(path));
        }
    }
}

/// All files below a folder.
fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    for name in names_in(folder) {
        let path = folder.join(name);
        match path.is_dir() {
            true => files_below(&path, files),
            false => files.push(path),
        }
    }
}

/// Whether a blob is what its name, a SHA-256, says. Small files have names of another kind, and are
/// brought again sooner than they are looked at.
fn is_sound(blob: &Path) -> bool {
    let name = blob.file_name().unwrap_or_default().to_string_lossy();
    let sum = || -> std::io::Result<String> {
        let (mut file, mut hash) = (File::open(blob)?, Sha256::new());
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hex(&hash.finalize())),
                read => hash.update(&buffer[..read]),
            }
        }
    };
    name.len() == 64 && sum().is_ok_and(|sum| sum == *name)
}

/// What the cache holds of models, by name: each commit once, by the name of `main` if it is
/// that, by another branch or tag, or as it is.
pub fn cached(settings: &HubSettings) -> Vec<HubId> {
    let mut names: Vec<String> = names_in(&settings.cache)
        .filter_map(|folder| layout::repository_name(&folder))
        .collect();
    names.sort();
    names.iter().flat_map(|name| states(name, settings)).collect()
}

/// The commits of one repository that are in the cache.
fn states(name: &str, settings: &HubSettings) -> Vec<HubId> {
    let Some(main) = HubId::parse(name) else {
        return Vec::new();
    };
    let repository = layout::repository(&settings.cache, &main);
    let mut revisions = vec![main.revision.clone()];
    revisions.extend(refs(&repository.join("refs"), ""));
    let mut commits: Vec<_> = names_in(&repository.join("snapshots")).collect();
    commits.sort();
    revisions.extend(commits);
    let mut seen = BTreeSet::new();
    let ids = revisions.into_iter().filter_map(|revision| {
        let id = HubId::parse(&format!("{name}@{revision}"))?;
        seen.insert(cached_commit(&settings.cache, &id)?).then_some(id)
    });
    ids.collect()
}

/// The branches and tags below a folder, sorted; a name with slashes is a path there.
fn refs(folder: &Path, before: &str) -> Vec<String> {
    let mut names: Vec<_> = names_in(folder).collect();
    names.sort();
    let below = |name: String| match folder.join(&name) {
        path if path.is_dir() => refs(&path, &format!("{before}{name}/")),
        _ => vec![format!("{before}{name}")],
    };
    names.into_iter().flat_map(below).collect()
}

fn names_in(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// The folder of a revision's files, as the cache knows it.
pub fn cached_folder(id: &HubId, settings: &HubSettings) -> Option<PathBuf> {
    let commit = cached_commit(&settings.cache, id)?;
    Some(layout::snapshot(&settings.cache, id, &commit))
}

/// The names of a repository's files; none where they cannot be had.
pub fn listed_names(id: &HubId, settings: &HubSettings) -> Vec<String> {
    if settings.offline {
        return Vec::new();
    }
    Client::new(settings).names(id).unwrap_or_default()
}

/// Why nothing is downloaded where the environment says so.
const OFFLINE: &str = "HF_HUB_OFFLINE forbids to download it: unset HF_HUB_OFFLINE, or name a folder.";

fn incomplete(id: &HubId, settings: &HubSettings, file: &str, why: &str) -> HubError {
    HubError::Incomplete {
        id: id.to_string(),
        cache: settings.cache.display().to_string(),
        file: file.into(),
        why: why.into(),
    }
}

fn make_folder(path: &Path) -> Result<(), HubError> {
    std::fs::create_dir_all(path).map_err(|error| unwritable(path, &error))
}

/// A link as Python makes it: relative, so that the cache can be moved, and there from one
/// moment to the next; it lies so many folders below those of the snapshot. Where the file system has
/// none, the blob itself takes its place.
fn link_to_blob(blob: &Path, link: &Path, depth: usize) -> std::io::Result<()> {
    let name = blob.file_name().unwrap_or_default();
    let made = PathBuf::from(format!("{}.{}", link.display(), std::process::id()));
    let blobs = format!("{}../../blobs", "../".repeat(depth));
    let linked = symlink(&Path::new(&blobs).join(name), &made).and_then(|()| std::fs::rename(&made, link));
    linked.or_else(|_| std::fs::rename(blob, link))
}

#[cfg(unix)]
fn symlink(to: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(to, link)
}

#[cfg(windows)]
fn symlink(to: &Path, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(to, link)
}
