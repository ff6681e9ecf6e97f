//! What the hub of the tests answers, as Hugging Face's does.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use super::server::{Access, COMMIT, Fault, ID, MIRROR, REVISIONS, Request, State, sha256};

#[derive(Default)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Where the connection breaks.
    breaks_after: Option<usize>,
    /// Milliseconds before it begins.
    delay: u64,
}

impl Answer {
    fn error(status: u16, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            headers: vec![("X-Error-Code", code.into()), ("X-Error-Message", message.into())],
            ..Self::default()
        }
    }

    fn too_many(header: &'static str, value: String) -> Self {
        Self {
            status: 429,
            headers: vec![(header, value)],
            ..Self::default()
        }
    }

    pub fn send(self, mut stream: TcpStream, head: bool) -> std::io::Result<()> {
        std::thread::sleep(Duration::from_millis(self.delay));
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

pub fn from_hub(state: &mut State, request: &Request) -> Answer {
    let busy = |fault| matches!(fault, Fault::TooMany(_) | Fault::RateLimited(_) | Fault::Unavailable);
    match state.fault(busy) {
        Some(Fault::TooMany(seconds)) => return Answer::too_many("Retry-After", seconds.to_string()),
        Some(Fault::RateLimited(seconds)) => {
            return Answer::too_many("RateLimit", format!("\"resolvers\";r=0;t={seconds}"));
        }
        Some(_) => return Answer::error(503, "", ""),
        None => {}
    }
    let id = state.called.unwrap_or(ID);
    let path = request.path.strip_prefix(MIRROR).unwrap_or(&request.path);
    let resolved = format!("/api/resolve-cache/models/{id}/{COMMIT}/");
    if let Some(file) = path.strip_prefix(&resolved) {
        return small_file(state, file);
    }
    if path.starts_with(&format!("/api/models/{id}/revision/")) {
        return listing(state);
    }
    let Some(rest) = path.strip_prefix(&format!("/{id}/resolve/")) else {
        // The hub does not say whether a repository is private or not there at all.
        return Answer::error(401, "RepoNotFound", "Repository not found");
    };
    if let Some(refusal) = refusal(&state.access, request.authorization.as_deref()) {
        return refusal;
    }
    let Some((revision, file)) = rest.split_once('/') else {
        return Answer::error(404, "", "");
    };
    if !REVISIONS.contains(&revision.replace("%2F", "/").as_str()) {
        return Answer::error(404, "RevisionNotFound", "Invalid rev id");
    }
    let sizeless = is_large(file) && state.fault(|fault| fault == Fault::Sizeless).is_some();
    match state.files.get(file) {
        None => {
            let mut answer = Answer::error(404, "EntryNotFound", "Entry not found");
            answer.headers.push(("X-Repo-Commit", COMMIT.into()));
            answer
        }
        Some(bytes) if is_large(file) => large_file(&state.cdn, bytes, sizeless),
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

/// What somebody is told who may not read the repository.
fn refusal(access: &Access, authorization: Option<&str>) -> Option<Answer> {
    match (access, authorization) {
        (Access::Everybody, _) => None,
        (Access::Gated(status), _) => {
            let message = "Access to model Test/tiny is restricted.";
            Some(Answer::error(*status, "GatedRepo", message))
        }
        (Access::Token(_), None) => Some(Answer::error(401, "RepoNotFound", "Repository not found")),
        (Access::Token(token), Some(sent)) if sent != format!("Bearer {token}") => {
            let message = "Invalid credentials in Authorization header";
            Some(Answer::error(401, "", message))
        }
        (Access::Token(_), Some(_)) => None,
    }
}

/// Large files lie elsewhere; what is to be known of them stands here.
fn large_file(cdn: &str, bytes: &[u8], sizeless: bool) -> Answer {
    let sum = sha256(bytes);
    let mut answer = Answer {
        status: 302,
        headers: vec![
            ("Location", format!("{cdn}/{sum}?signature=1")),
            ("X-Repo-Commit", COMMIT.into()),
            ("X-Linked-Size", bytes.len().to_string()),
            ("X-Linked-Etag", format!("\"{sum}\"")),
            ("ETag", "\"of-the-pointer\"".into()),
            // Of the hub's newer storage, which also answers as the older one did.
            ("X-Xet-Hash", sum),
            ("Link", "<https://example.org/xet-read-token>; rel=\"xet-auth\"".into()),
        ],
        ..Answer::default()
    };
    if sizeless {
        answer.headers.retain(|(name, _)| *name != "X-Linked-Size");
    }
    answer
}

/// What is in the repository, as the hub tells it among much else.
fn listing(state: &State) -> Answer {
    let names = state.files.keys();
    let siblings: Vec<_> = names.map(|name| serde_json::json!({ "rfilename": name })).collect();
    let listing = serde_json::json!({ "id": ID, "sha": COMMIT, "siblings": siblings });
    Answer {
        status: 200,
        body: listing.to_string().into_bytes(),
        ..Answer::default()
    }
}

fn small_file(state: &State, file: &str) -> Answer {
    let body = state.files[file].clone();
    // The real one is git's; what counts is that it is no SHA-256.
    let etag = sha256(&body)[..40].to_string();
    Answer {
        status: 200,
        headers: vec![("X-Repo-Commit", COMMIT.into()), ("ETag", format!("W/\"{etag}\""))],
        body,
        ..Answer::default()
    }
}

pub fn from_cdn(state: &mut State, request: &Request) -> Answer {
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
    let of_a_file = |fault| {
        matches!(
            fault,
            Fault::BreaksAfter(_) | Fault::Corrupts | Fault::Lengthens | Fault::Slow(_)
        )
    };
    match state.fault(of_a_file) {
        Some(Fault::BreaksAfter(bytes)) => answer.breaks_after = Some(bytes),
        Some(Fault::Slow(milliseconds)) => answer.delay = milliseconds,
        Some(Fault::Corrupts) => answer.body[0] ^= 1,
        Some(Fault::Lengthens) => answer.body.resize(whole.len() + 50_000_000, b'!'),
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
