//! `POST /ask`: the page's form, posted by a browser without JavaScript.
//!
//! The answer is waited for, then the browser is sent to the conversation, so that a
//! reload does not ask again. What fails is shown on the page, with everything that was
//! typed still in its place.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{Extension, FromRequest, State};
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use leptos::prelude::provide_context;

use super::functions;
use crate::api::{self, ApiError, AskRequest, Base, Conversation, ConversationId, Fields, Language, Offers};
use crate::app;
use crate::chat::{Detail, Error, Missing, RequestId, Visitor};
use crate::remote::address;
use crate::server::body::{self, BodyError};
use crate::server::errors;
use crate::server::multipart::{self, FormLimits};
use crate::server::ops::metrics::count_error;
use crate::server::state::AppState;
use crate::service::{Reservation, Service};

/// What the page shows of a form that failed.
#[derive(Clone, Default)]
pub struct FailedForm {
    pub error: Option<ApiError>,
    /// The question as it was typed.
    pub draft: String,
    /// The texts that were to be compared.
    pub texts: Vec<String>,
    /// Of a picture, as it was typed.
    pub address: String,
    pub settings: Fields,
    pub conversation: Option<Conversation>,
    /// That were asked, by name.
    pub models: Vec<String>,
}

impl From<Error> for FailedForm {
    /// One of which nothing but what went wrong is known.
    fn from(error: Error) -> Self {
        Self {
            error: Some(error.into()),
            ..Self::default()
        }
    }
}

/// The form's fields.
#[derive(Default)]
struct Form {
    /// The first file that was chosen.
    picture: Option<Result<Vec<u8>, Error>>,
    /// Of a picture; empty where none is given.
    address: String,
    conversation: Option<ConversationId>,
    question: String,
    /// Each of a field of its own; what is empty is left out.
    texts: Vec<String>,
    action: Action,
    example: Option<usize>,
    /// The model that is asked, and the one that it is compared with.
    model: Option<String>,
    compare_with: Option<String>,
    /// All other fields.
    settings: Fields,
}

/// The button that was pressed.
#[derive(Clone, Copy, Default, PartialEq)]
enum Action {
    #[default]
    Ask,
    Describe,
    /// Puts the picture in and asks nothing yet.
    Open,
    /// Cancels the answer that is being given.
    Stop,
}

/// `POST /ask`: sends the browser to the conversation, or shows the page with what was wrong and
/// the error's status.
pub async fn post(
    State(state): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Extension(id): Extension<RequestId>,
    request: Request<Body>,
) -> Response {
    let base: Base = request.extensions().get().cloned().unwrap_or_default();
    let mut room = state.service.room(visitor.network);
    let cookies = cookies(&request);
    let failed = match Form::read(&state.service, request, &mut room).await {
        Ok(form) => match form.answer(&state, &visitor, room).await {
            Ok(id) => return Redirect::to(&base.at(&format!("/c/{id}"))).into_response(),
            Err(failed) => *failed,
        },
        Err(error) => error.into(),
    };
    page(&state, (base, cookies), visitor, id, failed).await
}

/// `POST /share`: a picture that another program of the visitor's device shares with the page, once that is
/// installed. It begins a conversation, in which nothing is asked yet.
///
/// The browser itself sends it, for no page: with `Sec-Fetch-Site: none`, which no page can have it say, and with
/// the `Origin` `null`. What another site's page posts here is refused as any form is
/// ([`is_from_another_site`](crate::server::Hosts::is_from_another_site)).
pub async fn share(
    State(state): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Extension(id): Extension<RequestId>,
    request: Request<Body>,
) -> Response {
    let base: Base = request.extensions().get().cloned().unwrap_or_default();
    let cookies = cookies(&request);
    let mut room = state.service.room(visitor.network);
    let shared = Form::read(&state.service, request, &mut room).await.and_then(|form| {
        let none = || {
            bad_request(
                "nothing_shared",
                "There is no picture in what was shared. Share a picture.",
                [],
            )
        };
        form.picture.unwrap_or_else(|| Err(none()))
    });
    let begun = match shared {
        Ok(file) => state.service.begin_conversation(&visitor, file, room).await,
        Err(error) => Err(error),
    };
    match begun {
        Ok(conversation) => Redirect::to(&base.at(&format!("/c/{}", conversation.id))).into_response(),
        Err(error) => page(&state, (base, cookies), visitor, id, error.into()).await,
    }
}

/// `GET /share`: a page that said what was wrong with what was shared is loaded again.
pub async fn shared_already(request: Request<Body>) -> Redirect {
    let base: Base = request.extensions().get().cloned().unwrap_or_default();
    Redirect::to(&base.at("/"))
}

/// By which the page that answers looks as the visitor has chosen.
fn cookies(request: &Request<Body>) -> Vec<HeaderValue> {
    request.headers().get_all(header::COOKIE).iter().cloned().collect()
}

impl Form {
    async fn read(service: &Service, request: Request<Body>, room: &mut Reservation) -> Result<Self, Error> {
        body::check_length(request.headers(), service)?;
        // Of the longest question, with some room to say by how much it is too long.
        let most = 8 * service.limits().question_chars.max(20_000);
        let limits = FormLimits::new(most + body::FORM_BYTES);
        let (request, verdict) = multipart::guarded(request, limits)
            .ok_or_else(|| bad_request("no_form", "This is not the page's form. Load the page again.", []))?;
        let form = Self::read_fields(service, request, most, room).await;
        // What has been told of it was made of what is left.
        verdict.error().map_or(form, |error| Err(error.into()))
    }

    async fn read_fields(
        service: &Service,
        request: Request<Body>,
        most: usize,
        room: &mut Reservation,
    ) -> Result<Self, Error> {
        let mut fields = Multipart::from_request(request, &()).await.map_err(|error| {
            let text = format!("The form was not understood ({error}). Load the page again.");
            bad_request("form_not_understood", text, [("reason", error.to_string())])
        })?;
        let mut form = Self::default();
        while let Some(field) = fields.next_field().await.map_err(broken)? {
            match field.name().unwrap_or_default() {
                "picture" => {
                    let chosen = field.file_name().is_some_and(|name| !name.is_empty());
                    if chosen && form.picture.is_none() {
                        let file = body::read_limited(field, service.limits().picture.max_bytes, room).await;
                        form.picture = Some(file.map_err(functions::upload_error));
                    }
                }
                "address" => form.address = text(field, most, room).await?.trim().to_string(),
                "conversation" => {
                    form.conversation = Some(text(field, most, room).await?)
                        .filter(|id| !id.is_empty())
                        .map(ConversationId)
                }
                "question" => form.question = text(field, most, room).await?,
                "text" => {
                    let typed = text(field, most, room).await?;
                    if !typed.trim().is_empty() {
                        form.texts.push(typed);
                    }
                }
                "action" => {
                    form.action = match text(field, most, room).await?.as_str() {
                        "describe" => Action::Describe,
                        "open" => Action::Open,
                        "stop" => Action::Stop,
                        _ => Action::Ask,
                    }
                }
                "model" => form.model = Some(text(field, most, room).await?).filter(|name| !name.is_empty()),
                "compare_with" => {
                    form.compare_with = Some(text(field, most, room).await?).filter(|name| !name.is_empty())
                }
                "example" => form.example = text(field, most, room).await?.parse().ok(),
                name if api::is_setting(name) => {
                    let name = name.to_owned();
                    form.settings.insert(name, text(field, most, room).await?);
                }
                _ => {}
            }
        }
        Ok(form)
    }

    /// Answers to the end; a failure comes with everything that was typed, and the
    /// conversation as far as it got.
    async fn answer(
        mut self,
        state: &AppState,
        visitor: &Visitor,
        room: Reservation,
    ) -> Result<ConversationId, Box<FailedForm>> {
        let service = &*state.service;
        let answered = match self.begin(state, visitor, room).await {
            Ok(id) => {
                // From now on the form is about that conversation.
                self.address.clear();
                self.conversation = Some(id.clone());
                self.ask(service, visitor, id).await
            }
            Err(error) => Err(error),
        };
        match answered {
            Ok(id) => Ok(id),
            Err(error) => Err(Box::new(self.failed(service, visitor, error).await)),
        }
    }

    /// The page as it was, with what went wrong.
    async fn failed(self, service: &Service, visitor: &Visitor, error: Error) -> FailedForm {
        let conversation = match self.conversation {
            Some(id) => functions::own(service, visitor, &id).await.ok(),
            None => None,
        };
        FailedForm {
            error: Some(error.into()),
            conversation,
            draft: self.question,
            texts: self.texts,
            // What was typed comes back, but for a password.
            address: address::shown(&self.address),
            settings: self.settings,
            models: self.model.into_iter().chain(self.compare_with).collect(),
        }
    }

    /// What can be asked of all models that are.
    fn offers(&self, service: &Service) -> Offers {
        let first = service.model().name.clone();
        let names = self
            .model
            .as_ref()
            .or(Some(&first))
            .into_iter()
            .chain(&self.compare_with);
        let of = |name: &String| service.models().find(|engine| engine.description().name == *name);
        let offers = names.filter_map(of).map(|engine| engine.description().purpose.into());
        offers.reduce(Offers::common).unwrap_or(service.model().purpose.into())
    }

    /// The conversation that the form is about, begun if it brings a picture.
    async fn begin(&mut self, state: &AppState, visitor: &Visitor, room: Reservation) -> Result<ConversationId, Error> {
        let service = &*state.service;
        let begun = if let (Action::Stop, Some(id)) = (self.action, &self.conversation) {
            // Whatever else the form has is for later.
            return Ok(id.clone());
        } else if let Some(index) = self.example {
            let missing = Error::NotFound { what: Missing::Example };
            let read = functions::read_example(&state.customization, index).await;
            let (file, example) = read.ok_or(missing)?;
            let offers = self.offers(service);
            self.question = example.question_for(offers).to_owned();
            self.texts = example.texts_for(offers).to_vec();
            self.action = if self.question.is_empty() {
                Action::Describe
            } else {
                Action::Ask
            };
            service.begin_conversation(visitor, file, room).await
        } else if let Some(file) = self.picture.take() {
            service.begin_conversation(visitor, file?, room).await
        } else if !self.address.is_empty() {
            service.begin_from_address(visitor, self.address.clone(), room).await
        } else if self.action == Action::Open {
            Err(bad_request(
                "no_address",
                "Give the address of a picture, or choose a file.",
                [],
            ))
        } else if let Some(id) = &self.conversation {
            return Ok(id.clone());
        } else {
            Err(bad_request("no_picture", "Choose a picture first.", []))
        };
        begun.map(|conversation| ConversationId(conversation.id.to_string()))
    }

    async fn ask(&self, service: &Service, visitor: &Visitor, id: ConversationId) -> Result<ConversationId, Error> {
        let mut question = match self.action {
            Action::Open => return Ok(id),
            Action::Stop => return functions::stop(service, visitor, &id).await.map(|()| id),
            Action::Describe => None,
            Action::Ask => Some(self.question.clone()),
        };
        let mut texts = self.texts.clone();
        if self.offers(service).matching && texts.is_empty() {
            // The page had one box, since another model was chosen when it was made.
            texts.extend(question.take());
        }
        let request = AskRequest {
            conversation: id.clone(),
            question,
            texts,
            model: self.model.clone(),
            compare_with: self.compare_with.clone(),
            place: None,
            fields: self.settings.clone(),
            settings: Default::default(),
        };
        let answer = functions::begin_answer(service, visitor, request).await?;
        answer.ended().await;
        Ok(id)
    }
}

/// A field of text, of at most `limit` bytes.
async fn text(field: Field<'_>, limit: usize, room: &mut Reservation) -> Result<String, Error> {
    let name = field.name().unwrap_or_default().to_string();
    let bytes = body::read_limited(field, limit, room)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge { limit, .. } => bad_request(
                "form_field",
                format!("The field `{name}` has more than the {limit} bytes that are accepted. Send less."),
                [("field", name), ("limit", limit.to_string())],
            ),
            broken_off => functions::upload_error(broken_off),
        })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The page at `/ask`, with what went wrong.
async fn page(
    state: &AppState,
    (base, cookies): (Base, Vec<HeaderValue>),
    visitor: Visitor,
    id: RequestId,
    failed: FailedForm,
) -> Response {
    let status = failed
        .error
        .as_ref()
        .map_or(StatusCode::OK, |error| errors::status(error.code));
    if let Some(error) = &failed.error {
        count_error(error.code);
    }
    let retry_after = failed.error.as_ref().and_then(errors::retry_after);
    let (service, customization) = (Arc::clone(&state.service), Arc::clone(&state.customization));
    let leptos = state.leptos.clone();
    let render = leptos_axum::render_app_async_with_context(
        move || {
            super::provide_contexts(&service, &customization);
            provide_context(failed.clone());
        },
        move || app::shell(leptos.clone()),
    );
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(base);
    request.extensions_mut().insert(Language::current());
    for cookie in cookies {
        request.headers_mut().append(header::COOKIE, cookie);
    }
    *request.uri_mut() = axum::http::Uri::from_static("/ask");
    request.extensions_mut().insert(visitor);
    request.extensions_mut().insert(id);
    let mut response = render(request).await;
    *response.status_mut() = status;
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

fn broken(error: MultipartError) -> Error {
    let text = format!("The form broke off on its way ({error}). Send it again.");
    bad_request("form_broke_off", text, [("reason", error.to_string())])
}

fn bad_request<const N: usize>(reason: &str, text: impl Into<String>, values: [(&str, String); N]) -> Error {
    Error::BadRequest {
        detail: Detail::new(reason, text, values),
    }
}
