//! What rooms below say, in the words of [`chat::Error`](Error); what is nobody's doing but
//! ours is logged here, once, with all that it came from.

use super::memory::MemoryError;
use crate::chat::{Detail, Error, Missing, PictureLimit};
use crate::engine::EngineError;
use crate::generation::{GenerationError, OptionsError};
use crate::processor::{HEIC, PictureError, SVG, TextError};
use crate::remote::RemoteError;
use crate::store::StoreError;

impl From<PictureError> for Error {
    fn from(error: PictureError) -> Self {
        let too_large = |limited, actual, limit| Self::PictureTooLarge {
            limited,
            actual: Some(actual),
            limit,
        };
        match error {
            PictureError::TooManyBytes { bytes, max_bytes } => {
                too_large(PictureLimit::Bytes, bytes as u64, max_bytes as u64)
            }
            PictureError::TooManyPixels { pixels, max_pixels, .. } => {
                too_large(PictureLimit::Pixels, pixels, max_pixels)
            }
            PictureError::TooLong {
                width,
                height,
                max_side,
            } => too_large(PictureLimit::Side, width.max(height), max_side),
            other => Self::PictureUnreadable {
                detail: unreadable(&other),
            },
        }
    }
}

fn unreadable(error: &PictureError) -> Detail {
    let text = error.to_string();
    let of_format = |reason, format: &str| Detail::new(reason, &text, [("format", format.to_owned())]);
    let because = |reason, format: &str, why: &String| {
        Detail::new(reason, &text, [("format", format.to_owned()), ("reason", why.clone())])
    };
    match error {
        PictureError::Empty => Detail::new("picture_empty", text, []),
        PictureError::NotAPicture => Detail::new("picture_none", text, []),
        PictureError::OtherFormat { name } => {
            let reason = match *name {
                HEIC => "picture_heic",
                SVG => "picture_svg",
                _ => "picture_other",
            };
            Detail::new(reason, text, [("name", (*name).to_owned())])
        }
        PictureError::Truncated { format } => of_format("picture_truncated", format),
        PictureError::Damaged { format, reason } => because("picture_damaged", format, reason),
        PictureError::Unsupported { format, reason } => because("picture_variety", format, reason),
        // Those are too large, which is said elsewhere.
        PictureError::TooManyBytes { .. } | PictureError::TooManyPixels { .. } | PictureError::TooLong { .. } => {
            text.into()
        }
    }
}

impl From<MemoryError> for Error {
    fn from(error: MemoryError) -> Self {
        match error {
            MemoryError::NeverFits { bytes, limit } => Self::PictureTooLarge {
                limited: PictureLimit::Memory,
                actual: Some(bytes as u64),
                limit: limit as u64,
            },
            MemoryError::Full | MemoryError::CutOff => Self::MemoryFull,
        }
    }
}

impl From<RemoteError> for Error {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::TooManyBytes { max_bytes } => Self::PictureTooLarge {
                limited: PictureLimit::Bytes,
                actual: None,
                limit: max_bytes as u64,
            },
            RemoteError::WebPage | RemoteError::Drawing | RemoteError::NotAPicture(_) => Self::PictureUnreadable {
                detail: not_fetched(&error),
            },
            other => Self::AddressRefused {
                detail: not_fetched(&other),
            },
        }
    }
}

fn not_fetched(error: &RemoteError) -> Detail {
    let text = error.to_string();
    let plain = |reason| Detail::new(reason, &text, []);
    let with =
        |reason, name: &str, value: &dyn std::fmt::Display| Detail::new(reason, &text, [(name, value.to_string())]);
    let of_host = |reason, host: &String, name: &str, value: &dyn std::fmt::Display| {
        Detail::new(reason, &text, [("host", host.clone()), (name, value.to_string())])
    };
    match error {
        RemoteError::NotAnAddress { reason } => with("remote_not_an_address", "reason", reason),
        RemoteError::TooLong { bytes, max_bytes } => {
            let values = [("bytes", bytes.to_string()), ("limit", max_bytes.to_string())];
            Detail::new("remote_long", &text, values)
        }
        RemoteError::Credentials => plain("remote_credentials"),
        RemoteError::Port(port) => with("remote_port", "port", port),
        RemoteError::Private { what } => with("remote_private", "what", what),
        RemoteError::HostNotFound { host } => with("remote_not_found", "host", host),
        RemoteError::NoPublicHost { host } => with("remote_not_public", "host", host),
        RemoteError::TooManyRedirects(limit) => with("remote_redirects", "limit", limit),
        RemoteError::BadRedirect { reason } => with("remote_redirect", "reason", reason),
        RemoteError::NoConnection { host, reason } => of_host("remote_no_connection", host, "reason", reason),
        RemoteError::ConnectTime { host, seconds } => of_host("remote_connect_time", host, "count", seconds),
        RemoteError::Time { host, seconds } => of_host("remote_time", host, "count", seconds),
        RemoteError::Status { host, status } => of_host("remote_status", host, "status", status),
        RemoteError::WebPage => plain("remote_web_page"),
        RemoteError::Drawing => plain("remote_drawing"),
        RemoteError::NotAPicture(kind) => with("remote_not_a_picture", "type", kind),
        RemoteError::Compressed(how) => with("remote_compressed", "how", how),
        // It is too large, which is said elsewhere.
        RemoteError::TooManyBytes { .. } => text.into(),
        RemoteError::BrokeOff { host, reason } => of_host("remote_broke_off", host, "reason", reason),
    }
}

/// What is wrong with a setting, whose name whoever set it knows as it is `called`.
pub fn refused_setting(error: &OptionsError, called: impl Fn(&'static str) -> String) -> Detail {
    let text = error.sentence(&called);
    let [beams, sampling, sequences] = ["num_beams", "do_sample", "num_return_sequences"].map(&called);
    let number = |number: &usize| number.to_string();
    match error {
        OptionsError::OutOfRange {
            name,
            value,
            min,
            max,
            is_whole,
        } => {
            let reason = match (value.is_nan(), is_whole) {
                (true, _) => "not_a_number",
                (false, true) => "out_of_range",
                (false, false) => "not_whole",
            };
            let [value, min, max] = [value, min, max].map(f64::to_string);
            let values = [("name", called(name)), ("value", value), ("min", min), ("max", max)];
            Detail::new(reason, text, values)
        }
        OptionsError::MinAboveMax { min, max } => {
            let [least, most] = ["min_new_tokens", "max_new_tokens"].map(&called);
            let values = [
                ("least", least),
                ("min", number(min)),
                ("most", most),
                ("max", number(max)),
            ];
            Detail::new("min_above_max", text, values)
        }
        OptionsError::NeedsSampling(name) => {
            Detail::new("needs_sampling", text, [("name", called(name)), ("sampling", sampling)])
        }
        OptionsError::NeedsBeams(name) => Detail::new("needs_beams", text, [("name", called(name)), ("beams", beams)]),
        OptionsError::OneGreedyAnswer(count) => {
            let values = [
                ("sequences", sequences),
                ("count", number(count)),
                ("sampling", sampling),
                ("beams", beams),
            ];
            Detail::new("one_greedy_answer", text, values)
        }
        OptionsError::FewerBeams {
            sequences: asked,
            beams: searched,
        } => {
            let values = [
                ("sequences", sequences),
                ("asked", number(asked)),
                ("beams", beams),
                ("searched", number(searched)),
            ];
            Detail::new("fewer_beams", text, values)
        }
    }
}

/// What the model cannot be asked, or cannot be asked so.
fn refused_question(error: &EngineError) -> Detail {
    let text = error.to_string();
    let plain = |reason| Detail::new(reason, &text, []);
    let long = |reason, tokens: &usize, limit: &usize| {
        let values = [("tokens", tokens.to_string()), ("limit", limit.to_string())];
        Detail::new(reason, &text, values)
    };
    match error {
        EngineError::Prompt(TextError::ImageTokenInText) => plain("image_token"),
        EngineError::Prompt(TextError::AnswersNoQuestions) => plain("answers_no_questions"),
        EngineError::Prompt(TextError::WritesNoCaptions) => plain("writes_no_captions"),
        EngineError::Prompt(TextError::WritesNothing) => plain("writes_nothing"),
        EngineError::Prompt(TextError::ComparesNothing) => plain("model_compares_nothing"),
        EngineError::Prompt(TextError::TextTooLong {
            beginning,
            tokens,
            limit,
        }) => {
            let values = [
                ("beginning", beginning.clone()),
                ("tokens", tokens.to_string()),
                ("limit", limit.to_string()),
            ];
            Detail::new("long_text", text, values)
        }
        EngineError::Generation(GenerationError::PromptTooLong { tokens, limit }) => long("long_prompt", tokens, limit),
        EngineError::Generation(GenerationError::NoRoom { tokens, limit }) => long("no_room", tokens, limit),
        EngineError::Generation(GenerationError::NothingToDraw) => plain("nothing_to_draw"),
        _ => text.into(),
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound {
                what: Missing::Conversation,
            },
            StoreError::NoPictureFile { .. } => {
                tracing::warn!("{error}");
                Self::NotFound {
                    what: Missing::PictureFile,
                }
            }
            StoreError::TurnInProgress => Self::TurnInProgress,
            StoreError::VisitorFull { bytes, limit } => Self::PictureTooLarge {
                limited: PictureLimit::Kept,
                actual: Some(bytes),
                limit,
            },
            StoreError::TooManyTurns { limit } => Self::TooManyTurns { limit },
            StoreError::Full { bytes, limit } => Self::PictureTooLarge {
                limited: PictureLimit::Stored,
                actual: Some(bytes),
                limit,
            },
            // The last thing that a process does.
            StoreError::Closed => Self::Ending,
            StoreError::TooSlow(_) => {
                tracing::warn!("{error}");
                Self::StoreBusy
            }
            other => internal(&other),
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match &error {
            EngineError::QueueFull { limit } => Self::QueueFull { limit: *limit },
            EngineError::ClientQueueFull { limit } => Self::VisitorQueueFull { limit: *limit },
            EngineError::NetworkQueueFull { limit } => Self::NetworkQueueFull { limit: *limit },
            EngineError::Generation(GenerationError::TooMuchMemory { rows, needed, budget }) => {
                Self::QuestionTooLarge {
                    rows: *rows,
                    needed: *needed,
                    budget: *budget,
                }
            }
            EngineError::Prompt(
                TextError::ImageTokenInText
                | TextError::AnswersNoQuestions
                | TextError::WritesNoCaptions
                | TextError::WritesNothing
                | TextError::ComparesNothing
                | TextError::TextTooLong { .. },
            )
            | EngineError::Generation(GenerationError::PromptTooLong { .. } | GenerationError::NoRoom { .. }) => {
                Self::QuestionRefused {
                    detail: refused_question(&error),
                }
            }
            EngineError::Generation(GenerationError::NothingToDraw) => Self::SettingRefused {
                detail: refused_question(&error),
                flag: None,
            },
            // Why is in the log already, once for all who waited.
            EngineError::NotLoaded { model, .. } => Self::ModelNotLoaded { model: model.clone() },
            EngineError::Gone | EngineError::DeviceFailed => {
                tracing::error!("{error}");
                Self::model_gone()
            }
            _ => {
                tracing::error!("{}", with_sources(&error));
                Self::model_failed()
            }
        }
    }
}

/// Something that only the host can mend: it goes into the log.
pub fn internal(error: &dyn std::error::Error) -> Error {
    tracing::error!("{}", with_sources(error));
    Error::internal()
}

/// An error with all that it came from.
fn with_sources(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_closed_is_that_of_a_process_that_ends() {
        assert_eq!(Error::from(StoreError::Closed), Error::Ending);
    }

    #[test]
    fn who_waits_for_the_store_in_vain_may_ask_again() {
        let waited = StoreError::from(sqlx::Error::PoolTimedOut);
        assert_eq!(Error::from(waited), Error::StoreBusy);
    }
}
