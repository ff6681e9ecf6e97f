//! Errors to HTTP: the one place where a code becomes a status, and where an error of the
//! service becomes the sentence that a visitor is told. What is refused before the service is
//! asked (a form that is none, a name that is not ours, a model that is still loading) has its
//! sentence where it is refused. Flags are the host's: they are in the log and in an error's data.

use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::multipart::FormError;
use super::ops::metrics::count_error;
use super::plain_page::PlainPage;
use crate::api::{ApiError, Base, ErrorCode, Language, find_with, t, t_with};
use crate::chat::{Detail, Error, Missing, PictureLimit, RequestId};

/// The style of a page that is a sentence.
const STYLE: &str =
    "body { max-width: 32rem; margin: 20vh auto 0; padding: 0 1rem; font: 1.125rem/1.5 system-ui, sans-serif }";

/// Looks whether a page is there, and opens it then. What is read meanwhile stays as it is: a page
/// that is loaded again and again is read out from its beginning each time. A proxy whose server is
/// being started again has a status above 500, and a form that was posted is not sent again.
const OPENS_ITSELF: &str = r#"const address = location.pathname + location.search
const look = async () => {
  const answer = await fetch(address, { method: "HEAD", cache: "no-store", redirect: "manual" }).catch(() => null)
  if (answer && answer.status < 500) location.replace(address)
  else setTimeout(look, 2000)
}
setTimeout(look, 2000)"#;

/// Where no script runs it is loaded again, so seldom that it can be read in between.
const LOADED_AGAIN: &str = r#"<noscript><meta http-equiv="refresh" content="10"></noscript>"#;

/// The HTTP status that goes with a code.
pub fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadRequest | ErrorCode::SettingRefused => StatusCode::BAD_REQUEST,
        ErrorCode::Forbidden | ErrorCode::AddressesNotAllowed => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::TurnInProgress => StatusCode::CONFLICT,
        ErrorCode::PictureTooLarge | ErrorCode::TooLargeForProxy => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::PictureUnreadable
        | ErrorCode::AddressRefused
        | ErrorCode::QuestionEmpty
        | ErrorCode::QuestionTooLong
        | ErrorCode::NoTexts
        | ErrorCode::TooManyTexts
        | ErrorCode::TextTooLong
        | ErrorCode::QuestionRefused
        | ErrorCode::TooManyTurns => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::VisitorQueueFull
        | ErrorCode::NetworkQueueFull
        | ErrorCode::TooManyQuestions
        | ErrorCode::TooManyFetches => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::MemoryFull
        | ErrorCode::StoreBusy
        | ErrorCode::FetchesFull
        | ErrorCode::QueueFull
        | ErrorCode::WaitedTooLong
        | ErrorCode::TooSlow
        | ErrorCode::Ending
        | ErrorCode::ModelNotLoaded
        | ErrorCode::ModelGone
        | ErrorCode::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::ModelFailed | ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let code = code(&error);
        if status(code) == StatusCode::SERVICE_UNAVAILABLE || error.flag().is_some() {
            // Limits that a host may want to raise.
            tracing::info!(flag = error.flag(), "{error}");
        }
        Self {
            code,
            data: data(&error),
            message: sentence(&error),
        }
    }
}

fn code(error: &Error) -> ErrorCode {
    match error {
        Error::BadRequest { .. } => ErrorCode::BadRequest,
        Error::BodyTooSlow { .. } => ErrorCode::BadRequest,
        Error::BodyTooLarge { .. } => ErrorCode::PictureTooLarge,
        Error::NotFound { .. } => ErrorCode::NotFound,
        Error::TurnInProgress => ErrorCode::TurnInProgress,
        Error::TooManyTurns { .. } => ErrorCode::TooManyTurns,
        Error::QuestionEmpty => ErrorCode::QuestionEmpty,
        Error::QuestionTooLong { .. } => ErrorCode::QuestionTooLong,
        Error::NoTexts => ErrorCode::NoTexts,
        Error::TooManyTexts { .. } => ErrorCode::TooManyTexts,
        Error::TextTooLong { .. } => ErrorCode::TextTooLong,
        Error::QuestionRefused { .. } | Error::QuestionTooLarge { .. } => ErrorCode::QuestionRefused,
        Error::SettingRefused { .. } => ErrorCode::SettingRefused,
        Error::PictureTooLarge { .. } => ErrorCode::PictureTooLarge,
        Error::PictureUnreadable { .. } => ErrorCode::PictureUnreadable,
        Error::AddressRefused { .. } => ErrorCode::AddressRefused,
        Error::AddressesNotAllowed => ErrorCode::AddressesNotAllowed,
        Error::MemoryFull => ErrorCode::MemoryFull,
        Error::StoreBusy => ErrorCode::StoreBusy,
        Error::FetchesFull => ErrorCode::FetchesFull,
        Error::QueueFull { .. } => ErrorCode::QueueFull,
        Error::VisitorQueueFull { .. } => ErrorCode::VisitorQueueFull,
        Error::NetworkQueueFull { .. } => ErrorCode::NetworkQueueFull,
        Error::TooManyQuestions { .. } => ErrorCode::TooManyQuestions,
        Error::TooManyFetches { .. } => ErrorCode::TooManyFetches,
        Error::WaitedTooLong { .. } => ErrorCode::WaitedTooLong,
        Error::TooSlow { .. } => ErrorCode::TooSlow,
        Error::Ending => ErrorCode::Ending,
        Error::ModelFailed { .. } => ErrorCode::ModelFailed,
        Error::ModelNotLoaded { .. } => ErrorCode::ModelNotLoaded,
        Error::ModelGone { .. } => ErrorCode::ModelGone,
        Error::Internal { .. } => ErrorCode::Internal,
    }
}

/// An error's numbers and words, by name.
fn data(error: &Error) -> serde_json::Map<String, Value> {
    let mut data = match serde_json::to_value(error) {
        Ok(Value::Object(data)) => data,
        _ => serde_json::Map::new(),
    };
    data.remove("code");
    if let Some(flag) = error.flag() {
        data.insert("flag".into(), flag.into());
    }
    data
}

/// When what was refused may be tried again, where that is known.
pub fn retry_after(error: &ApiError) -> Option<HeaderValue> {
    error.data.get("retry_after_seconds")?.as_u64().map(HeaderValue::from)
}

/// What is wrong and what to do, for a visitor, in his language.
fn sentence(error: &Error) -> String {
    let text = |value: &dyn std::fmt::Display| value.to_string();
    let gigabytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1e9);
    match error {
        Error::BadRequest { detail }
        | Error::QuestionRefused { detail }
        | Error::SettingRefused { detail, .. }
        | Error::PictureUnreadable { detail }
        | Error::AddressRefused { detail } => detailed(detail),
        Error::BodyTooSlow { bytes_per_second } => {
            t_with("error.body_too_slow", &[("bytes_per_second", &text(bytes_per_second))])
        }
        Error::BodyTooLarge { limit } => t_with("error.body_too_large", &[("limit", &text(limit))]),
        Error::QuestionTooLarge { rows, needed, budget } => t_with(
            "error.question_too_large",
            &[
                ("rows", &text(rows)),
                ("needed", &gigabytes(*needed)),
                ("budget", &gigabytes(*budget)),
            ],
        ),
        Error::NotFound { what } => missing(*what).into(),
        Error::TurnInProgress => t("error.turn_in_progress").into(),
        Error::TooManyTurns { limit } => t_with("error.too_many_turns", &[("limit", &text(limit))]),
        Error::QuestionEmpty => t("error.question_empty").into(),
        Error::QuestionTooLong { chars, limit } => t_with(
            "error.question_too_long",
            &[("chars", &text(chars)), ("limit", &text(limit))],
        ),
        Error::NoTexts => t("error.no_texts").into(),
        Error::TooManyTexts { count, limit } => t_with(
            "error.too_many_texts",
            &[("count", &text(count)), ("limit", &text(limit))],
        ),
        Error::TextTooLong { number, chars, limit } => t_with(
            "error.text_too_long",
            &[
                ("number", &text(number)),
                ("chars", &text(chars)),
                ("limit", &text(limit)),
            ],
        ),
        Error::PictureTooLarge { limited, actual, limit } => too_large(*limited, *actual, *limit),
        Error::AddressesNotAllowed => t("error.addresses_not_allowed").into(),
        Error::MemoryFull => t("error.memory_full").into(),
        Error::StoreBusy => t("error.store_busy").into(),
        Error::FetchesFull => t("error.fetches_full").into(),
        Error::QueueFull { limit } => t_with("error.queue_full", &[("limit", &text(limit))]),
        Error::VisitorQueueFull { limit } => t_with("error.visitor_queue_full", &[("limit", &text(limit))]),
        Error::NetworkQueueFull { limit } => t_with("error.network_queue_full", &[("limit", &text(limit))]),
        Error::TooManyQuestions {
            retry_after_seconds, ..
        } => t_with("error.too_many_questions", &[("seconds", &text(retry_after_seconds))]),
        Error::TooManyFetches {
            retry_after_seconds, ..
        } => t_with("error.too_many_fetches", &[("seconds", &text(retry_after_seconds))]),
        Error::WaitedTooLong { seconds } => t_with("error.waited_too_long", &[("seconds", &text(seconds))]),
        Error::TooSlow { seconds } => t_with("error.too_slow", &[("seconds", &text(seconds))]),
        Error::Ending => t("error.ending").into(),
        Error::ModelFailed { request } => t_with("error.model_failed", &[("request", &named(request))]),
        Error::ModelNotLoaded { model } => t_with("error.model_not_loaded", &[("model", model)]),
        Error::ModelGone { request } => t_with("error.model_gone", &[("request", &named(request))]),
        Error::Internal { request } => t_with("error.internal", &[("request", &named(request))]),
    }
}

/// What a lower room says is wrong; as it said it, where it is not known what that was.
fn detailed(detail: &Detail) -> String {
    let Some(reason) = &detail.reason else {
        return detail.text.clone();
    };
    // Some values are words themselves, such as the kind of a file.
    let value = |text: &String| find_with(&["error.word.", text].concat(), &[]).unwrap_or_else(|| text.clone());
    let values: Vec<(&str, String)> = detail
        .values
        .iter()
        .map(|(name, text)| (&**name, value(text)))
        .collect();
    let values: Vec<(&str, &str)> = values.iter().map(|(name, text)| (*name, &**text)).collect();
    let said = find_with(&["error.detail.", reason].concat(), &values);
    said.unwrap_or_else(|| detail.text.clone())
}

/// The request that a host finds in the log.
fn named(request: &Option<RequestId>) -> String {
    let request = request.as_ref();
    request.map_or_else(String::new, |id| t_with("error.request", &[("id", id.as_str())]))
}

fn missing(what: Missing) -> &'static str {
    match what {
        Missing::Conversation => t("error.no_conversation"),
        Missing::Example => t("error.no_example"),
        Missing::Answer => t("error.no_answer"),
        Missing::Turn => t("error.no_turn"),
        Missing::Picture => t("error.no_such_picture"),
        Missing::Model => t("error.no_model"),
        Missing::Explanation => t("error.no_explanation"),
        Missing::Share => t("error.no_share"),
        Missing::PictureFile => t("error.no_picture_file"),
    }
}

fn too_large(limited: PictureLimit, actual: Option<u64>, limit: u64) -> String {
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    let Some(actual) = actual else {
        return t_with("error.more_bytes", &[("limit", &limit.to_string())]);
    };
    let said =
        |key, actual: u64, limit: u64| t_with(key, &[("actual", &actual.to_string()), ("limit", &limit.to_string())]);
    match limited {
        PictureLimit::Bytes => said("error.many_bytes", actual, limit),
        PictureLimit::Pixels => said("error.many_pixels", actual, limit),
        PictureLimit::Side => said("error.long_side", actual, limit),
        PictureLimit::Memory => said("error.much_memory", megabytes(actual), megabytes(limit)),
        PictureLimit::Kept => said("error.much_kept", actual, limit),
        PictureLimit::Stored => said("error.much_stored", actual, limit),
    }
}

/// Who reads a page that is made here: whether it is a person, and where our addresses begin.
#[derive(Clone, Debug)]
pub struct Reader {
    accepts_html: bool,
    base: Base,
}

impl Reader {
    /// One that is no person.
    pub fn for_programs() -> Self {
        Self {
            accepts_html: false,
            base: Base::default(),
        }
    }

    /// Of a request, by its parts.
    pub fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        Self {
            accepts_html: accepted.is_some_and(|value| value.contains("text/html")),
            base: extensions.get().cloned().unwrap_or_default(),
        }
    }
}

/// A sentence outside of the page: with a name and a way out for whoever looks at it, plain for
/// programs. Nothing in it is the sender's, so that nothing needs escaping.
pub fn page(status: StatusCode, title: &str, sentence: &str, reader: &Reader) -> Response {
    if !reader.accepts_html {
        return (status, sentence.to_owned()).into_response();
    }
    let home = reader.base.at("/");
    let page = PlainPage {
        base: &reader.base,
        language: Language::current(),
        title,
        head: "",
        style: STYLE,
        script: "",
        body: &format!(r#"<p>{sentence}</p><p><a href="{home}">{}</a></p>"#, t("plain.open")),
    };
    (status, page).into_response()
}

/// A sentence that holds for a moment: the page behind it opens by itself.
pub fn passing_page(status: StatusCode, title: &str, sentence: &str, reader: &Reader) -> Response {
    if !reader.accepts_html {
        return (status, sentence.to_owned()).into_response();
    }
    let page = PlainPage {
        base: &reader.base,
        language: Language::current(),
        title,
        head: LOADED_AGAIN,
        style: STYLE,
        script: OPENS_ITSELF,
        body: &format!("<p>{sentence}</p>"),
    };
    (status, page).into_response()
}

impl From<FormError> for Error {
    fn from(error: FormError) -> Self {
        let text = error.to_string();
        let limited = |reason, limit: usize| Detail::new(reason, &text, [("limit", limit.to_string())]);
        let detail = match &error {
            FormError::LongPreamble(limit) => limited("form_preamble", *limit),
            FormError::LongHead(limit) => limited("form_head", *limit),
            FormError::ManyParts(limit) => limited("form_parts", *limit),
            FormError::LongFields(limit) => limited("form_fields", *limit),
            FormError::Malformed => Detail::new("form_malformed", &text, []),
            FormError::BrokeOff(reason) => Detail::new("form_broke_off", &text, [("reason", reason.clone())]),
        };
        Self::BadRequest { detail }
    }
}

/// A fault's response: for the page's calls, or a page that says so.
pub fn fault(error: Error, is_function: bool, reader: &Reader) -> Response {
    let error = ApiError::from(error);
    if is_function {
        return refusal(&error);
    }
    count_error(error.code);
    page(status(error.code), t("plain.wrong"), &error.message, reader)
}

/// A code's own response, as the page's calls get it.
pub fn refusal(error: &ApiError) -> Response {
    count_error(error.code);
    (status(error.code), axum::Json(error)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::OptionsError;
    use crate::processor::PictureError;
    use crate::remote::RemoteError;

    fn said(error: Error) -> String {
        ApiError::from(error).message
    }

    #[test]
    fn what_lower_rooms_say_reads_the_same_in_english() {
        let (format, reason, host) = ("PNG", "a chunk is broken".to_owned(), "example.com".to_owned());
        let pictures = [
            PictureError::Empty,
            PictureError::NotAPicture,
            PictureError::OtherFormat { name: "a HEIC picture" },
            PictureError::OtherFormat { name: "an SVG drawing" },
            PictureError::OtherFormat { name: "a video" },
            PictureError::Truncated { format },
            PictureError::Damaged {
                format,
                reason: reason.clone(),
            },
            PictureError::Unsupported {
                format,
                reason: reason.clone(),
            },
        ];
        for error in pictures {
            assert_eq!(said(error.clone().into()), error.to_string());
        }
        let addresses = [
            RemoteError::NotAnAddress { reason: reason.clone() },
            RemoteError::TooLong { bytes: 3, max_bytes: 2 },
            RemoteError::Credentials,
            RemoteError::Port(25),
            RemoteError::Private {
                what: "a loopback address",
            },
            RemoteError::HostNotFound { host: host.clone() },
            RemoteError::NoPublicHost { host: host.clone() },
            RemoteError::TooManyRedirects(5),
            RemoteError::BadRedirect { reason: reason.clone() },
            RemoteError::NoConnection {
                host: host.clone(),
                reason: reason.clone(),
            },
            RemoteError::ConnectTime {
                host: host.clone(),
                seconds: 1,
            },
            RemoteError::Time {
                host: host.clone(),
                seconds: 30,
            },
            RemoteError::Status {
                host: host.clone(),
                status: "404".into(),
            },
            RemoteError::WebPage,
            RemoteError::Drawing,
            RemoteError::NotAPicture("text/plain".into()),
            RemoteError::Compressed("gzip".into()),
            RemoteError::BrokeOff { host, reason },
        ];
        for error in addresses {
            assert_eq!(said(error.clone().into()), error.to_string());
        }
        let range = |value| OptionsError::OutOfRange {
            name: "top_p",
            value,
            min: 0.0,
            max: 1.0,
            is_whole: value != 2.5,
        };
        let settings = [
            range(1.5),
            range(2.5),
            range(f64::NAN),
            OptionsError::MinAboveMax { min: 2, max: 1 },
            OptionsError::NeedsSampling("top_k"),
            OptionsError::NeedsBeams("length_penalty"),
            OptionsError::OneGreedyAnswer(2),
            OptionsError::FewerBeams { sequences: 3, beams: 2 },
        ];
        for error in settings {
            let detail = crate::service::refused_setting(&error, str::to_owned);
            assert_eq!(said(Error::SettingRefused { detail, flag: None }), error.to_string());
        }
    }

    #[test]
    fn errors_are_told_in_the_readers_language() {
        let empty = || said(PictureError::Empty.into());
        assert_eq!(
            Language::German.speak(empty),
            "Die Datei ist leer. Bitte eine Bilddatei auswählen."
        );
        let kind = || said(PictureError::OtherFormat { name: "a video" }.into());
        assert!(Language::French.speak(kind).starts_with("C’est une vidéo"));
        let seconds = |seconds| {
            let host = "a.b".to_owned();
            Language::Arabic.speak(|| said(RemoteError::Time { host, seconds }.into()))
        };
        assert!(seconds(2).contains("ثانيتين") && seconds(5).contains("5 ثوانٍ") && seconds(30).contains("30 ثانية"));
    }

    #[test]
    fn what_was_kept_without_a_reason_is_said_as_it_was() {
        let kept = r#"{"code":"question_refused","detail":"It is too long."}"#;
        let error: Error = serde_json::from_str(kept).expect("it was written so");
        assert_eq!(said(error), "It is too long.");
    }
}
