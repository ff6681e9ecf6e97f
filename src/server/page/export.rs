//! A conversation as a file: Markdown, JSON or HTML. The page asks for it by a server function, a browser without
//! JavaScript at `GET /c/{id}/conversation.md` and so on, as whose cookie says who asks.

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::document::{self, Frame};
use super::escaping::line;
use super::markdown;
use crate::api::{ApiError, ExportedFile, t};
use crate::chat::{Conversation, ConversationId, Error, Missing, TurnId, Visitor};
use crate::server::errors::{self, Reader};
use crate::server::ops::metrics::count_error;
use crate::server::state::AppState;
use crate::service::Service;
use crate::service::export::ExportedConversation;

/// Characters of a file's name that are the conversation's.
const MOST_OF_NAME: usize = 40;

/// A file that is opened from a disk runs nothing, and loads nothing from anywhere.
const POLICY: &str = r#"<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">"#;

/// The forms, by the ending of their files.
#[derive(Clone, Copy, PartialEq)]
pub enum Format {
    Markdown,
    Json,
    Html,
}

impl Format {
    /// The form with this ending.
    pub fn parse(ending: &str) -> Option<Self> {
        match ending {
            "md" => Some(Self::Markdown),
            "json" => Some(Self::Json),
            "html" => Some(Self::Html),
            _ => None,
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Markdown => "md",
            Self::Json => "json",
            Self::Html => "html",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::Json => "application/json",
            Self::Html => "text/html; charset=utf-8",
        }
    }
}

/// A visitor's conversation as a file.
///
/// # Errors
/// It is not his, or the disk refuses.
pub async fn file(
    service: &Service,
    visitor: &Visitor,
    id: &ConversationId,
    format: Format,
    last: Option<TurnId>,
) -> Result<ExportedFile, Error> {
    let mut conversation = service.conversation(visitor, id).await?;
    if format != Format::Json {
        // Who reads it wants what was said, not what might have been said in its place.
        let last = last.or_else(|| Some(conversation.turns.last()?.id.clone()));
        conversation.turns = conversation.path_to(last.as_ref()).into_iter().cloned().collect();
    }
    let name = file_name(&document::title(&conversation), format);
    let text = match format {
        Format::Markdown => markdown::document(&conversation),
        Format::Json => json(conversation)?,
        Format::Html => page(&conversation, &service.preview(&conversation.picture.preview).await?),
    };
    Ok(ExportedFile {
        name,
        media_type: format.media_type().to_owned(),
        text,
    })
}

fn json(conversation: Conversation) -> Result<String, Error> {
    let exported = ExportedConversation::from(conversation);
    let text = serde_json::to_string_pretty(&exported);
    text.map(|text| text + "\n").map_err(|error| {
        tracing::error!("a conversation has no JSON form: {error}");
        Error::internal()
    })
}

fn page(conversation: &Conversation, picture: &[u8]) -> String {
    let picture = format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(picture));
    let frame = Frame {
        picture: &picture,
        head: POLICY,
        nonce: "",
        top: &document::brand(),
        foot: &document::foot("plain.begun_on", conversation.created),
    };
    document::document(conversation, &frame)
}

/// A name that every system takes: plain letters and digits of the title, with `-` between them.
fn file_name(title: &str, format: Format) -> String {
    let words = line(title).to_lowercase();
    let words = words
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let mut name = String::from("glimpse");
    for word in words {
        if name.len() + word.len() > MOST_OF_NAME {
            break;
        }
        name.push('-');
        name.push_str(word);
    }
    format!("{name}.{}", format.ending())
}

/// `GET /c/{id}/conversation.md`: the file, for a browser that has the visitor's cookie.
pub async fn serve(
    State(state): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let named = path.ok().and_then(|Path((id, file))| {
        let format = Format::parse(file.strip_prefix("conversation.")?)?;
        Some((ConversationId::parse(&id)?, format))
    });
    let found = match named {
        Some((id, format)) => file(&state.service, &visitor, &id, format, None).await,
        None => Err(Error::NotFound {
            what: Missing::Conversation,
        }),
    };
    match found {
        Ok(file) => {
            let disposition = format!("attachment; filename=\"{}\"", file.name);
            let headers = [
                (header::CONTENT_TYPE, file.media_type),
                (header::CONTENT_DISPOSITION, disposition),
                (header::CACHE_CONTROL, "private, no-store".to_owned()),
            ];
            (headers, file.text).into_response()
        }
        Err(error) => refused(error, &Reader::of(request.headers(), request.extensions())),
    }
}

/// A page that says what is wrong.
pub fn refused(error: Error, reader: &Reader) -> Response {
    let error = ApiError::from(error);
    count_error(error.code);
    errors::page(errors::status(error.code), t("plain.not_found"), &error.message, reader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_is_plain() {
        for (title, name) in [
            ("What is above the rocket?", "glimpse-what-is-above-the-rocket.md"),
            ("../../etc/passwd\0\u{202e}gpj.exe", "glimpse-etc-passwdgpj-exe.md"),
            ("Wie heißt das?", "glimpse-wie-hei-t-das.md"),
            ("\u{732b}?", "glimpse.md"),
            ("CON", "glimpse-con.md"),
            (&"word ".repeat(50), "glimpse-word-word-word-word-word-word.md"),
        ] {
            assert_eq!(file_name(title, Format::Markdown), name);
        }
    }
}
