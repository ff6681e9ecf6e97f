//! A hub of the tests' own, on loopback: it answers as Hugging Face's does, and fails on
//! request.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

pub const ID: &str = "Test/tiny";
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong, and for how many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks after so many bytes of a large file.
    BreaksAfter(usize),
    /// Large files come whole, whatever range was asked for.
    IgnoresRanges,
    /// A large file comes with one byte changed.
    Corrupts,
    /// A large file has more behind it than was announced.
    Lengthens,
    /// 429, with so many seconds to wait.
    TooMany(u64),
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
    /// Nobody, before the conditions are accepted.
    Gated,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    access: Access,
    faults: Vec<(Fault, usize)>,
    requests: Vec<Request>,
    cdn: String,
}

impl State {
    /// A fault that is still to happen, if `wanted` is one.
    fn fault(&mut self, wanted: impl Fn(Fault) -> bool) -> Option<Fault> {
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
}

impl Hub {
    /// Serves the files of a folder as the repository [`ID`] at [`COMMIT`], which is `main`
    /// and `v1`.
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
        let endpoint = listen(&state, false);
        let cdn = listen(&state, true);
        state.lock().expect("no thread has panicked").cdn = cdn;
        Self { endpoint, state }
    }

    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.lock().files.insert(name.into(), bytes);
    }

    pub fn remove(&self, name: &str) {
        self.lock().files.remove(name).expect("it is there");
    }

    pub fn fail(&self, fault: Fault, times: usize) {
        self.lock().faults.push((fault, times));
    }

    pub fn mend(&self) {
        self.lock().faults.clear();
    }

    pub fn allow(&self, access: Access) {
        self.lock().access = access;
    }

    /// The requests since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.lock().requests)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no thread has panicked")
    }
}

fn listen(state: &Arc<Mutex<State>>, of_cdn: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound");
    let state = Arc::clone(state);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            // A client that hangs up in the middle is no failure of the hub's.
            std::thread::spawn(move || drop(serve(stream, &state, of_cdn)));
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

#[derive(Default)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Where the connection breaks.
    breaks_after: Option<usize>,
}

impl Answer {
    fn error(status: u16, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            headers: vec![("X-Error-Code", code.into()), ("X-Error-Message", message.into())],
            ..Self::default()
        }
    }

    fn send(self, mut stream: TcpStream, head: bool) -> std::io::Result<()> {
        let mut text = format!("HTTP/1.1 {} .\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!("Content-Length: {}\r\n\r\n", self.body.len());
        stream.write_all(text.as_bytes())?;
        if !head {
            let sent = self.breaks_after.unwrap_or(self.body.len()).min(self.body.len());
            stream.write_all(&self.body[..sent])?;
        }
        stream.flush()
    }
}

fn from_hub(state: &mut State, request: &Request) -> Answer {
    if let Some(fault) = state.fault(|fault| matches!(fault, Fault::TooMany(_) | Fault::Unavailable)) {
        return match fault {
            Fault::TooMany(seconds) => Answer {
                status: 429,
                headers: vec![("Retry-After", seconds.to_string())],
                ..Answer::default()
            },
            _ => Answer::error(503, "", ""),
        };
    }
    let resolved = format!("/api/resolve-cache/models/{ID}/{COMMIT}/");
    if let Some(file) = request.path.strip_prefix(&resolved) {
        return small_file(state, file);
    }
    let Some(rest) = request.path.strip_prefix(&format!("/{ID}/resolve/")) else {
        // The hub does not say whether a repository is private or not there at all.
        return Answer::error(401, "RepoNotFound", "Repository not found");
    };
    match (&state.access, request.authorization.as_deref()) {
        (Access::Gated, _) => return Answer::error(403, "GatedRepo", "Access to model Test/tiny is restricted."),
        (Access::Token(token), Some(sent)) if sent != format!("Bearer {token}") => {
            return Answer::error(401, "", "Invalid credentials in Authorization header");
        }
        (Access::Token(_), None) => return Answer::error(401, "RepoNotFound", "Repository not found"),
        _ => {}
    }
    let Some((revision, file)) = rest.split_once('/') else {
        return Answer::error(404, "", "");
    };
    if ![COMMIT, "main", "v1", "refs%2Fpr%2F1"].contains(&revision) {
        return Answer::error(404, "RevisionNotFound", "Invalid rev id");
    }
    match state.files.get(file) {
        None => {
            let mut answer = Answer::error(404, "EntryNotFound", "Entry not found");
            answer.headers.push(("X-Repo-Commit", COMMIT.into()));
            answer
        }
        Some(bytes) if is_large(file) => Answer {
            status: 302,
            headers: vec![
                ("Location", format!("{}/{}?signature=1", state.cdn, sha256(bytes))),
                ("X-Repo-Commit", COMMIT.into()),
                ("X-Linked-Size", bytes.len().to_string()),
                ("X-Linked-Etag", format!("\"{}\"", sha256(bytes))),
                ("ETag", "\"of-the-pointer\"".into()),
            ],
            ..Answer::default()
        },
        Some(_) => Answer {
            status: 307,
            headers: vec![
                ("Location", format!("{resolved}{file}")),
                ("X-Repo-Commit", COMMIT.into()),
            ],
            ..Answer::default()
        },
    }
}

fn small_file(state: &State, file: &str) -> Answer {
    let body = state.files[file].clone();
    // The real one is git's; what counts is that it is no SHA-256.
    let etag = sha256(&body)[..40].to_string();
    Answer {
        status: 200,
        headers: vec![("X-Repo-Commit", COMMIT.into()), ("ETag", format!("\"{etag}\""))],
        body,
        ..Answer::default()
    }
}

fn from_cdn(state: &mut State, request: &Request) -> Answer {
    // A signed address with another authorization is refused there.
    if request.authorization.is_some() {
        return Answer::error(400, "", "");
    }
    let sum = request
        .path
        .trim_start_matches('/')
        .split('?')
        .next()
        .unwrap_or_default();
    let Some(whole) = state.files.values().find(|bytes| sha256(bytes) == sum).cloned() else {
        return Answer::error(404, "", "");
    };
    let ignores = state.fault(|fault| fault == Fault::IgnoresRanges).is_some();
    let range = request.range.as_ref().filter(|_| !ignores);
    let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let mut answer = Answer {
        status: 200,
        body: whole.clone(),
        ..Answer::default()
    };
    if let Some(start) = start {
        if start >= whole.len() {
            return Answer::error(416, "", "");
        }
        answer.status = 206;
        answer.body = whole[start..].to_vec();
        answer.headers = vec![(
            "Content-Range",
            format!("bytes {start}-{}/{}", whole.len() - 1, whole.len()),
        )];
    }
    match state.fault(|fault| matches!(fault, Fault::BreaksAfter(_) | Fault::Corrupts | Fault::Lengthens)) {
        Some(Fault::BreaksAfter(bytes)) => answer.breaks_after = Some(bytes),
        Some(Fault::Corrupts) => answer.body[0] ^= 1,
        Some(Fault::Lengthens) => answer.body.push(b'!'),
        _ => {}
    }
    answer
}

/// Files that the hub keeps outside of git.
fn is_large(file: &str) -> bool {
    [".safetensors", ".bin", "tokenizer.json"]
        .iter()
        .any(|end| file.ends_with(end))
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
