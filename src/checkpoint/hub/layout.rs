//! Where the cache keeps what, as Python's `huggingface_hub` does (`file_download.py`).

use std::path::{Path, PathBuf};

use super::HubId;

/// How the folders of models begin; data sets and spaces have others.
const MODELS: &str = "models--";

/// A repository's folder in a cache.
pub fn repository(cache: &Path, id: &HubId) -> PathBuf {
    cache.join(folder_name(id))
}

/// The name of a repository's folder, in the cache and among its locks.
pub fn folder_name(id: &HubId) -> String {
    format!("{MODELS}{}", id.name.replace('/', "--"))
}

/// The repository's name that a folder of the cache is for; none where it is for no model.
pub fn repository_name(folder: &str) -> Option<String> {
    Some(folder.strip_prefix(MODELS)?.replace("--", "/"))
}

/// The folder of a commit's files.
pub fn snapshot(cache: &Path, id: &HubId, commit: &str) -> PathBuf {
    repository(cache, id).join("snapshots").join(commit)
}

/// The commit that the revision stood for when the cache was filled.
pub fn cached_commit(cache: &Path, id: &HubId) -> Option<String> {
    if id.is_commit() {
        return Some(id.revision.clone());
    }
    let commit = std::fs::read_to_string(reference(cache, id)).ok()?;
    Some(commit.trim().to_string())
}

/// Remembers which commit the revision stands for.
pub fn remember_commit(cache: &Path, id: &HubId, commit: &str) -> std::io::Result<()> {
    let reference = reference(cache, id);
    // A branch's name may hold slashes, each of which is a folder.
    if let Some(folder) = reference.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(reference, commit)
}

fn reference(cache: &Path, id: &HubId) -> PathBuf {
    repository(cache, id).join("refs").join(&id.revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_lies_where_python_looks_for_it() {
        let cache = tempfile::tempdir().expect("there is a folder for tests");
        let id = HubId::parse("Salesforce/blip2-opt-2.7b@refs/pr/3").expect("it is an id");
        let folder = cache.path().join("models--Salesforce--blip2-opt-2.7b");
        assert_eq!(repository(cache.path(), &id), folder);
        assert_eq!(snapshot(cache.path(), &id, "abc"), folder.join("snapshots/abc"));
        assert_eq!(repository_name(&folder_name(&id)).as_deref(), Some(id.name.as_str()));
        assert_eq!(repository_name("datasets--a--b"), None);
        assert_eq!(cached_commit(cache.path(), &id), None);
        for commit in ["0123456789", "abc"] {
            remember_commit(cache.path(), &id, commit).expect("the folder is ours");
            let written = std::fs::read_to_string(folder.join("refs/refs/pr/3")).expect("it was written");
            assert_eq!(written, commit);
            assert_eq!(cached_commit(cache.path(), &id).as_deref(), Some(commit));
        }
    }
}
