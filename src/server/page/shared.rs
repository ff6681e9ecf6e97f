//! `GET /s/{id}`: what was said in a conversation until its owner shared it, for whoever has the address. It is
//! rendered here alone, without a script, and its picture has an address of its own: neither tells the
//! conversation's. `POST /c/{id}/share` and `/unshare` are for owners without JavaScript.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::document::{self, Frame};
use super::escaping::html;
use super::export::refused;
use crate::api::{Base, Language, t};
use crate::chat::{ConversationId, Error, Missing, ShareId, Shared, Visitor};
use crate::processor::preview;
use crate::server::csp;
use crate::server::errors::Reader;
use crate::server::host_and_origin::Hosts;
use crate::server::plain_page::PlainPage;
use crate::server::state::AppState;
use crate::service::Service;

/// What was revoked is to be gone at once, and no search engine is to keep it.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("x-robots-tag"),
        HeaderValue::from_static("noindex"),
    ),
];

/// Where it can be read, below the base.
pub fn path(id: &ShareId) -> String {
    format!("/s/{id}")
}

/// The page.
pub async fn page(
    State(service): State<Arc<Service>>,
    Extension(hosts): Extension<Arc<Hosts>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    match shared(&service, id).await {
        Ok((id, shared)) => {
            let base: Base = request.extensions().get().cloned().unwrap_or_default();
            let origin = hosts.origin(request.headers(), request.extensions().get());
            let (policy, nonce) = csp::of_document();
            let page = render(&id, &shared, &base, origin.as_deref(), &nonce);
            let headers = [
                (
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("text/html; charset=utf-8"),
                ),
                (header::CONTENT_SECURITY_POLICY, policy),
            ];
            (HEADERS, headers, page).into_response()
        }
        Err(error) => (
            HEADERS,
            refused(error, &Reader::of(request.headers(), request.extensions())),
        )
            .into_response(),
    }
}

async fn shared(service: &Service, id: Result<Path<String>, PathRejection>) -> Result<(ShareId, Shared), Error> {
    let id = parse(id)?;
    let shared = service.shared(&id).await?;
    Ok((id, shared))
}

fn parse(id: Result<Path<String>, PathRejection>) -> Result<ShareId, Error> {
    let id = id.ok().and_then(|Path(id)| ShareId::parse(&id));
    id.ok_or(Error::NotFound { what: Missing::Share })
}

fn render(id: &ShareId, shared: &Shared, base: &Base, origin: Option<&str>, nonce: &str) -> String {
    let conversation = &shared.conversation;
    let address = base.at(&path(id));
    let picture = format!("{address}/picture.jpg");
    let home = base.at("/");
    let (title, description) = (document::title(conversation), document::description(conversation));
    let (width, height) = preview::sides(conversation.picture.width, conversation.picture.height);
    let mut head = format!(
        "<meta name=\"robots\" content=\"noindex\">\n<link rel=\"icon\" href=\"{}\" type=\"image/svg+xml\">\n",
        base.at("/favicon.svg")
    );
    let mut tag = |kind: &str, name: &str, content: &str| {
        head += &format!("<meta {kind}=\"{name}\" content=\"{}\">\n", html(content));
    };
    tag("name", "description", &description);
    tag("property", "og:type", "article");
    tag("property", "og:site_name", "Glimpse");
    tag("property", "og:title", &title);
    tag("property", "og:description", &description);
    tag("name", "twitter:card", "summary_large_image");
    tag("name", "twitter:title", &title);
    tag("name", "twitter:description", &description);
    // Others take whole addresses only.
    if let Some(origin) = origin {
        let picture = [origin, &picture].concat();
        tag("property", "og:url", &[origin, &address].concat());
        tag("property", "og:image", &picture);
        tag("property", "og:image:type", "image/jpeg");
        tag("property", "og:image:width", &width.to_string());
        tag("property", "og:image:height", &height.to_string());
        tag("property", "og:image:alt", t("plain.picture"));
        tag("name", "twitter:image", &picture);
    }
    let frame = Frame {
        picture: &picture,
        head: &head,
        nonce: &format!(" nonce=\"{nonce}\""),
        top: &format!("<a class=\"brand\" href=\"{home}\">{}</a>", document::brand()),
        foot: &[
            document::foot("plain.shared_on", shared.created),
            format!("<p><a class=\"open\" href=\"{home}\">{}</a></p>", t("plain.open")),
        ]
        .concat(),
    };
    document::document(conversation, &frame)
}

/// `GET /s/{id}/picture.jpg`.
pub async fn picture(State(service): State<Arc<Service>>, id: Result<Path<String>, PathRejection>) -> Response {
    let found = match parse(id) {
        Ok(id) => service.shared_picture(&id).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(picture) => (HEADERS, [(header::CONTENT_TYPE, "image/jpeg")], picture).into_response(),
        Err(error) => (HEADERS, refused(error, &Reader::for_programs())).into_response(),
    }
}

/// `POST /c/{id}/share`: shares, and says where.
pub async fn share(
    State(state): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Extension(hosts): Extension<Arc<Hosts>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let reader = Reader::of(request.headers(), request.extensions());
    let base: Base = request.extensions().get().cloned().unwrap_or_default();
    let made = match own(id) {
        Ok(id) => state.service.share(&visitor, &id, None).await.map(|share| (id, share)),
        Err(error) => Err(error),
    };
    let (id, share) = match made {
        Ok(made) => made,
        Err(error) => return refused(error, &reader),
    };
    let origin = hosts.origin(request.headers(), request.extensions().get());
    let address = html(&[&origin.unwrap_or_default(), &*base.at(&path(&share))].concat());
    let back = base.at(&format!("/c/{id}"));
    PlainPage {
        base: &base,
        language: Language::current(),
        title: t("plain.shared"),
        head: "",
        style: "body { max-width: 40rem; margin: 15vh auto 0; padding: 0 1rem; font: 1.125rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }",
        script: "",
        body: &format!(
            "<p>{}</p><p><a href=\"{address}\">{address}</a></p><p><a href=\"{back}\">{}</a></p>",
            t("plain.shared_at"),
            t("plain.back")
        ),
    }
    .into_response()
}

/// `POST /c/{id}/unshare`: ends it.
pub async fn unshare(
    State(state): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let base: Base = request.extensions().get().cloned().unwrap_or_default();
    let ended = match own(id) {
        Ok(id) => state.service.unshare(&visitor, &id).await.map(|()| id),
        Err(error) => Err(error),
    };
    match ended {
        Ok(id) => Redirect::to(&base.at(&format!("/c/{id}"))).into_response(),
        Err(error) => refused(error, &Reader::of(request.headers(), request.extensions())),
    }
}

fn own(id: Result<Path<String>, PathRejection>) -> Result<ConversationId, Error> {
    let id = id.ok().and_then(|Path(id)| ConversationId::parse(&id));
    id.ok_or(Error::NotFound {
        what: Missing::Conversation,
    })
}
