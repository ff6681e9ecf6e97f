//! The server's side of the server functions in [`crate::api`].

use std::sync::Arc;

use axum::http::header;
use axum::http::request::Parts;
use leptos::prelude::use_context;
use leptos::server_fn::codec::{ByteStream, MultipartData};
use leptos_axum::ResponseOptions;

use super::export::{self, Format};
use super::form::FailedForm;
use super::{answer_stream, conversions, settings, shared};
use crate::api::{
    self, AnswerId, ApiError, AskRequest, Conversation, ConversationId, PageState, SettingsPanel, TurnId,
};
use crate::chat::{self, Detail, Error, Missing, Place, RequestId, Visitor};
use crate::server::assets;
use crate::server::body::{self, BodyError};
use crate::server::customization::Customization;
use crate::server::errors;
use crate::server::ops::metrics::count_error;
use crate::server::ops::setup;
use crate::service::{InFlightAnswer, Request, Service};

/// What `upload_picture` calls its file.
pub const PICTURE_FIELD: &str = "picture";

/// All that the page shows at its address; also called while the page is rendered here. A
/// conversation that is not there is an error within the state, so that there is a page to show it
/// on.
///
/// # Errors
/// Called without a service or a visitor, which the router provides.
pub async fn page_state(id: Option<ConversationId>) -> Result<PageState, ApiError> {
    let (service, visitor) = (service()?, visitor()?);
    let customization = customization()?;
    let failed = use_context::<FailedForm>().unwrap_or_default();
    let mut state = PageState {
        version: assets::package().to_owned(),
        model: conversions::model(&service, service.model()),
        models: service
            .models()
            .map(|engine| conversions::model(&service, engine.description()))
            .collect(),
        chosen: failed.models,
        may_set_up: use_context::<Parts>().is_some_and(|parts| setup::is_for(&parts.headers, &parts.extensions)),
        branding: customization.branding.clone(),
        examples: customization.examples.all(),
        conversation: failed.conversation,
        error: failed.error,
        draft: failed.draft,
        draft_texts: failed.texts,
        draft_address: failed.address,
        settings: SettingsPanel {
            fields: failed.settings,
            numbers: service.number_limits().into_iter().map(Into::into).collect(),
        },
        takes_addresses: service.takes_addresses(),
        limits: api::PageLimits {
            upload_bytes: service.limits().picture.max_bytes,
            photo_side: service.photo_side(),
            keep_answers_seconds: service.limits().keep_answers.as_secs(),
            question_chars: service.limits().question_chars,
            texts: service.limits().texts,
            turns: service.limits().store.turns,
        },
    };
    if let Some(id) = id {
        match for_request(own(&service, &visitor, &id)).await {
            Ok(conversation) => state.conversation = Some(conversation),
            // A page that says so has the error's status; this call of the page's own has succeeded.
            Err(error) if is_page() => state.error = Some(refuse(error)),
            Err(error) => state.error = Some(error.into()),
        }
    }
    Ok(state)
}

/// A visitor's conversation, as the page shows it.
pub async fn own(service: &Service, visitor: &Visitor, id: &ConversationId) -> Result<Conversation, Error> {
    let conversation = service.conversation(visitor, &parse(id)?).await?;
    Ok(conversation.into())
}

/// Reads the form up to its first field called [`PICTURE_FIELD`], and no further.
///
/// # Errors
/// There is none, it broke off, or it is no picture that is taken.
pub async fn upload_picture(data: MultipartData) -> Result<Conversation, ApiError> {
    let (service, visitor) = (service()?, visitor()?);
    let mut form = data.into_inner().ok_or_else(|| refuse(no_picture()))?;
    let mut room = service.room(visitor.network);
    while let Some(field) = form.next_field().await.map_err(|error| refuse(broken_off(&error)))? {
        if field.name() == Some(PICTURE_FIELD) {
            let file = body::read_limited(field, service.limits().picture.max_bytes, &mut room).await;
            let file = file.map_err(|error| refuse(upload_error(error)))?;
            let begun = service.begin_conversation(&visitor, file, room).await;
            return begun.map(Into::into).map_err(refuse);
        }
    }
    Err(refuse(no_picture()))
}

fn no_picture() -> Error {
    Error::BadRequest {
        detail: Detail::new(
            "no_upload",
            "The upload holds no picture. Choose one and try again.",
            [],
        ),
    }
}

fn broken_off(reason: &dyn std::fmt::Display) -> Error {
    let text = format!("The upload broke off ({reason}). Try it again.");
    Error::BadRequest {
        detail: Detail::new("upload_broke_off", text, [("reason", reason.to_string())]),
    }
}

/// Why a picture's file was not read.
pub fn upload_error(error: BodyError) -> Error {
    match error {
        BodyError::BrokenOff { reason } => broken_off(&reason),
        BodyError::TooLarge { bytes, limit } => Error::PictureTooLarge {
            limited: chat::PictureLimit::Bytes,
            actual: Some(bytes as u64),
            limit: limit as u64,
        },
        BodyError::Memory(error) => error.into(),
    }
}

/// The example of this number, in the order of [`PageState::examples`], from 0.
///
/// # Errors
/// There is none, or what stands in the way of every picture.
pub async fn open_example(index: usize) -> Result<Conversation, ApiError> {
    let missing = || refuse(Error::NotFound { what: Missing::Example });
    let (service, visitor) = (service()?, visitor()?);
    let file = read_example(&customization()?, index).await.ok_or_else(missing)?.0;
    let room = service.room(visitor.network);
    let begun = service.begin_conversation(&visitor, file, room).await;
    begun.map(Into::into).map_err(refuse)
}

/// An example's picture, and what is asked about it; a host's own is a file.
pub async fn read_example(customization: &Arc<Customization>, index: usize) -> Option<(Vec<u8>, api::Example)> {
    let customization = Arc::clone(customization);
    let read = tokio::task::spawn_blocking(move || customization.examples.open(index));
    // A panic is a fault of ours; then there is no example.
    read.await.ok().flatten()
}

/// Has the picture fetched by this server, which [`remote`](crate::remote) guards.
///
/// # Errors
/// Nothing is fetched from there, the visitor has had enough fetched, or it is no picture that is
/// taken.
pub async fn open_address(address: String) -> Result<Conversation, ApiError> {
    let (service, visitor) = (service()?, visitor()?);
    let room = service.room(visitor.network);
    let begun = service.begin_from_address(&visitor, address, room).await;
    begun.map(Into::into).map_err(refuse)
}

/// The stream begins with the first event. Whoever drops it stops reading, not the answer: that
/// goes on for the grace period.
///
/// # Errors
/// What [`Service::ask`] refuses, before anything is streamed; later the stream's last line says
/// it.
pub async fn ask(request: AskRequest) -> Result<ByteStream<ApiError>, ApiError> {
    let (service, visitor) = (service()?, visitor()?);
    let answer = begin_answer(&service, &visitor, request).await;
    answer.map(|answer| answer_stream::lines(&answer, 0)).map_err(refuse)
}

/// Asks what the page, or a script, asks.
pub async fn begin_answer(
    service: &Service,
    visitor: &Visitor,
    request: AskRequest,
) -> Result<Arc<InFlightAnswer>, Error> {
    let is_page = request.settings.is_empty();
    let settings = if is_page {
        settings::from_fields(&request.fields, request.question.is_some(), service.usual_beams())
    } else {
        settings::understood(&request.settings)?
    };
    let called = |name| if is_page { api::label(name) } else { name }.to_owned();
    let request = Request {
        conversation: parse(&request.conversation)?,
        question: request.question,
        texts: request.texts,
        settings,
        place: request.place.map_or(Ok(Place::Last), TryInto::try_into)?,
        models: request.model.into_iter().chain(request.compare_with).collect(),
    };
    service.ask(visitor, request, called).await
}

/// The events behind number `after`. A reader who comes when the answer is over gets those too, for
/// as long as they are kept (`--keep-answers`), and later, or after a restart, all of the answer at once.
///
/// # Errors
/// The conversation is not this visitor's, or has no such answer.
pub async fn follow(
    id: ConversationId,
    answer: Option<AnswerId>,
    after: Option<u64>,
) -> Result<ByteStream<ApiError>, ApiError> {
    let (service, visitor) = (service()?, visitor()?);
    let id = parse(&id).map_err(refuse)?;
    let after = after.unwrap_or_default();
    let name = answer
        .as_ref()
        .map(|answer| parse_answer(answer).map_err(refuse))
        .transpose()?;
    let followed = match (service.latest_answer(&visitor, &id).await, &answer) {
        (Ok(latest), Some(answer)) => latest.named(&answer.0),
        (Ok(latest), None) => Some(latest),
        (Err(Error::NotFound { what: Missing::Answer }), _) => None,
        (Err(error), _) => return Err(refuse(error)),
    };
    if let Some(followed) = followed {
        return Ok(answer_stream::lines(&followed, after));
    }
    let kept = service.kept_answer(&visitor, &id, name.as_ref()).await;
    kept.map(|kept| answer_stream::kept_lines(kept, after)).map_err(refuse)
}

/// As the button Stop asks; an answer that is over already is no error.
///
/// # Errors
/// The conversation is not this visitor's.
pub async fn cancel(id: ConversationId) -> Result<(), ApiError> {
    let id = parse(&id).map_err(refuse)?;
    service()?.cancel(&visitor()?, &id).await.map_err(refuse)
}

/// The same for who has no scripts: it is over when this returns.
///
/// # Errors
/// As [`cancel`].
pub async fn stop(service: &Service, visitor: &Visitor, id: &ConversationId) -> Result<(), Error> {
    service.stop(visitor, &parse(id)?).await
}

/// As the button "Where it looked" asks.
///
/// # Errors
/// As [`Service::explain`].
pub async fn explain(id: ConversationId, answer: AnswerId) -> Result<api::Explanation, ApiError> {
    let id = parse(&id).map_err(refuse)?;
    let answer = parse_answer(&answer).map_err(refuse)?;
    let explained = service()?.explain(&visitor()?, &id, &answer).await;
    explained.map(Into::into).map_err(refuse)
}

/// The visitor's conversations.
///
/// # Errors
/// The disk refuses.
pub async fn history() -> Result<api::History, ApiError> {
    let (service, visitor) = (service()?, visitor()?);
    let entries = service.conversations(&visitor).await.map_err(refuse)?;
    let limits = service.limits().store;
    Ok(api::History {
        entries: entries.into_iter().map(Into::into).collect(),
        limit: limits.conversations_per_visitor,
        days: limits.age.map(|age| age.as_secs().div_ceil(24 * 60 * 60)),
    })
}

/// Calls a conversation so.
///
/// # Errors
/// As [`Service::rename`].
pub async fn rename(id: ConversationId, title: String) -> Result<(), ApiError> {
    let id = parse(&id).map_err(refuse)?;
    service()?.rename(&visitor()?, &id, &title).await.map_err(refuse)
}

/// Pins a conversation, or lets it go.
///
/// # Errors
/// As [`Service::pin`].
pub async fn pin(id: ConversationId, is_pinned: bool) -> Result<(), ApiError> {
    let id = parse(&id).map_err(refuse)?;
    service()?.pin(&visitor()?, &id, is_pinned).await.map_err(refuse)
}

/// Removes a conversation, or all of the visitor's.
///
/// # Errors
/// As [`Service::remove`].
pub async fn remove(id: Option<ConversationId>) -> Result<(), ApiError> {
    let (service, visitor) = (service()?, visitor()?);
    let removed = match id {
        Some(id) => service.remove(&visitor, &parse(&id).map_err(refuse)?).await,
        None => service.remove_all(&visitor).await,
    };
    removed.map_err(refuse)
}

/// As the button Share asks.
///
/// # Errors
/// As [`Service::share`].
pub async fn share(id: ConversationId, last: Option<TurnId>) -> Result<String, ApiError> {
    let id = parse(&id).map_err(refuse)?;
    let last = last.as_ref().map(parse_turn).transpose().map_err(refuse)?;
    let share = service()?.share(&visitor()?, &id, last.as_ref()).await;
    let share = share.map_err(refuse)?;
    Ok(shared::path(&share))
}

/// As the button "Stop sharing" asks.
///
/// # Errors
/// As [`Service::unshare`].
pub async fn unshare(id: ConversationId) -> Result<(), ApiError> {
    let id = parse(&id).map_err(refuse)?;
    service()?.unshare(&visitor()?, &id).await.map_err(refuse)
}

/// At how many addresses a conversation can be read.
///
/// # Errors
/// As [`Service::shares`].
pub async fn shares(id: ConversationId) -> Result<usize, ApiError> {
    let id = parse(&id).map_err(refuse)?;
    service()?.shares(&visitor()?, &id).await.map_err(refuse)
}

/// The conversation as a file.
///
/// # Errors
/// As [`export::file`], or there is no such form.
pub async fn export(id: ConversationId, ending: String, last: Option<TurnId>) -> Result<api::ExportedFile, ApiError> {
    let id = parse(&id).map_err(refuse)?;
    let last = last.as_ref().map(parse_turn).transpose().map_err(refuse)?;
    let format = Format::parse(&ending).ok_or_else(|| {
        let text = "A conversation is saved as md, json or html. Choose one of them.";
        refuse(Error::BadRequest {
            detail: Detail::new("no_such_form", text, []),
        })
    })?;
    let (service, visitor) = (service()?, visitor()?);
    export::file(&service, &visitor, &id, format, last)
        .await
        .map_err(refuse)
}

/// Keeps what a visitor thinks of an answer.
///
/// # Errors
/// As [`Service::rate`].
pub async fn rate(id: ConversationId, answer: AnswerId, feedback: Option<api::Feedback>) -> Result<(), ApiError> {
    let id = parse(&id).map_err(refuse)?;
    let answer = parse_answer(&answer).map_err(refuse)?;
    let feedback = feedback.map(Into::into);
    let rated = service()?.rate(&visitor()?, &id, &answer, feedback).await;
    rated.map_err(refuse)
}

/// What is no id names nothing.
fn parse(id: &ConversationId) -> Result<chat::ConversationId, Error> {
    chat::ConversationId::parse(&id.0).ok_or(Error::NotFound {
        what: Missing::Conversation,
    })
}

fn parse_turn(id: &TurnId) -> Result<chat::TurnId, Error> {
    chat::TurnId::parse(&id.0).ok_or(Error::NotFound { what: Missing::Turn })
}

fn parse_answer(id: &AnswerId) -> Result<chat::AnswerId, Error> {
    chat::AnswerId::parse(&id.0).ok_or(Error::NotFound { what: Missing::Answer })
}

/// The router provides it.
fn service() -> Result<Arc<Service>, ApiError> {
    use_context().ok_or_else(|| refuse(unprovided("service")))
}

/// The router provides it too.
fn customization() -> Result<Arc<Customization>, ApiError> {
    use_context().ok_or_else(|| refuse(unprovided("customization")))
}

/// Who asks, as the layers before have found out.
fn visitor() -> Result<Visitor, ApiError> {
    let request = use_context::<Parts>();
    let visitor = request.and_then(|request| request.extensions.get().cloned());
    visitor.ok_or_else(|| refuse(unprovided("visitor")))
}

fn unprovided(what: &str) -> Error {
    tracing::error!("a server function was called without a {what}");
    Error::internal()
}

/// Works for the request that is being answered: a page is rendered in tasks of its own.
async fn for_request<F: Future>(work: F) -> F::Output {
    let request = use_context::<Parts>();
    match request.and_then(|request| request.extensions.get::<RequestId>().cloned()) {
        Some(id) => id.scope(work).await,
        None => work.await,
    }
}

/// Whether a page is being rendered, rather than a function called by one.
fn is_page() -> bool {
    use_context::<Parts>().is_some_and(|request| !request.uri.path().contains("/api/"))
}

/// Gives the response the status that goes with its error.
fn refuse(error: Error) -> ApiError {
    let error = ApiError::from(error);
    count_error(error.code);
    if let Some(response) = use_context::<ResponseOptions>() {
        response.set_status(errors::status(error.code));
        if let Some(seconds) = errors::retry_after(&error) {
            response.insert_header(header::RETRY_AFTER, seconds);
        }
    }
    error
}
