//! Requests to the hub, and what its refusals mean.

use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};

use super::error::HubError;
use super::{HubId, Settings};

/// A server that says nothing for this long is asked again.
const SILENCE: Duration = Duration::from_secs(30);

/// How often a request is tried where trying again may help.
pub const ATTEMPTS: u32 = 4;

/// The longest that we wait because the hub asks us to.
const LONGEST_WAIT: u64 = 60;

/// What the hub says of a file without sending it.
#[derive(Debug)]
pub struct FileFacts {
    /// The commit that the revision stands for.
    pub commit: String,
    /// The name of its blob: the SHA-256 of large files, the git hash of small ones.
    pub etag: String,
    pub size: Option<u64>,
}

/// Asks one hub, as one user.
pub struct Client {
    agent: Agent,
    settings: Settings,
}

impl Client {
    pub fn new(settings: &Settings) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are followed by hand: the first one away from the hub carries the facts.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .user_agent(concat!("glimpse/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: config.into(),
            settings: settings.clone(),
        }
    }

    /// The facts of a file, as Python's `get_hf_file_metadata` asks for them.
    pub fn facts(&self, id: &HubId, file: &str) -> Result<FileFacts, HubError> {
        self.facts_within(ATTEMPTS, id, file)
    }

    /// As [`Client::facts`], with so many attempts: one, where there is another way on.
    pub fn facts_within(&self, attempts: u32, id: &HubId, file: &str) -> Result<FileFacts, HubError> {
        let send = || self.request("HEAD", id, file, 0, false);
        let response = self.with_retries(attempts, id, file, send)?;
        let header = |name: &str| text(response.headers(), name);
        let missing = |missing| HubError::NotAHub {
            endpoint: self.settings.endpoint.clone(),
            file: file.into(),
            missing,
        };
        let commit = header("x-repo-commit").filter(|commit| is_plain(commit));
        let etag = header("x-linked-etag").or_else(|| header("etag"));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_string());
        let length = || header("content-length").filter(|_| !response.status().is_redirection());
        Ok(FileFacts {
            commit: commit.ok_or_else(|| missing("X-Repo-Commit"))?,
            etag: etag.filter(|etag| is_plain(etag)).ok_or_else(|| missing("an ETag"))?,
            size: header("x-linked-size")
                .or_else(length)
                .and_then(|size| size.parse().ok()),
        })
    }

    /// A file's bytes from `start` on: the answer is 206, or 200 with all of them.
    pub fn get(&self, id: &HubId, file: &str, start: u64) -> Result<Response<Body>, HubError> {
        self.with_retries(ATTEMPTS, id, file, || self.request("GET", id, file, start, true))
    }

    /// The error for an answer that makes no sense.
    pub fn unexpected(&self, id: &HubId, file: &str, status: StatusCode) -> HubError {
        HubError::Status {
            endpoint: self.settings.endpoint.clone(),
            status: status.as_u16(),
            what: format!("{}/{file}", id.name),
        }
    }

    /// One request, with its redirects: those within the hub always, those away from it
    /// (to where large files lie) only where the file itself is wanted.
    fn request(
        &self,
        method: &str,
        id: &HubId,
        file: &str,
        start: u64,
        anywhere: bool,
    ) -> Result<Response<Body>, ureq::Error> {
        let revision = id.revision.replace('/', "%2F");
        let mut url = format!("{}/{}/resolve/{revision}/{file}", self.settings.endpoint, id.name);
        for _ in 0..10 {
            let mut request = match method {
                "HEAD" => self.agent.head(&url),
                _ => self.agent.get(&url),
            };
            request = request.header("accept-encoding", "identity");
            if let Some(token) = self.settings.token.as_ref().filter(|_| self.is_hub(&url)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            if start > 0 {
                request = request.header("range", format!("bytes={start}-"));
            }
            let response = request.call()?;
            let next = text(response.headers(), "location").filter(|_| response.status().is_redirection());
            match next.map(|next| absolute(&url, &next)) {
                Some(next) if anywhere || self.is_hub(&next) => url = next,
                _ => return Ok(response),
            }
        }
        Err(ureq::Error::TooManyRedirects)
    }

    /// Whether an address is the hub's own, which alone may see the token.
    fn is_hub(&self, url: &str) -> bool {
        url.strip_prefix(&self.settings.endpoint)
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// Tries again where the hub is busy or broken, and makes sentences of what remains.
    fn with_retries(
        &self,
        attempts: u32,
        id: &HubId,
        file: &str,
        send: impl Fn() -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, HubError> {
        let mut attempt = 1;
        loop {
            let (error, wait) = match send() {
                Ok(response) => match self.refusal(id, file, &response) {
                    None => return Ok(response),
                    Some(refusal) => refusal,
                },
                Err(error) => (
                    self.unreachable(&error),
                    is_passing(&error).then_some(1 << (attempt - 1)),
                ),
            };
            match wait {
                Some(seconds) if attempt < attempts && seconds <= LONGEST_WAIT => {
                    tracing::info!("{error} Trying again in {seconds} s.");
                    std::thread::sleep(Duration::from_secs(seconds));
                }
                _ => return Err(error),
            }
            attempt += 1;
        }
    }

    fn unreachable(&self, error: &ureq::Error) -> HubError {
        HubError::Unreachable {
            endpoint: self.settings.endpoint.clone(),
            reason: error.to_string(),
        }
    }

    /// What is wrong with an answer, and after how many seconds trying again may help.
    ///
    /// The codes are those of `hf_raise_for_status`.
    fn refusal(&self, id: &HubId, file: &str, response: &Response<Body>) -> Option<(HubError, Option<u64>)> {
        let (name, endpoint) = (id.name.clone(), self.settings.endpoint.clone());
        let code = text(response.headers(), "x-error-code").unwrap_or_default();
        let message = text(response.headers(), "x-error-message").unwrap_or_default();
        let status = response.status().as_u16();
        let error = match (response.status(), code.as_str()) {
            (status, _) if status.is_success() || status.is_redirection() => return None,
            // A range behind the end: the caller has all of the file already.
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => return None,
            (_, "RevisionNotFound") => HubError::NoRevision {
                id: name,
                revision: id.revision.clone(),
            },
            (_, "EntryNotFound") => HubError::NoFile {
                id: name,
                file: file.into(),
            },
            (_, "GatedRepo") => HubError::Gated {
                id: name,
                endpoint,
                status,
            },
            (StatusCode::UNAUTHORIZED, _) if message.starts_with("Invalid") => HubError::BadToken { endpoint, status },
            (StatusCode::FORBIDDEN, _) => HubError::Forbidden {
                id: name,
                endpoint,
                status,
            },
            (_, "RepoNotFound") | (StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND, _) => HubError::NoRepository {
                id: name,
                endpoint,
                status,
            },
            (StatusCode::TOO_MANY_REQUESTS, _) => return Some(self.too_many(response)),
            (code, _) => {
                let passing = code.is_server_error() || code == StatusCode::REQUEST_TIMEOUT;
                return Some((self.unexpected(id, file, code), passing.then_some(1)));
            }
        };
        Some((error, None))
    }

    fn too_many(&self, response: &Response<Body>) -> (HubError, Option<u64>) {
        let seconds = text(response.headers(), "retry-after").and_then(|seconds| seconds.parse().ok());
        let seconds = seconds.unwrap_or(1).max(1);
        let hint = if self.settings.token.is_none() {
            ", or set HF_TOKEN"
        } else {
            ""
        };
        let error = HubError::TooManyRequests {
            endpoint: self.settings.endpoint.clone(),
            seconds,
            hint,
        };
        (error, Some(seconds))
    }
}

/// Whether a connection that failed so may be there a moment later; a hub that is not known
/// or refuses connections will not.
fn is_passing(error: &ureq::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        ureq::Error::Timeout(_) => true,
        ureq::Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
                | ErrorKind::TimedOut
        ),
        _ => false,
    }
}

/// A commit or checksum becomes a file's name: letters, digits, and no path.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_string())
}

/// Where a redirect leads, seen from the address that gave it.
fn absolute(from: &str, to: &str) -> String {
    if to.contains("://") {
        return to.to_string();
    }
    let host_end = from
        .find("://")
        .and_then(|scheme| from[scheme + 3..].find('/').map(|slash| scheme + 3 + slash));
    format!("{}{to}", &from[..host_end.unwrap_or(from.len())])
}
