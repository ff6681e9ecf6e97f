//! Fetching the picture at an address.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ureq::http::{Response, header};
use ureq::{Agent, Body, Timeout};
use url::Url;

use super::pinned::Pinned;
use super::{Reach, RemoteError, address, own_addresses, policy, proxy};

/// How often an address may lead on to another one.
const MAX_REDIRECTS: usize = 3;

/// What Glimpse decodes, most welcome first, so that servers with a choice send that.
const ACCEPT: &str = "image/jpeg, image/png, image/webp;q=0.9, image/gif;q=0.8, image/bmp;q=0.8";

/// How much a fetch may take.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Bytes of the picture's file.
    pub max_bytes: usize,
    /// Until a server is connected to, its name looked up and its certificate checked.
    pub connect: Duration,
    /// For everything, redirects included.
    pub whole: Duration,
}

impl FetchLimits {
    /// Five seconds to connect, thirty for everything.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            connect: Duration::from_secs(5),
            whole: Duration::from_secs(30),
        }
    }
}

/// Looks a host up: its name and port to all of its addresses.
type Resolve = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The addresses of this machine.
type OwnAddresses = dyn Fn() -> Vec<IpAddr> + Send + Sync;

/// Fetches pictures, blocking the thread that asks.
#[derive(Clone)]
pub struct Fetcher {
    reach: Reach,
    limits: FetchLimits,
    resolve: Arc<Resolve>,
    own: Arc<OwnAddresses>,
    /// By which visitors find this server; its addresses are ours too.
    own_host: Option<String>,
}

/// What one request brought.
enum Hop {
    Picture(Vec<u8>),
    /// Another address, as the server wrote it.
    Redirect(String),
}

impl Fetcher {
    /// Looks hosts up as the operating system does. Cheap to clone; nothing is connected to yet.
    pub fn new(reach: Reach, limits: FetchLimits) -> Self {
        let system = |host: &str, port: u16| Ok((host, port).to_socket_addrs()?.collect());
        Self::with_resolver(reach, limits, system)
    }

    /// With another way to look hosts up than the operating system's.
    fn with_resolver(
        reach: Reach,
        limits: FetchLimits,
        resolve: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            reach,
            limits,
            resolve: Arc::new(resolve),
            own: Arc::new(own_addresses::addresses),
            own_host: None,
        }
    }

    /// Takes the addresses of this host for our own: they may be those of a machine before us.
    pub fn known_as(self, own_host: Option<String>) -> Self {
        Self { own_host, ..self }
    }

    /// The bytes of the picture at an address; whether they are one is the decoder's to say.
    ///
    /// # Errors
    /// The address is refused, its server does not answer with a picture, or a limit is passed.
    pub fn fetch(&self, text: &str) -> Result<Vec<u8>, RemoteError> {
        let deadline = Instant::now() + self.limits.whole;
        let mut url = address::read(text, &self.reach)?;
        for redirects in 0.. {
            match self.request(&url, deadline)? {
                Hop::Picture(bytes) => return Ok(bytes),
                Hop::Redirect(_) if redirects == MAX_REDIRECTS => break,
                Hop::Redirect(location) => url = address::follow(&url, &location, &self.reach)?,
            }
        }
        Err(RemoteError::TooManyRedirects(MAX_REDIRECTS))
    }

    fn request(&self, url: &Url, deadline: Instant) -> Result<Hop, RemoteError> {
        // Strangers' addresses never go by way of a proxy, which may reach what they may not.
        let proxy = match self.reach {
            Reach::Anywhere => proxy::for_address(url, |name| std::env::var(name).ok()),
            Reach::Public { .. } => None,
        };
        let places = match proxy
            .as_ref()
            .map(|proxy| format!("http://{}:{}/", proxy.host(), proxy.port()))
        {
            // The proxy is what is connected to; it looks the host up.
            Some(through) => self.look_up(&address::read(&through, &self.reach)?, deadline)?,
            None => self.look_up(url, deadline)?,
        };
        let config = Agent::config_builder()
            .proxy(proxy)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(Some(self.limits.connect))
            .timeout_global(Some(self.left(url, deadline)?))
            .user_agent(concat!("Glimpse/", env!("CARGO_PKG_VERSION")))
            .accept(ACCEPT)
            // A small answer could unpack to an endless one; pictures are packed already.
            .accept_encoding("identity")
            .build();
        // An agent of its own for every request: no connection and no cookie is kept.
        let agent = Pinned::agent(config, places);
        let response = agent
            .get(url.as_str())
            .call()
            .map_err(|error| self.failed(url, error))?;
        self.take(url, response)
    }

    /// Where to connect to: every address of the host, if all of them are in reach.
    fn look_up(&self, url: &Url, deadline: Instant) -> Result<Vec<SocketAddr>, RemoteError> {
        if let Some(place) = address::place(url) {
            let own = || self.is_own(&[place], deadline).then_some("an address of this machine");
            return match self.reach.refusal(place).or_else(own) {
                Some(what) => Err(RemoteError::Private { what }),
                None => Ok(vec![place]),
            };
        }
        let places = self.ask_resolver(&address::host(url), address::port(url), deadline);
        let places = places.ok_or_else(|| self.no_connection_in_time(url))?;
        let is_out_of_reach = places.iter().any(|place| self.reach.refusal(*place).is_some());
        if places.is_empty() || is_out_of_reach || self.is_own(&places, deadline) {
            let host = address::host(url);
            return Err(match self.reach {
                Reach::Anywhere => RemoteError::HostNotFound { host },
                Reach::Public { .. } => RemoteError::NoPublicHost { host },
            });
        }
        Ok(places)
    }

    /// Whether a stranger is led to this machine itself, which may have a public address.
    fn is_own(&self, places: &[SocketAddr], deadline: Instant) -> bool {
        let places: Vec<&SocketAddr> = places.iter().filter(|place| !self.reach.names(**place)).collect();
        if self.reach == Reach::Anywhere || places.is_empty() {
            return false;
        }
        let mut own = (self.own)();
        if let Some(host) = &self.own_host {
            let found = self.ask_resolver(host, 0, deadline).unwrap_or_default();
            own.extend(found.iter().map(|place| place.ip().to_canonical()));
        }
        places.iter().any(|place| leads_to(place.ip(), &own))
    }

    /// All addresses of a host; an empty list where it has none, or there is no such host. None
    /// where there was no answer in time.
    ///
    /// The operating system's resolver knows no time limit: it gets a thread that may be left.
    fn ask_resolver(&self, host: &str, port: u16, deadline: Instant) -> Option<Vec<SocketAddr>> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let (resolve, host) = (Arc::clone(&self.resolve), host.to_owned());
        let left = deadline.saturating_duration_since(Instant::now());
        std::thread::spawn(move || sender.send(resolve(&host, port)));
        let answer = receiver.recv_timeout(self.limits.connect.min(left)).ok()?;
        Some(answer.unwrap_or_default())
    }

    /// What an answer brings: where it leads on, or a picture's bytes.
    fn take(&self, url: &Url, response: Response<Body>) -> Result<Hop, RemoteError> {
        let text = |name| {
            let value = response.headers().get(name);
            value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let status = response.status();
        if let (301 | 302 | 303 | 307 | 308, Some(location)) = (status.as_u16(), text(header::LOCATION)) {
            return Ok(Hop::Redirect(location));
        }
        if status.as_u16() != 200 {
            let (host, status) = (address::host(url), status.to_string());
            return Err(RemoteError::Status { host, status });
        }
        check_type(&text(header::CONTENT_TYPE).unwrap_or_default())?;
        check_encoding(&text(header::CONTENT_ENCODING).unwrap_or_default())?;
        self.read(url, response).map(Hop::Picture)
    }

    fn read(&self, url: &Url, mut response: Response<Body>) -> Result<Vec<u8>, RemoteError> {
        let max_bytes = self.limits.max_bytes;
        let too_many = RemoteError::TooManyBytes { max_bytes };
        let announced = response.body().content_length();
        if announced.is_some_and(|bytes| bytes > max_bytes as u64) {
            return Err(too_many);
        }
        let mut bytes = Vec::new();
        // One byte more than is allowed tells that there are more.
        let limit = max_bytes as u64 + 1;
        let body = response.body_mut().with_config().limit(u64::MAX).reader();
        body.take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| self.failed(url, error.into()))?;
        if bytes.len() > max_bytes {
            return Err(too_many);
        }
        Ok(bytes)
    }

    /// The time that is left for everything.
    fn left(&self, url: &Url, deadline: Instant) -> Result<Duration, RemoteError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.not_in_time(url));
        }
        Ok(left)
    }

    fn failed(&self, url: &Url, error: ureq::Error) -> RemoteError {
        let host = address::host(url);
        match error {
            ureq::Error::Timeout(Timeout::Connect) => self.no_connection_in_time(url),
            ureq::Error::Timeout(_) => self.not_in_time(url),
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::ConnectionFailed => {
                let reason = error.to_string();
                RemoteError::NoConnection { host, reason }
            }
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let reason = "it refuses".into();
                RemoteError::NoConnection { host, reason }
            }
            error => {
                let reason = error.to_string();
                RemoteError::BrokeOff { host, reason }
            }
        }
    }

    fn no_connection_in_time(&self, url: &Url) -> RemoteError {
        RemoteError::ConnectTime {
            host: address::host(url),
            seconds: self.limits.connect.as_secs(),
        }
    }

    fn not_in_time(&self, url: &Url) -> RemoteError {
        RemoteError::Time {
            host: address::host(url),
            seconds: self.limits.whole.as_secs(),
        }
    }
}

/// Whether an address is one of these, or carries one within.
fn leads_to(address: IpAddr, own: &[IpAddr]) -> bool {
    let within = match address {
        IpAddr::V6(address) => policy::hidden_v4(address),
        IpAddr::V4(_) => None,
    };
    own.contains(&address.to_canonical()) || within.is_some_and(|within| own.contains(&within.into()))
}

/// Lets pictures through, and bytes that say nothing about themselves: many stores of files
/// send those. The decoder has the last word on both.
fn check_type(content_type: &str) -> Result<(), RemoteError> {
    let essence = content_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    match essence.as_str() {
        "image/svg+xml" => Err(RemoteError::Drawing),
        "text/html" | "application/xhtml+xml" => Err(RemoteError::WebPage),
        "" | "application/octet-stream" | "binary/octet-stream" => Ok(()),
        picture if picture.starts_with("image/") => Ok(()),
        other => Err(RemoteError::NotAPicture(quoted(other))),
    }
}

/// Nothing is unpacked here, whatever it would grow to.
fn check_encoding(encoding: &str) -> Result<(), RemoteError> {
    match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(()),
        other => Err(RemoteError::Compressed(quoted(other))),
    }
}

/// A server's words in a sentence of ours: no more than a word, and nothing that a terminal
/// would take for a command.
fn quoted(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().take(100).map(plain).collect()
}

#[cfg(test)]
mod tests;
