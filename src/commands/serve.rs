//! `glimpse serve`: the page.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::CommandResult;
use super::options::ModelArgs;
use crate::blip2::processor::PictureLimits;
use crate::engine::Engine;
use crate::remote::{FetchLimits, Fetcher, Reach};
use crate::server::{self, Limits};
use crate::store::{Store, StoreLimits};

#[derive(Args)]
pub struct ServeArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Where to listen; 0.0.0.0:7860 lets other machines in
    #[arg(
        long,
        env = "GLIMPSE_ADDR",
        default_value = "127.0.0.1:7860",
        value_name = "ADDRESS:PORT"
    )]
    addr: SocketAddr,

    /// A folder to keep conversations in, so that they outlive the process
    /// [default: in memory only]
    #[arg(long, env = "GLIMPSE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// Whether visitors may put in a picture from an http(s) address, which this machine then
    /// fetches, from public addresses only [default: yes when --addr is a loopback address]
    #[arg(long, env = "GLIMPSE_ALLOW_PICTURE_URLS", value_name = "YES|NO", num_args = 0..=1, require_equals = true,
          default_missing_value = "yes", value_parser = BoolishValueParser::new())]
    allow_picture_urls: Option<bool>,

    /// A private address that pictures may be fetched from all the same, such as 10.0.0.5:8080;
    /// may be given several times
    #[arg(
        long,
        env = "GLIMPSE_ALLOW_PICTURE_SOURCE",
        value_name = "ADDRESS:PORT",
        value_delimiter = ','
    )]
    allow_picture_source: Vec<SocketAddr>,

    #[command(flatten)]
    limits: LimitArgs,
}

/// What visitors may ask of this server.
#[derive(Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Bytes of a picture's file
    #[arg(long, env = "GLIMPSE_MAX_UPLOAD_BYTES", default_value_t = PictureLimits::default().max_bytes, value_name = "N")]
    max_upload_bytes: usize,

    /// Pixels of a picture, width times height
    #[arg(long, env = "GLIMPSE_MAX_PIXELS", default_value_t = PictureLimits::default().max_pixels, value_name = "N")]
    max_pixels: u64,

    /// Characters of a question
    #[arg(long, env = "GLIMPSE_MAX_QUESTION_CHARS", default_value_t = 2000, value_name = "N")]
    max_question_chars: usize,

    /// Tokens of an answer, as many as a visitor may ask for
    #[arg(long, env = "GLIMPSE_MAX_NEW_TOKENS", default_value_t = 200, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    max_new_tokens: u16,

    /// Beams, and answers to one question, as many as a visitor may ask for, 1 to 10
    #[arg(long, env = "GLIMPSE_MAX_BEAMS", default_value_t = 10, value_name = "N",
          value_parser = clap::value_parser!(u8).range(1..=10))]
    max_beams: u8,

    /// Questions that may wait for the model
    #[arg(long, env = "GLIMPSE_MAX_WAITING", default_value_t = 32, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..))]
    max_waiting: u16,

    /// Connections at the same time; others wait until one has ended
    #[arg(long, env = "GLIMPSE_MAX_CONNECTIONS", default_value_t = 1000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,

    /// Seconds that a connection may take to send the head of its (next) request
    #[arg(long, env = "GLIMPSE_MAX_HEAD_SECONDS", default_value_t = 90, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..))]
    max_head_seconds: u16,

    /// Conversations that are kept; the one looked at longest ago makes room
    #[arg(long, env = "GLIMPSE_MAX_CONVERSATIONS", default_value_t = 1000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    max_conversations: u32,

    /// Turns of a conversation
    #[arg(long, env = "GLIMPSE_MAX_TURNS", default_value_t = 100, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..))]
    max_turns: u16,

    /// Seconds that an answer may take, waiting included
    #[arg(long, env = "GLIMPSE_MAX_ANSWER_SECONDS", default_value_t = 600, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    max_answer_seconds: u32,

    /// Seconds until the server of a picture's address must be connected to
    #[arg(long, env = "GLIMPSE_MAX_CONNECT_SECONDS", default_value_t = 5, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..))]
    max_connect_seconds: u16,

    /// Seconds that fetching a picture from an address may take
    #[arg(long, env = "GLIMPSE_MAX_FETCH_SECONDS", default_value_t = 30, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..))]
    max_fetch_seconds: u16,

    /// Seconds that an answer goes on after its visitor's connection is lost
    #[arg(long, env = "GLIMPSE_GRACE_SECONDS", default_value_t = 30, value_name = "N")]
    grace_seconds: u32,
}

/// Tokens of an answer where the visitor does not say: enough for a sentence or two.
const DEFAULT_NEW_TOKENS: usize = 50;

impl ServeArgs {
    /// What fetches pictures for visitors, if anything does.
    fn fetcher(&self) -> Option<Fetcher> {
        let allowed = self.allow_picture_urls.unwrap_or(self.addr.ip().is_loopback());
        let reach = Reach::Public {
            also: self.allow_picture_source.clone(),
        };
        let limits = FetchLimits {
            max_bytes: self.limits.max_upload_bytes,
            connect: Duration::from_secs(self.limits.max_connect_seconds.into()),
            whole: Duration::from_secs(self.limits.max_fetch_seconds.into()),
        };
        allowed.then(|| Fetcher::new(reach, limits))
    }
}

impl From<LimitArgs> for Limits {
    fn from(args: LimitArgs) -> Self {
        Self {
            picture: PictureLimits {
                max_bytes: args.max_upload_bytes,
                max_pixels: args.max_pixels,
                ..PictureLimits::default()
            },
            question_chars: args.max_question_chars,
            max_new_tokens: args.max_new_tokens.into(),
            default_new_tokens: DEFAULT_NEW_TOKENS,
            beams: args.max_beams.into(),
            connections: args.max_connections,
            head_time: Duration::from_secs(args.max_head_seconds.into()),
            queue: args.max_waiting.into(),
            answer_time: Duration::from_secs(args.max_answer_seconds.into()),
            grace: Duration::from_secs(args.grace_seconds.into()),
        }
    }
}

pub fn run(args: ServeArgs) -> CommandResult {
    if !server::has_page() {
        return Err("This glimpse was built without its page. Build it with `make build`.".into());
    }
    let kept = StoreLimits {
        conversations: args.limits.max_conversations as usize,
        turns: args.limits.max_turns.into(),
    };
    let fetcher = args.fetcher();
    let store = match args.data {
        Some(folder) => Store::in_folder(folder, kept)?,
        None => Store::in_memory(kept),
    };
    let limits = Limits::from(args.limits);
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(async {
        let listener = server::bind(args.addr).await?;
        // The model takes a while: not on a thread that should be watching connections.
        let model = tokio::task::spawn_blocking(|| args.model.load()).await??;
        let engine = Engine::start(model, limits.queue)?;
        Ok(server::serve(listener, engine, store, limits, fetcher).await?)
    });
    // A picture that is still being decoded is nobody's any more.
    runtime.shutdown_background();
    result
}
