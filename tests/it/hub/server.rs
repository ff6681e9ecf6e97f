//! A hub of the tests' own, on loopback: it answers as Hugging Face's does, and fails on
//! request.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::answers::{from_cdn, from_hub};

pub const ID: &str = "Test/tiny";
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What stands for [`COMMIT`]: a branch, a tag, the beginning of it, and a branch with slashes.
pub const REVISIONS: [&str; 5] = ["main", "v1", COMMIT, "0123456", "refs/pr/1"];

/// A path below which the hub is as well, as a mirror's may be.
pub const MIRROR: &str = "/mirror/of/the-hub";

/// What goes wrong, and for how many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks after so many bytes of a large file.
    BreaksAfter(usize),
    /// Large files come whole, whatever range was asked for.
    IgnoresRanges,
    /// A large file comes with one byte changed.
    Corrupts,
    /// A large file has much more behind it than was announced.
    Lengthens,
    /// The hub does not say how large a large file is.
    Sizeless,
    /// 429, with so many seconds to wait, in the words of the standard.
    TooMany(u64),
    /// 429, in the hub's own words: nothing left for so many seconds.
    RateLimited(u64),
    /// A large file comes so many milliseconds later.
    Slow(u64),
    /// 503.
    Unavailable,
}

/// A request that was made.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
    /// Whether it was made to where large files lie.
    pub of_cdn: bool,
}

/// Who may read the repository.
#[derive(Clone, Default)]
pub enum Access {
    #[default]
    Everybody,
    /// Whoever sends this token; others learn nothing.
    Token(&'static str),
    /// Nobody, before the conditions are accepted; this is what the others are told.
    Gated(u16),
}

#[derive(Default)]
pub struct State {
    pub files: BTreeMap<String, Vec<u8>>,
    pub access: Access,
    faults: Vec<(Fault, usize)>,
    requests: Vec<Request>,
    /// What the repository is called, where that is not [`ID`].
    pub called: Option<&'static str>,
    /// Where large files are.
    pub cdn: String,
}

impl State {
    /// A fault that is still to happen, if `wanted` is one.
    pub fn fault(&mut self, wanted: impl Fn(Fault) -> bool) -> Option<Fault> {
        let (fault, left) = self
            .faults
            .iter_mut()
            .find(|(fault, left)| *left > 0 && wanted(*fault))?;
        *left -= 1;
        Some(*fault)
    }
}

pub struct Hub {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
    /// Held by whoever keeps answers back.
    gate: Arc<Mutex<()>>,
}

impl Hub {
    /// Serves the files of a folder as the repository [`ID`] at [`COMMIT`].
    pub fn serving(folder: &Path) -> Self {
        let hub = Self::empty();
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("it can be listed").path();
            let name = path.file_name().expect("it is a file").to_string_lossy().into_owned();
            hub.put(&name, std::fs::read(&path).expect("it can be read"));
        }
        hub
    }

    pub fn empty() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let gate = Arc::default();
        let endpoint = listen(&state, &gate, false);
        let cdn = listen(&state, &gate, true);
        state.lock().expect("no thread has panicked").cdn = cdn;
        Self { endpoint, state, gate }
    }

    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.lock().files.insert(name.into(), bytes);
    }

    /// Calls the repository otherwise than [`ID`].
    pub fn rename(&self, id: &'static str) {
        self.lock().called = Some(id);
    }

    pub fn remove(&self, name: &str) {
        self.lock().files.remove(name).expect("it is there");
    }

    pub fn fail(&self, fault: Fault, times: usize) {
        self.lock().faults.push((fault, times));
    }

    /// Answers nobody until this is dropped.
    pub fn hold(&self) -> std::sync::MutexGuard<'_, ()> {
        self.gate.lock().expect("no thread has panicked")
    }

    pub fn mend(&self) {
        self.lock().faults.clear();
    }

    pub fn allow(&self, access: Access) {
        self.lock().access = access;
    }

    /// How often a large file was sent, or a part of it, since the last call of [`Hub::requests`].
    pub fn transfers_of(&self, bytes: &[u8]) -> usize {
        let (state, sum) = (self.lock(), sha256(bytes));
        let is_it = |request: &&Request| request.of_cdn && request.method == "GET" && request.path.contains(&sum);
        state.requests.iter().filter(is_it).count()
    }

    /// The requests since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.lock().requests)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no thread has panicked")
    }
}

fn listen(state: &Arc<Mutex<State>>, gate: &Arc<Mutex<()>>, of_cdn: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound");
    let (state, gate) = (Arc::clone(state), Arc::clone(gate));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (state, gate) = (Arc::clone(&state), Arc::clone(&gate));
            // A client that hangs up in the middle is no failure of the hub's.
            std::thread::spawn(move || {
                drop(gate.lock());
                drop(serve(stream, &state, of_cdn));
            });
        }
    });
    format!("http://{address}")
}

/// Answers one request; connections are not kept.
fn serve(stream: TcpStream, state: &Mutex<State>, of_cdn: bool) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_string);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        range: None,
        authorization: None,
        of_cdn,
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value.trim().into()),
            "authorization" => request.authorization = Some(value.trim().into()),
            _ => {}
        }
    }
    let mut state = state.lock().expect("no thread has panicked");
    state.requests.push(request.clone());
    let answer = if of_cdn {
        from_cdn(&mut state, &request)
    } else {
        from_hub(&mut state, &request)
    };
    drop(state);
    answer.send(stream, request.method == "HEAD")
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
