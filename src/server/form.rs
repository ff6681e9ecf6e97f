//! `POST /ask`: the page's form, posted by a browser without JavaScript.
//!
//! The answer is waited for, then the browser is sent to the conversation, so that a
//! reload does not ask again. What fails is shown on the page, with everything that was
//! typed still in its place.

use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use futures::StreamExt;
use leptos::prelude::provide_context;

use super::state::{AppState, Shared};
use super::{errors, examples, upload};
use crate::api::{ApiError, AskRequest, Conversation, ConversationId, ErrorKind};
use crate::app;

/// What the page shows of a form that failed.
#[derive(Clone, Default)]
pub struct FailedForm {
    pub error: Option<ApiError>,
    pub draft: String,
    pub conversation: Option<Conversation>,
}

/// The form's fields.
#[derive(Default)]
struct Form {
    /// `None` where no file was chosen.
    picture: Option<Result<Vec<u8>, ApiError>>,
    conversation: Option<ConversationId>,
    question: String,
    describe: bool,
    example: Option<usize>,
    /// Empty leaves it to the server; what is no number is refused as 0 is.
    max_new_tokens: Option<usize>,
}

pub async fn post(State(state): State<AppState>, request: Request<Body>) -> Response {
    let shared = Arc::clone(&state.shared);
    let form = match Form::read(&shared, request).await {
        Ok(form) => form,
        Err(error) => {
            return page(
                &state,
                FailedForm {
                    error: Some(error),
                    ..FailedForm::default()
                },
            )
            .await;
        }
    };
    let draft = form.question.clone();
    match answer(&shared, form).await {
        Ok(id) => Redirect::to(&format!("/c/{id}")).into_response(),
        Err((error, conversation)) => {
            page(
                &state,
                FailedForm {
                    error: Some(error),
                    draft,
                    conversation: conversation.map(|boxed| *boxed),
                },
            )
            .await
        }
    }
}

impl Form {
    async fn read(shared: &Shared, request: Request<Body>) -> Result<Self, ApiError> {
        let mut fields = Multipart::from_request(request, &())
            .await
            .map_err(|error| bad_request(format!("The form was not understood ({error}). Load the page again.")))?;
        let mut form = Self::default();
        // Of the longest question, with some room to say by how much it is too long.
        let most = 8 * shared.limits.question_chars.max(20_000);
        while let Some(field) = fields.next_field().await.map_err(broken)? {
            match field.name().unwrap_or_default() {
                "picture" => {
                    let chosen = field.file_name().is_some_and(|name| !name.is_empty());
                    let bytes = upload::read(field, shared.limits.picture.max_bytes).await;
                    form.picture = chosen.then_some(bytes);
                }
                "conversation" => {
                    form.conversation = Some(text(field, most).await?)
                        .filter(|id| !id.is_empty())
                        .map(ConversationId)
                }
                "question" => form.question = text(field, most).await?,
                "action" => form.describe = text(field, most).await? == "describe",
                "example" => form.example = text(field, most).await?.parse().ok(),
                "max_new_tokens" => {
                    let number = text(field, most).await?;
                    form.max_new_tokens = (!number.is_empty()).then(|| number.parse().unwrap_or(0));
                }
                _ => {}
            }
        }
        Ok(form)
    }
}

/// A field of text, of at most `max_bytes`.
async fn text(field: Field<'_>, max_bytes: usize) -> Result<String, ApiError> {
    let name = field.name().unwrap_or_default().to_string();
    let bytes = upload::read(field, max_bytes).await.map_err(|error| match error.kind {
        ErrorKind::PictureTooLarge => ApiError::new(
            ErrorKind::QuestionRefused,
            format!("The field `{name}` has more than the {max_bytes} bytes that are accepted. Send less."),
        ),
        _ => error,
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Answers to the end; a failure comes with the conversation as far as it got.
async fn answer(shared: &Arc<Shared>, form: Form) -> Result<ConversationId, (ApiError, Option<Box<Conversation>>)> {
    let typed = (!form.describe).then_some(form.question);
    let (id, question) = if let Some(index) = form.example {
        let (bytes, question) = examples::open(index).ok_or_else(|| {
            (
                ApiError::new(
                    ErrorKind::NotFound,
                    "There is no such example. Choose one that is shown.",
                ),
                None,
            )
        })?;
        (
            shared
                .begin_conversation(bytes)
                .await
                .map_err(|error| (error, None))?
                .id,
            question,
        )
    } else if let Some(bytes) = form.picture {
        let begun = match bytes {
            Ok(bytes) => shared.begin_conversation(bytes).await,
            Err(error) => Err(error),
        };
        let before = || {
            form.conversation
                .as_ref()
                .and_then(|id| shared.store.conversation(id).ok())
                .map(Box::new)
        };
        (begun.map_err(|error| (error, before()))?.id, typed)
    } else if let Some(id) = form.conversation {
        (id, typed)
    } else {
        return Err((bad_request("Choose a picture first.".into()), None));
    };
    let so_far = |error: ApiError| (error, shared.store.conversation(&id).ok().map(Box::new));
    let request = AskRequest {
        conversation: id.clone(),
        question,
        max_new_tokens: form.max_new_tokens,
    };
    let running = shared.ask(request).map_err(so_far)?;
    let mut events = pin!(running.follow());
    while events.next().await.is_some() {}
    Ok(id)
}

/// The page at `/ask`, with what went wrong.
async fn page(state: &AppState, failed: FailedForm) -> Response {
    let status = failed
        .error
        .as_ref()
        .map_or(StatusCode::OK, |error| errors::status(error.kind));
    let shared = Arc::clone(&state.shared);
    let leptos = state.leptos.clone();
    let render = leptos_axum::render_app_async_with_context(
        move || {
            provide_context(Arc::clone(&shared));
            provide_context(failed.clone());
        },
        move || app::shell(leptos.clone()),
    );
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = axum::http::Uri::from_static("/ask");
    let mut response = render(request).await;
    *response.status_mut() = status;
    response
}

fn broken(error: MultipartError) -> ApiError {
    bad_request(format!("The form broke off on its way ({error}). Send it again."))
}

fn bad_request(sentence: String) -> ApiError {
    ApiError::new(ErrorKind::BadRequest, sentence)
}
