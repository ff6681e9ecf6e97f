//! The server's side of the server functions in [`crate::api`].

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::request::Parts;
use futures::{Stream, StreamExt};
use leptos::prelude::use_context;
use leptos::server_fn::codec::{ByteStream, MultipartData};
use leptos_axum::ResponseOptions;

use super::examples;
use super::form::FailedForm;
use crate::api::{
    AnswerEvent, ApiError, AskRequest, Conversation, ConversationId, ErrorKind, PageState, SettingsPanel,
};
use crate::server::answers::Running;
use crate::server::memory::Reservation;
use crate::server::state::Shared;
use crate::server::{errors, upload};

/// How long a stream may say nothing: proxies cut what is silent for a minute, and a page cannot
/// tell a lost connection from a long search.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What `upload_picture` calls its file.
pub const PICTURE_FIELD: &str = "picture";

pub async fn page_state(id: Option<ConversationId>) -> Result<PageState, ApiError> {
    let shared = shared()?;
    let failed = use_context::<FailedForm>().unwrap_or_default();
    let mut state = PageState {
        model: shared.model_info(),
        examples: examples::all(),
        conversation: failed.conversation,
        error: failed.error,
        draft: failed.draft,
        draft_address: failed.address,
        settings: SettingsPanel {
            fields: failed.settings,
            numbers: shared.page_numbers(),
        },
        takes_addresses: shared.fetcher.is_some(),
        limits: shared.page_limits(),
    };
    if let Some(id) = id {
        match shared.store.conversation(&id) {
            Ok(conversation) => state.conversation = Some(conversation),
            // A page that says so has the error's status; this call of the page's own has succeeded.
            Err(error) if is_page() => state.error = Some(refuse(error.into())),
            Err(error) => state.error = Some(error.into()),
        }
    }
    Ok(state)
}

pub async fn upload_picture(data: MultipartData) -> Result<Conversation, ApiError> {
    let shared = shared()?;
    let missing = || {
        refuse(ApiError::new(
            ErrorKind::BadRequest,
            "The upload holds no picture. Choose one and try again.",
        ))
    };
    let mut form = data.into_inner().ok_or_else(missing)?;
    let mut room = room(&shared);
    let broken = |error: multer::Error| {
        refuse(ApiError::new(
            ErrorKind::BadRequest,
            format!("The upload broke off ({error}). Try it again."),
        ))
    };
    while let Some(field) = form.next_field().await.map_err(broken)? {
        if field.name() == Some(PICTURE_FIELD) {
            let bytes = upload::read(field, shared.limits.picture.max_bytes, &mut room)
                .await
                .map_err(refuse)?;
            return shared.begin_conversation(bytes, room).await.map_err(refuse);
        }
    }
    Err(missing())
}

pub async fn open_example(index: usize) -> Result<Conversation, ApiError> {
    let shared = shared()?;
    let (bytes, _) = examples::open(index).ok_or_else(|| {
        refuse(ApiError::new(
            ErrorKind::NotFound,
            format!("There is no example {index}. Choose one that is shown."),
        ))
    })?;
    let room = room(&shared);
    shared.begin_conversation(bytes, room).await.map_err(refuse)
}

pub async fn open_address(address: String) -> Result<Conversation, ApiError> {
    let shared = shared()?;
    let room = room(&shared);
    shared.begin_from_address(address, room).await.map_err(refuse)
}

pub async fn ask(request: AskRequest) -> Result<ByteStream<ApiError>, ApiError> {
    shared()?.ask(request).map(|running| lines(&running)).map_err(refuse)
}

pub async fn follow(id: ConversationId) -> Result<ByteStream<ApiError>, ApiError> {
    let nothing = || {
        refuse(ApiError::new(
            ErrorKind::NotFound,
            "No answer is being given in this conversation. Load the page again.",
        ))
    };
    shared()?
        .answers
        .running(&id)
        .map(|running| lines(&running))
        .ok_or_else(nothing)
}

pub async fn stop(id: ConversationId) -> Result<(), ApiError> {
    // An answer that has just ended needs no stopping.
    if let Some(running) = shared()?.answers.running(&id) {
        running.stop();
    }
    Ok(())
}

fn lines(running: &Arc<Running>) -> ByteStream<ApiError> {
    let events = with_heartbeat(running.follow(), HEARTBEAT);
    ByteStream::new(events.map(|event| Ok::<_, ApiError>(line(&event))))
}

/// Adds a heartbeat wherever nothing has come for a while.
fn with_heartbeat(
    events: impl Stream<Item = AnswerEvent> + Send,
    silence: Duration,
) -> impl Stream<Item = AnswerEvent> + Send {
    futures::stream::unfold(Box::pin(events), move |mut events| async move {
        let next = tokio::time::timeout(silence, events.next()).await;
        let event = next.unwrap_or(Some(AnswerEvent::Heartbeat))?;
        Some((event, events))
    })
}

fn line(event: &AnswerEvent) -> Bytes {
    // Events are plain data: they always have a JSON form.
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

fn shared() -> Result<Arc<Shared>, ApiError> {
    use_context().ok_or_else(|| ApiError::new(ErrorKind::Internal, "The server is not set up. Start it again."))
}

/// Holds what the request brings.
fn room(shared: &Shared) -> Reservation {
    let extensions = use_context::<Parts>().map(|request| request.extensions);
    shared.room(&extensions.unwrap_or_default())
}

/// Whether a page is being rendered, rather than a function called by one.
fn is_page() -> bool {
    use_context::<Parts>().is_some_and(|request| !request.uri.path().starts_with("/api/"))
}

/// Gives the response the status that goes with its error.
fn refuse(error: ApiError) -> ApiError {
    if let Some(response) = use_context::<ResponseOptions>() {
        response.set_status(errors::status(error.kind));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_answer_shows_that_it_lives() {
        let (events, said) = futures::channel::mpsc::unbounded();
        let mut stream = Box::pin(with_heartbeat(said, Duration::from_millis(1)));
        assert_eq!(stream.next().await, Some(AnswerEvent::Heartbeat));
        let token = AnswerEvent::Token { text: "two".into() };
        events.unbounded_send(token.clone()).expect("the stream listens");
        assert_eq!(stream.next().await, Some(token), "nothing is lost by waiting");
        drop(events);
        assert!(
            stream.all(|event| async move { event == AnswerEvent::Heartbeat }).await,
            "it ends with the answer"
        );
    }
}
