//! Models from a hub: what is downloaded, kept, checked, and said when it cannot be.
#![cfg(feature = "ssr")]

mod cache;
mod download;
mod refusals;
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use server::{Hub, ID};
use support::{TinyCheckpoint, glimpse, stderr};
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
        self.command(arguments).output().expect("the program starts")
    }

    fn fetch(&self) -> Output {
        self.run(["fetch", ID])
    }

    fn repository(&self) -> PathBuf {
        self.home.path().join("hub/models--Test--tiny")
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
