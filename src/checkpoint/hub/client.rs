//! Requests to the hub: with its redirects, and again where that may help.

use std::time::Duration;

use serde_json::Value;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};
use url::Url;

use super::error::HubError;
use super::refusal::Refusals;
use super::{HubId, HubSettings};

/// A server that says nothing for this long is asked again.
const SILENCE: Duration = Duration::from_secs(30);

/// How often a request is tried where trying again may help.
pub const ATTEMPTS: u32 = 4;

/// The longest that we wait because the hub asks us to, in seconds: it counts requests
/// within five minutes.
const LONGEST_WAIT: u64 = 300;

/// Bytes of a list of files, at most.
const MOST_LISTING: u64 = 16 << 20;

/// Hubs that a mirror may lead back to; as in Python, they may see the token.
const OFFICIAL: [&str; 2] = ["https://huggingface.co", "https://hf.co"];

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
    settings: HubSettings,
}

impl Client {
    pub fn new(settings: &HubSettings) -> Self {
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
        let send = || self.request("HEAD", self.address(id, file)?, 0, false);
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
        let send = || self.request("GET", self.address(id, file)?, start, true);
        self.with_retries(ATTEMPTS, id, file, send)
    }

    /// The names of a repository's files, as Python's `list_repo_files` has them.
    pub fn names(&self, id: &HubId) -> Result<Vec<String>, HubError> {
        let send = || self.request("GET", self.listing(id)?, 0, false);
        let response = self.with_retries(1, id, "its list of files", send)?;
        let read = response.into_body().with_config().limit(MOST_LISTING).read_to_string();
        let listing = read.map_err(|error| self.unreachable(&error))?;
        let listing: Value = serde_json::from_str(&listing).unwrap_or_default();
        let files = listing["siblings"].as_array().into_iter().flatten();
        Ok(files
            .filter_map(|file| Some(file["rfilename"].as_str()?.to_owned()))
            .collect())
    }

    /// The error for an answer that makes no sense.
    pub fn unexpected(&self, id: &HubId, file: &str, status: StatusCode) -> HubError {
        let settings = &self.settings;
        Refusals { settings, id, file }.unexpected(status)
    }

    /// One request, with its redirects: those within the hub always, those away from it
    /// (to where large files lie) only where the file itself is wanted.
    fn request(&self, method: &str, mut url: Url, start: u64, anywhere: bool) -> Result<Response<Body>, ureq::Error> {
        for _ in 0..10 {
            let mut request = match method {
                "HEAD" => self.agent.head(url.as_str()),
                _ => self.agent.get(url.as_str()),
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
            match next.map(|next| url.join(&next)) {
                Some(Ok(next)) if anywhere || self.is_hub(&next) => url = next,
                Some(Err(error)) => return Err(ureq::Error::BadUri(error.to_string())),
                _ => return Ok(response),
            }
        }
        Err(ureq::Error::TooManyRedirects)
    }

    /// Where a file is: each part is one step of the path, whatever it is made of.
    fn address(&self, id: &HubId, file: &str) -> Result<Url, ureq::Error> {
        let name = id.name.split('/');
        let resolve = ["resolve", id.revision.as_str()];
        self.at(name.chain(resolve).chain(file.split('/')))
    }

    /// Where the names of a repository's files are.
    fn listing(&self, id: &HubId) -> Result<Url, ureq::Error> {
        let name = id.name.split('/');
        self.at(["api", "models"]
            .into_iter()
            .chain(name)
            .chain(["revision", &id.revision]))
    }

    fn at<'a>(&self, steps: impl Iterator<Item = &'a str>) -> Result<Url, ureq::Error> {
        let endpoint = &self.settings.endpoint;
        let bad = || ureq::Error::BadUri(endpoint.clone());
        let mut url = Url::parse(endpoint).map_err(|_| bad())?;
        url.path_segments_mut()
            .map_err(|()| bad())?
            .pop_if_empty()
            .extend(steps);
        Ok(url)
    }

    /// Whether an address is the hub's own, which alone may see the token.
    fn is_hub(&self, url: &Url) -> bool {
        let hubs = [self.settings.endpoint.as_str(), OFFICIAL[0], OFFICIAL[1]];
        hubs.iter()
            .any(|hub| Url::parse(hub).is_ok_and(|hub| hub.origin() == url.origin()))
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
        let refusals = Refusals {
            settings: &self.settings,
            id,
            file,
        };
        loop {
            let (error, wait) = match send() {
                Ok(response) => match refusals.of(&response) {
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

pub fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_string())
}
