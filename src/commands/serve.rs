//! `glimpse serve`: the page.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use candle_core::Device;
use clap::Args;
use clap::builder::BoolishValueParser;
use url::Url;

use super::addr::Listen;
use super::customization::CustomizationArgs;
use super::engine::{EngineArgs, StartedModels};
use super::log::LogFormat;
use super::number_args::{Bytes, of, whole};
use super::options::ModelArgs;
use super::picture::PictureLimitArgs;
use super::several_models::SeveralModelsArgs;
use super::{CommandResult, UsageError};
use crate::engine::{BatchLimits, PictureSource, QueueLimits};
use crate::generation::bounds;
use crate::models::available_memory;
use crate::processor::PictureLimits;
use crate::remote::{FetchLimits, Fetcher, Reach};
use crate::server::{
    self, HostName, Hosts, Limits, Network, Pace, Placement, RootPath, TrustedProxies, Watcher, Watchers,
};
use crate::service::{self, Service};
use crate::store::{self, SqliteStore};

#[derive(Args)]
pub struct ServeArgs {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    several: SeveralModelsArgs,

    #[command(flatten)]
    engine: EngineArgs,

    /// Where to listen; 0.0.0.0:7860 lets other machines in. A port alone, as 7860 or :7860,
    /// is this machine alone, and localhost is both 127.0.0.1 and ::1
    #[arg(
        long,
        env = "GLIMPSE_ADDR",
        default_value = "localhost:7860",
        value_name = "ADDRESS:PORT"
    )]
    addr: Listen,

    /// What a line of the log is: text for people, or JSON for programs
    #[arg(long, env = "GLIMPSE_LOG_FORMAT", value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// A folder to keep conversations in, so that they outlive the process
    /// [default: a temporary folder, which is removed at the end]
    #[arg(long, env = "GLIMPSE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// Whether visitors may put in a picture from an http(s) address, which this machine then
    /// fetches, from public addresses only that are not its own, nor that of --public-url [default:
    /// yes when --addr is a loopback address]
    #[arg(long, env = "GLIMPSE_ALLOW_PICTURE_URLS", value_name = "YES|NO", num_args = 0..=1, require_equals = true,
          default_missing_value = "yes", value_parser = BoolishValueParser::new())]
    allow_picture_urls: Option<bool>,

    /// A private address that pictures may be fetched from all the same, such as 10.0.0.5:8080;
    /// may be given several times, or as a list with commas
    #[arg(
        long,
        env = "GLIMPSE_ALLOW_PICTURE_SOURCE",
        value_name = "ADDRESS:PORT",
        value_delimiter = ',',
        value_parser = picture_source
    )]
    allow_picture_source: Vec<SocketAddr>,

    /// Where visitors find this server, where it is not told so by them: behind a proxy that
    /// changes the host, such as `https://demo.example`
    #[arg(long, env = "GLIMPSE_PUBLIC_URL", value_name = "URL", value_parser = public_url)]
    public_url: Option<Url>,

    /// A further name that a server on a loopback address is asked by, as by a proxy on this
    /// machine; may be given several times, or as a list with commas. It answers to localhost
    /// and to --public-url without
    #[arg(long, env = "GLIMPSE_HOST_NAME", value_name = "NAME", value_delimiter = ',')]
    host_name: Vec<HostName>,

    /// The proxies, such as 10.0.0.0/8 or 127.0.0.1, from whom X-Forwarded-For (or Forwarded) is
    /// taken for who asks, by whom the limits per visitor are counted, and X-Forwarded-Proto; may be
    /// given several times, or as a list with commas [default: none, so that whoever connects asks]
    #[arg(long, env = "GLIMPSE_TRUSTED_PROXIES", value_name = "NETWORK", value_delimiter = ',')]
    trusted_proxies: Vec<Network>,

    /// The path below which visitors find this server, such as /glimpse, whether the proxy before
    /// it strips that or not [default: the path of --public-url, or what a trusted proxy's
    /// X-Forwarded-Prefix says]
    #[arg(long, env = "GLIMPSE_ROOT_PATH", value_name = "PATH")]
    root_path: Option<RootPath>,

    /// From where /metrics (Prometheus) and /status (a page) may be read, which say how much is
    /// asked and how fast it is answered, and nothing of what: networks such as 10.0.0.0/8; none is
    /// nobody. May be given several times, or as a list with commas. Through a proxy only where it is
    /// one of --trusted-proxies and names who asks [default: 127.0.0.1,::1, this machine]
    #[arg(
        long,
        env = "GLIMPSE_METRICS_FROM",
        value_name = "NETWORK|none",
        value_delimiter = ','
    )]
    metrics_from: Vec<Watcher>,

    #[command(flatten)]
    customization: CustomizationArgs,

    #[command(flatten)]
    picture: PictureLimitArgs,

    /// Memory that pictures and other bodies may take while they come and are decoded, those
    /// of all visitors together, as 2GB; auto is a quarter of what is free when the model is
    /// loaded
    #[arg(
        long,
        env = "GLIMPSE_MAX_PICTURE_MEMORY",
        default_value = "auto",
        value_name = "BYTES|auto",
        help_heading = "Limits"
    )]
    max_picture_memory: PictureMemory,

    #[command(flatten)]
    limits: LimitArgs,
}

fn public_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or("write it as https://demo.example")?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("write it without ? and #, as https://demo.example/glimpse");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("write it without a user and a password, as https://demo.example");
    }
    Ok(url)
}

fn picture_source(text: &str) -> Result<SocketAddr, &'static str> {
    text.trim()
        .parse()
        .map_err(|_| "write a number and a port, as 10.0.0.5:8080 or [fd00::5]:8080")
}

/// Limits: flag, environment variable, default and range of each, and what it counts.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $number:ty = $default:expr, $variable:literal, $range:expr;)+) => {
        /// What visitors may ask of this server.
        #[derive(Args)]
        #[command(next_help_heading = "Limits")]
        struct LimitArgs {
            $($(#[doc = $doc])+
            #[arg(long, env = $variable, default_value_t = $default, value_name = "N",
                  allow_negative_numbers = true, value_parser = whole::<$number>($range))]
            $name: $number,)+
        }
    };
}

limits! {
    /// Characters of a question, or of a text that is compared with a picture
    max_question_chars: usize = 2000, "GLIMPSE_MAX_QUESTION_CHARS", 1..=1_000_000;
    /// Texts that are compared with a picture at once, by a model that does that
    max_texts: u16 = 32, "GLIMPSE_MAX_TEXTS", 1..=1000;
    /// Tokens of an answer, as many as a visitor may ask for
    max_new_tokens: u16 = 200, "GLIMPSE_MAX_NEW_TOKENS", of(bounds::MAX_NEW_TOKENS);
    /// Beams, and answers to one question, as many as a visitor may ask for
    max_beams: u8 = 10, "GLIMPSE_MAX_BEAMS", of(bounds::NUM_BEAMS);
    /// Questions that may wait for the model
    max_waiting: u16 = 32, "GLIMPSE_MAX_WAITING", 1..=u16::MAX.into();
    /// Questions of one visitor that may wait for the model; of a network four times as many, and at
    /// most three quarters of all
    max_waiting_per_visitor: u16 = 4, "GLIMPSE_MAX_WAITING_PER_VISITOR", 1..=u16::MAX.into();
    /// Answers that go on together, each beam counted as one
    max_batch_rows: u16 = 16, "GLIMPSE_MAX_BATCH_ROWS", 1..=1024;
    /// Milliseconds that answers wait for prompts and pictures of others between two tokens, where
    /// the device takes less for a layer. A step of the model that takes ten times as long, and 5
    /// seconds, is told in the log
    max_gap: u32 = 250, "GLIMPSE_MAX_GAP", 1..=60_000;
    /// Megabytes of pictures and prompts, as the model has read them, that are kept for whoever asks
    /// about them again; the page's examples are read into it while nobody asks anything
    picture_cache: u32 = 1024, "GLIMPSE_PICTURE_CACHE", 0..=1_000_000;
    /// Connections at the same time; others wait until one has ended
    max_connections: u32 = 1000, "GLIMPSE_MAX_CONNECTIONS", 1..=1_000_000;
    /// Connections at the same time from one address, or one IPv6 network, but for this machine
    max_connections_per_address: u32 = 64, "GLIMPSE_MAX_CONNECTIONS_PER_ADDRESS", 1..=1_000_000;
    /// Bytes a second that the body of a request has to come at, from its tenth second on
    min_body_rate: u32 = 16 << 10, "GLIMPSE_MIN_BODY_RATE", 1..=u32::MAX.into();
    /// Seconds that a connection may read nothing of what is sent to it
    max_write_seconds: u16 = 30, "GLIMPSE_MAX_WRITE_SECONDS", 1..=u16::MAX.into();
    /// Seconds that a connection may take to send the head of its (next) request
    max_head_seconds: u16 = 10, "GLIMPSE_MAX_HEAD_SECONDS", 1..=u16::MAX.into();
    /// Conversations that are kept; the one in which something was asked or answered longest ago
    /// makes room
    max_conversations: u32 = 1000, "GLIMPSE_MAX_CONVERSATIONS", 1..=u32::MAX.into();
    /// Conversations of one visitor that are kept; his own oldest makes room
    max_conversations_per_visitor: u32 = 100, "GLIMPSE_MAX_CONVERSATIONS_PER_VISITOR", 1..=u32::MAX.into();
    /// Megabytes that the pictures of one visitor may take on the disk; his own oldest make room. A
    /// network's may take four times as many
    max_megabytes_per_visitor: u32 = 1000, "GLIMPSE_MAX_MEGABYTES_PER_VISITOR", 1..=u32::MAX.into();
    /// Megabytes that everything kept may take on the disk; of all conversations, the one in which
    /// something was asked or answered longest ago makes room
    max_stored_megabytes: u32 = 10_000, "GLIMPSE_MAX_STORED_MEGABYTES", 1..=u32::MAX.into();
    /// Days that a conversation is kept after something was last asked or answered in it; it goes
    /// when the next one begins. 0 keeps it until another one needs its room
    keep_conversations: u16 = 0, "GLIMPSE_KEEP_CONVERSATIONS", 0..=u16::MAX.into();
    /// Questions that a visitor may ask within a minute; a network may ask four times as many
    max_questions_per_minute: u32 = 60, "GLIMPSE_MAX_QUESTIONS_PER_MINUTE", 1..=u32::MAX.into();
    /// Pictures that a visitor may have fetched from addresses within a minute; a network may have
    /// four times as many
    max_fetches_per_minute: u32 = 60, "GLIMPSE_MAX_FETCHES_PER_MINUTE", 1..=u32::MAX.into();
    /// Turns of a conversation
    max_turns: u16 = 100, "GLIMPSE_MAX_TURNS", 1..=u16::MAX.into();
    /// Seconds that a question may wait until the model begins with it
    max_wait_seconds: u32 = 600, "GLIMPSE_MAX_WAIT_SECONDS", 1..=u32::MAX.into();
    /// Seconds that an answer may take once the model has begun with it
    max_answer_seconds: u32 = 600, "GLIMPSE_MAX_ANSWER_SECONDS", 1..=u32::MAX.into();
    /// Seconds until the server of a picture's address must be connected to
    max_connect_seconds: u16 = 5, "GLIMPSE_MAX_CONNECT_SECONDS", 1..=u16::MAX.into();
    /// Seconds that fetching a picture from an address may take
    max_fetch_seconds: u16 = 30, "GLIMPSE_MAX_FETCH_SECONDS", 1..=u16::MAX.into();
    /// Seconds that answers which have begun may go on when the process is asked to end (SIGTERM,
    /// Ctrl-C), while no more questions are taken; asked a second time it ends at once. 0 ends them
    /// at the first
    drain_seconds: u16 = 10, "GLIMPSE_DRAIN_SECONDS", 0..=u16::MAX.into();
    /// Seconds that an answer goes on after its visitor's connection is lost
    grace_seconds: u32 = 30, "GLIMPSE_GRACE_SECONDS", 0..=u32::MAX.into();
    /// Seconds after its end that an answer can still be taken up by whoever lost the connection
    keep_answers: u32 = 600, "GLIMPSE_KEEP_ANSWERS", 0..=u32::MAX.into();
}

/// The value of `--max-picture-memory`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum PictureMemory {
    Auto,
    Bytes(u64),
}

impl FromStr for PictureMemory {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let wrong = "write auto, or a number of bytes, as 2GB, 500MiB or 500M; a small picture takes 12M";
        let bytes = text.parse::<Bytes>().map_err(|_| wrong)?.0;
        match bytes < service::LEAST_PICTURE_MEMORY {
            true => Err(wrong),
            false => Ok(Self::Bytes(bytes)),
        }
    }
}

impl PictureMemory {
    /// Where the system does not say what is free.
    const UNKNOWN: u64 = 1 << 30;

    fn bytes(self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Auto => available_memory::available(&Device::Cpu).map_or(Self::UNKNOWN, |free| free.bytes / 4),
        }
    }
}

/// How long a body may take however little comes: a slow line has to get going.
const BODY_START: Duration = Duration::from_secs(10);

/// Tokens of an answer where the visitor does not say: enough for a sentence or two.
const DEFAULT_NEW_TOKENS: usize = 50;

impl ServeArgs {
    /// Where visitors find the page below its host; `--public-url` may say it too.
    ///
    /// # Errors
    /// The path of `--public-url` cannot be one, or is another than `--root-path`.
    fn root_path(&self) -> Result<RootPath, UsageError> {
        let public = self.public_url.as_ref().map(Url::path).filter(|path| *path != "/");
        let Some(path) = public else {
            return Ok(self.root_path.clone().unwrap_or_default());
        };
        let wrong = |error| {
            UsageError(format!(
                "--public-url (GLIMPSE_PUBLIC_URL) has the path {path}: {error}."
            ))
        };
        let public: RootPath = path.parse().map_err(wrong)?;
        if self.root_path.as_ref().is_some_and(|root_path| *root_path != public) {
            return Err(wrong(OTHER_PATH));
        }
        Ok(public)
    }

    /// What fetches pictures for visitors, if anything does.
    ///
    /// # Errors
    /// Places to fetch from, where nothing is fetched.
    fn fetcher(&self) -> Result<Option<Fetcher>, UsageError> {
        let also = self.allow_picture_source.clone();
        if !self.allow_picture_urls.unwrap_or(self.addr.is_loopback()) {
            return if also.is_empty() {
                Ok(None)
            } else {
                Err(UsageError(NO_SOURCE.into()))
            };
        }
        let limits = FetchLimits {
            max_bytes: self.picture.limits().max_bytes,
            connect: Duration::from_secs(self.limits.max_connect_seconds.into()),
            whole: Duration::from_secs(self.limits.max_fetch_seconds.into()),
        };
        let own_host = self.public_url.as_ref().and_then(Url::host_str).map(str::to_owned);
        let fetcher = Fetcher::new(Reach::Public { also }, limits).known_as(own_host);
        Ok(Some(fetcher))
    }
}

const OTHER_PATH: &str = "--root-path (GLIMPSE_ROOT_PATH) is another one. Leave one of them out";

const NO_SOURCE: &str = "--allow-picture-source (GLIMPSE_ALLOW_PICTURE_SOURCE) names where pictures may be fetched from, and this server fetches none. Add --allow-picture-urls, or leave it out.";

impl LimitArgs {
    fn of_connections(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            connections_per_address: self.max_connections_per_address,
            pace: Pace {
                start: BODY_START,
                bytes_per_second: self.min_body_rate,
            },
            head_time: Duration::from_secs(self.max_head_seconds.into()),
            write_time: Duration::from_secs(self.max_write_seconds.into()),
            drain_time: Duration::from_secs(self.drain_seconds.into()),
        }
    }

    fn of_batches(&self) -> BatchLimits {
        BatchLimits {
            rows: self.max_batch_rows.into(),
            max_gap: Duration::from_millis(self.max_gap.into()),
            picture_cache: u64::from(self.picture_cache) * 1_000_000,
        }
    }

    fn of_queue(&self) -> QueueLimits {
        QueueLimits {
            waiting: self.max_waiting.into(),
            waiting_per_client: self.max_waiting_per_visitor.into(),
        }
    }

    fn of_store(&self) -> store::Limits {
        store::Limits {
            conversations: self.max_conversations as usize,
            conversations_per_visitor: self.max_conversations_per_visitor as usize,
            bytes_per_visitor: u64::from(self.max_megabytes_per_visitor) * 1_000_000,
            bytes: u64::from(self.max_stored_megabytes) * 1_000_000,
            age: match self.keep_conversations {
                0 => None,
                days => Some(Duration::from_secs(u64::from(days) * 24 * 3600)),
            },
            turns: self.max_turns.into(),
        }
    }

    fn of_visitors(&self, picture: PictureLimits, picture_memory: u64) -> service::Limits {
        service::Limits {
            picture,
            picture_memory,
            question_chars: self.max_question_chars,
            texts: self.max_texts.into(),
            max_new_tokens: self.max_new_tokens.into(),
            default_new_tokens: DEFAULT_NEW_TOKENS,
            beams: self.max_beams.into(),
            wait_time: Duration::from_secs(self.max_wait_seconds.into()),
            answer_time: Duration::from_secs(self.max_answer_seconds.into()),
            grace: Duration::from_secs(self.grace_seconds.into()),
            keep_answers: Duration::from_secs(self.keep_answers.into()),
            questions_per_minute: self.max_questions_per_minute as usize,
            fetches_per_minute: self.max_fetches_per_minute as usize,
            store: self.of_store(),
        }
    }
}

pub fn run(args: ServeArgs) -> CommandResult {
    if !server::has_page() {
        return Err("This glimpse was built without its page. Build it with `make build`.".into());
    }
    let fetcher = args.fetcher()?;
    let root_path = args.root_path()?;
    let customization = args.customization.read(args.picture.limits())?;
    let examples = customization.examples.clone();
    let (connections, queue) = (args.limits.of_connections(), args.limits.of_queue());
    let batches = args.limits.of_batches();
    let proxies: TrustedProxies = args.trusted_proxies.into_iter().collect();
    let placement = Placement {
        hosts: Hosts {
            public: args.public_url,
            names: args.host_name,
            is_local: args.addr.is_loopback(),
        },
        watchers: Watchers::new(&args.metrics_from, proxies.clone()),
        proxies,
        root_path,
    };
    let mut model = args.model;
    let machine = model.machine();
    if let Some(folder) = &args.data {
        model.packed_weights_default(folder.join("packed"));
    }
    // Before the page is there: somebody may have to be asked.
    let requests = args.engine.requests(&model)?;
    let models = StartedModels {
        memory: if requests.len() > 1 { model.memory()? } else { None },
        requests,
        several: args.several,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(model.start_threads())
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let listeners = server::Listeners::bind(args.addr.addresses()).await?;
        let loading = async {
            let kept = args.limits.of_store();
            let store = match args.data {
                Some(folder) => SqliteStore::in_folder(folder, &kept).await?,
                None => SqliteStore::temporary(std::env::temp_dir(), &kept).await?,
            };
            // It takes a while: not on a thread that should be watching connections.
            let pictures: PictureSource = Arc::new(move || Box::new(examples.pictures()));
            let start = move || args.engine.start(models, queue, batches, pictures);
            let engines = tokio::task::spawn_blocking(start).await??;
            // How much memory is free turns out when the model is loaded.
            let memory = args.max_picture_memory.bytes();
            tracing::info!(
                "pictures may take {} MB of memory at a time (--max-picture-memory)",
                memory.div_ceil(1_000_000)
            );
            let visitors = args.limits.of_visitors(args.picture.limits(), memory);
            Ok(Service::new(engines, Arc::new(store), visitors, fetcher))
        };
        server::serve(listeners, loading, connections, placement, customization, machine).await
    });
    // A picture that is still being decoded is nobody's any more.
    runtime.shutdown_background();
    result
}
