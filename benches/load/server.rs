//! A `glimpse serve` of our own, and what the system says of its process.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::{AnyResult, Arguments};

/// How long loading may take.
const LOADING: Duration = Duration::from_secs(600);

pub struct Server {
    child: Child,
    address: String,
    log: NamedTempFile,
}

/// Of a process, at a moment.
#[derive(Clone, Copy)]
pub struct Sample {
    pub at: Duration,
    /// Bytes that are resident.
    pub memory: u64,
    pub descriptors: usize,
}

/// A process by its id.
#[derive(Clone, Copy)]
pub struct Process(u32);

impl Server {
    /// Starts it, and waits until its model is loaded.
    pub fn start(arguments: &Arguments) -> AnyResult<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = NamedTempFile::new()?;
        // As a rule one question of a visitor's waits: some find the queue full. Answers are kept for
        // as long as anybody here may come back, so that what is kept soon grows no more.
        let waiting = (arguments.visitors * 3 / 4).max(2);
        let mut command = Command::new(&arguments.program);
        command
            .args(["serve", "--addr", &format!("127.0.0.1:{port}")])
            .args([
                "--max-questions-per-minute",
                "1000000",
                "--max-conversations",
                "1000000",
            ])
            .args(["--max-connections", &(1000 + 4 * arguments.visitors).to_string()])
            .args(["--max-waiting", &waiting.to_string(), "--keep-answers", "20"]);
        if let Some(model) = &arguments.model {
            command.args(["--model", model]);
        }
        let child = command
            .args(&arguments.serve)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.reopen()?)
            .spawn()?;
        let server = Self {
            child,
            address: format!("http://127.0.0.1:{port}"),
            log,
        };
        server.wait_until_ready()
    }

    fn wait_until_ready(mut self) -> AnyResult<Self> {
        let deadline = Instant::now() + LOADING;
        while Instant::now() < deadline && self.child.try_wait()?.is_none() {
            if ureq::get(format!("{}/readyz", self.address)).call().is_ok() {
                return Ok(self);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut said = String::new();
        File::open(self.log.path())?.read_to_string(&mut said)?;
        Err(format!("the server does not serve: {said}").into())
    }

    /// What it has said of things that went wrong.
    ///
    /// # Errors
    /// Its log cannot be read.
    pub fn warnings(&self) -> AnyResult<Vec<String>> {
        let said = std::fs::read_to_string(self.log.path())?;
        let is_warning = |line: &&str| line.contains("WARN") || line.contains("ERROR");
        Ok(said.lines().filter(is_warning).map(str::to_owned).collect())
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    pub fn sample(&self, began: Instant) -> AnyResult<Sample> {
        let sample = self.process().sample(began);
        sample.ok_or_else(|| "the server has ended, or /proc says nothing of it".into())
    }
}

impl Process {
    /// None where it has ended.
    pub fn sample(self, began: Instant) -> Option<Sample> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(Sample {
            at: began.elapsed(),
            memory: kilobytes * 1024,
            descriptors: std::fs::read_dir(format!("/proc/{}/fd", self.0)).ok()?.count(),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which has been noticed then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
