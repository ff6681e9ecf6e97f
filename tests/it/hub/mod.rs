//! Models from a hub: what is downloaded, kept, checked, and said when it cannot be.

mod answers;
mod auto;
mod cache;
mod download;
mod listing;
mod places;
mod refusals;
mod server;
mod starting;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{TinyCheckpoint, glimpse, stderr};
use server::{COMMIT, Hub, ID, sha256};
use tempfile::TempDir;

/// A user with a home and a cache of its own.
struct User {
    home: TempDir,
    endpoint: String,
}

impl User {
    fn of(hub: &Hub) -> Self {
        Self {
            home: tempfile::tempdir().expect("there is a folder for tests"),
            endpoint: hub.endpoint.clone(),
        }
    }

    fn command<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = glimpse();
        for variable in [
            "HF_HUB_CACHE",
            "HUGGINGFACE_HUB_CACHE",
            "HF_TOKEN",
            "HF_TOKEN_PATH",
            "HF_HUB_OFFLINE",
        ] {
            command.env_remove(variable);
        }
        command
            .env("HF_HOME", self.home.path())
            .env("HF_ENDPOINT", &self.endpoint)
            .env("GLIMPSE_LOG", "info")
            .args(arguments);
        command
    }

    fn run<const N: usize>(&self, arguments: [&str; N]) -> Output {
        self.run_with([], arguments)
    }

    /// With these variables in the environment.
    fn run_with<const M: usize, const N: usize>(&self, variables: [(&str, &str); M], arguments: [&str; N]) -> Output {
        let output = self.command(arguments).envs(variables).output();
        output.expect("the program starts")
    }

    fn fetch(&self) -> Output {
        self.run(["fetch", ID])
    }

    fn fetch_offline(&self) -> Output {
        self.run_with([("HF_HUB_OFFLINE", "1")], ["fetch", ID])
    }

    fn repository(&self) -> PathBuf {
        self.home.path().join("hub/models--Test--tiny")
    }

    /// A file of the snapshot that `main` stands for.
    fn file(&self, name: &str) -> PathBuf {
        self.repository().join("snapshots").join(COMMIT).join(name)
    }

    /// Where a download of these bytes is left when it is interrupted.
    fn partial(&self, bytes: &[u8]) -> PathBuf {
        self.repository()
            .join("blobs")
            .join(format!("{}.incomplete", sha256(bytes)))
    }

    /// Leaves these bytes of a download, as an earlier run would have.
    fn leave_partial(&self, whole: &[u8], part: &[u8]) {
        std::fs::create_dir_all(self.repository().join("blobs")).expect("the folder is ours");
        std::fs::write(self.partial(whole), part).expect("the folder is ours");
    }

    /// The names in a folder of the repository's cache.
    fn list(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.repository().join(folder))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// A small checkpoint, a hub that serves it, and a user.
fn setting() -> (TinyCheckpoint, Hub, User) {
    let checkpoint = TinyCheckpoint::new();
    let hub = Hub::serving(checkpoint.folder.path());
    let user = User::of(&hub);
    (checkpoint, hub, user)
}

fn golden(number: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/checkpoints")
        .join(number)
}

/// The weights that the hub serves for a small checkpoint.
fn weights(checkpoint: &TinyCheckpoint) -> Vec<u8> {
    std::fs::read(checkpoint.folder.path().join("model.safetensors")).expect("it is there")
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

/// Exit status 1, and these words in what is said last.
fn refused(output: &Output, words: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    let last = message.lines().last().unwrap_or_default();
    assert!(last.starts_with("glimpse: ") && last.ends_with('.'), "{message}");
    for word in words {
        assert!(last.contains(word), "{word:?} is not in: {last}");
    }
}
