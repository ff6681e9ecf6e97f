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
use crate::api::{ApiError, Base, ErrorCode};
use crate::chat::{Error, Missing, PictureLimit, RequestId};

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

/// What is wrong and what to do, for a visitor.
fn sentence(error: &Error) -> String {
    match error {
        Error::BadRequest { detail }
        | Error::QuestionRefused { detail }
        | Error::SettingRefused { detail, .. }
        | Error::PictureUnreadable { detail }
        | Error::AddressRefused { detail } => detail.clone(),
        Error::BodyTooSlow { bytes_per_second } => format!(
            "The request came slower than the {bytes_per_second} bytes a second that are waited for. Try again, on a faster connection."
        ),
        Error::BodyTooLarge { limit } => {
            format!("A request may have at most {limit} bytes. Send a smaller picture.")
        }
        Error::QuestionTooLarge { rows, needed, budget } => format!(
            "Reading the question for {rows} answers or beams at once would take {:.2} GB of memory, and {:.2} are there for it. Ask for fewer beams or answers, or a shorter answer, or begin a new conversation.",
            *needed as f64 / 1e9,
            *budget as f64 / 1e9
        ),
        Error::NotFound { what } => missing(*what).into(),
        Error::TurnInProgress => {
            "An answer of this conversation is still being given. Wait for it, or press Stop.".into()
        }
        Error::TooManyTurns { limit } => {
            format!("This conversation has {limit} turns, which is as many as it may have. Begin a new conversation.")
        }
        Error::QuestionEmpty => "Type a question, or press Describe for a caption.".into(),
        Error::QuestionTooLong { chars, limit } => {
            format!("The question has {chars} characters, and at most {limit} are accepted. Ask a shorter one.")
        }
        Error::NoTexts => "Type a text to compare the picture with.".into(),
        Error::TooManyTexts { count, limit } => {
            format!("There are {count} texts, and at most {limit} are compared at once. Leave some out.")
        }
        Error::TextTooLong { number, chars, limit } => {
            format!("Text {number} has {chars} characters, and at most {limit} are accepted. Type a shorter one.")
        }
        Error::PictureTooLarge { limited, actual, limit } => too_large(*limited, *actual, *limit),
        Error::AddressesNotAllowed => {
            "Pictures are not fetched from addresses here. Download the picture and choose the file.".into()
        }
        Error::MemoryFull => "Many pictures are being put in right now. Try again in a moment.".into(),
        Error::StoreBusy => {
            "Many are asking right now, and what is kept could not be reached in time. Try again in a moment.".into()
        }
        Error::FetchesFull => "Too many pictures are being fetched. Try again in a moment.".into(),
        Error::QueueFull { limit } => {
            format!("{limit} questions are waiting already, which is as many as may. Try again in a moment.")
        }
        Error::VisitorQueueFull { limit } => {
            format!("{limit} of your questions are waiting already. Wait for an answer, or stop one.")
        }
        Error::NetworkQueueFull { limit } => {
            format!("{limit} questions from your network are waiting already. Try again in a moment.")
        }
        Error::TooManyQuestions {
            retry_after_seconds, ..
        } => format!("You have asked many questions within a minute. Ask again in {retry_after_seconds} seconds."),
        Error::TooManyFetches {
            retry_after_seconds, ..
        } => format!(
            "You have had many pictures fetched within a minute. Try again in {retry_after_seconds} seconds, or choose a file."
        ),
        Error::WaitedTooLong { seconds } => format!(
            "Many are asking, and the model did not come to this question within the {seconds} seconds that it may wait. Ask again later."
        ),
        Error::TooSlow { seconds } => {
            format!("The answer took longer than the {seconds} seconds that it may. Try again later, or ask for less.")
        }
        Error::Ending => {
            "Glimpse is being restarted, and takes no questions until it is back. Ask again in a moment.".into()
        }
        Error::ModelFailed { request } => {
            format!("The model failed on this question{}. Ask another one.", named(request))
        }
        Error::ModelNotLoaded { model } => {
            format!("The model {model} could not be loaded. Ask again later, or choose another one.")
        }
        Error::ModelGone { request } => format!(
            "The model has stopped{}, and whoever runs this page has to start it again.",
            named(request)
        ),
        Error::Internal { request } => format!(
            "Something went wrong on the server{}. Try again; if it stays so, tell whoever runs this page.",
            named(request)
        ),
    }
}

/// The request that a host finds in the log.
fn named(request: &Option<RequestId>) -> String {
    let request = request.as_ref();
    request.map_or_else(String::new, |id| format!(" (request {id})"))
}

fn missing(what: Missing) -> &'static str {
    match what {
        Missing::Conversation => {
            "This conversation is not there any more, or is another visitor's. Put the picture in again."
        }
        Missing::Example => "There is no such example. Choose one that is shown.",
        Missing::Answer => "No answer is being given in this conversation. Load the page again.",
        Missing::Turn => "That question is not in this conversation any more. Load the page again.",
        Missing::Picture => "This picture is not there any more. Put it in again.",
        Missing::Model => "There is no such model here, or not any more. Choose another one.",
        Missing::Explanation => {
            "What this answer was made of was not kept, so that it cannot be explained. Ask again, and it will be."
        }
        Missing::PictureFile => "The file of this picture is gone from the server. Put the picture in again.",
    }
}

fn too_large(limited: PictureLimit, actual: Option<u64>, limit: u64) -> String {
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    match (limited, actual) {
        (PictureLimit::Bytes, Some(actual)) => {
            format!("The file has {actual} bytes, and at most {limit} are accepted. Choose a smaller file.")
        }
        (PictureLimit::Pixels, Some(actual)) => {
            format!("The picture has {actual} pixels, and at most {limit} are accepted. Make it smaller.")
        }
        (PictureLimit::Side, Some(actual)) => {
            format!("A side of the picture has {actual} pixels, and may have at most {limit}. Make it smaller.")
        }
        (PictureLimit::Memory, Some(actual)) => format!(
            "Reading this picture takes {} MB of memory, and at most {} MB can be taken here. Make it smaller.",
            megabytes(actual),
            megabytes(limit)
        ),
        (PictureLimit::Kept, Some(actual)) => {
            format!("The file has {actual} bytes, and a visitor may keep {limit} here. Choose a smaller file.")
        }
        (PictureLimit::Stored, Some(actual)) => {
            format!("The file has {actual} bytes, and at most {limit} can be kept here. Choose a smaller file.")
        }
        (limited, None) => {
            format!("The picture has more than the {limit} {limited} that are accepted. Choose a smaller one.")
        }
    }
}

/// Who reads a page that is made here: whether it is a person, and where our addresses begin.
#[derive(Clone, Debug)]
pub struct Reader {
    accepts_html: bool,
    base: Base,
}

impl Reader {
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
        title,
        head: "",
        style: STYLE,
        script: "",
        body: &format!(r#"<p>{sentence}</p><p><a href="{home}">Open Glimpse</a></p>"#),
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
        Self::BadRequest {
            detail: error.to_string(),
        }
    }
}

/// A fault's response: for the page's calls, or a page that says so.
pub fn fault(error: Error, is_function: bool, reader: &Reader) -> Response {
    let error = ApiError::from(error);
    if is_function {
        return refusal(&error);
    }
    count_error(error.code);
    page(status(error.code), "Something went wrong", &error.message, reader)
}

/// A code's own response, as the page's calls get it.
pub fn refusal(error: &ApiError) -> Response {
    count_error(error.code);
    (status(error.code), axum::Json(error)).into_response()
}
