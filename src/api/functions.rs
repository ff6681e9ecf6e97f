//! The server functions: what the page can ask the server to do.

use leptos::prelude::*;
use leptos::server_fn::codec::{ByteStream, Json, MultipartData, MultipartFormData, Streaming};

use super::client::PageClient;
use super::{
    AnswerId, ApiError, AskRequest, Conversation, ConversationId, Explanation, ExportedFile, Feedback, History,
    PageState, TurnId,
};

#[cfg(feature = "ssr")]
use crate::server::page::functions as server_side;

/// Everything the page needs to render itself at its address.
#[server(name = LoadPage, prefix = "/api/page", endpoint = "state", input = Json, client = PageClient)]
pub async fn page_state(conversation: Option<ConversationId>) -> Result<PageState, ApiError> {
    server_side::page_state(conversation).await
}

/// Starts a conversation about the uploaded picture (form field `picture`).
#[server(prefix = "/api/page", endpoint = "upload", input = MultipartFormData, client = PageClient)]
pub async fn upload_picture(data: MultipartData) -> Result<Conversation, ApiError> {
    server_side::upload_picture(data).await
}

/// Starts a conversation about one of the example pictures.
#[server(prefix = "/api/page", endpoint = "example", input = Json, client = PageClient)]
pub async fn open_example(index: usize) -> Result<Conversation, ApiError> {
    server_side::open_example(index).await
}

/// Starts a conversation about the picture at an http(s) address.
#[server(prefix = "/api/page", endpoint = "address", input = Json, client = PageClient)]
pub async fn open_address(address: String) -> Result<Conversation, ApiError> {
    server_side::open_address(address).await
}

/// Asks; the answer comes as lines of [`super::AnswerLine`].
#[server(prefix = "/api/page", endpoint = "ask", input = Json, output = Streaming, client = PageClient)]
pub async fn ask(request: AskRequest) -> Result<ByteStream<ApiError>, ApiError> {
    server_side::ask(request).await
}

/// Takes up the stream of an answer behind the line with the number `after`, or from its
/// beginning. Without an answer it is the last that was asked for in the conversation.
#[server(prefix = "/api/page", endpoint = "follow", input = Json, output = Streaming, client = PageClient)]
pub async fn follow(
    conversation: ConversationId,
    answer: Option<AnswerId>,
    after: Option<u64>,
) -> Result<ByteStream<ApiError>, ApiError> {
    server_side::follow(conversation, answer, after).await
}

/// Cancels the answer that is being generated; what has come of it stays.
#[server(prefix = "/api/page", endpoint = "cancel", input = Json, client = PageClient)]
pub async fn cancel(conversation: ConversationId) -> Result<(), ApiError> {
    server_side::cancel(conversation).await
}

/// What the words of an answer looked at, and how sure the model was of each.
#[server(prefix = "/api/page", endpoint = "explain", input = Json, client = PageClient)]
pub async fn explain(conversation: ConversationId, answer: AnswerId) -> Result<Explanation, ApiError> {
    server_side::explain(conversation, answer).await
}

/// The visitor's conversations.
#[server(name = LoadHistory, prefix = "/api/page", endpoint = "history", input = Json, client = PageClient)]
pub async fn history() -> Result<History, ApiError> {
    server_side::history().await
}

/// Calls a conversation so; an empty title gives it back its own.
#[server(prefix = "/api/page", endpoint = "rename", input = Json, client = PageClient)]
pub async fn rename(conversation: ConversationId, title: String) -> Result<(), ApiError> {
    server_side::rename(conversation, title).await
}

/// Pins a conversation, or lets it go.
#[server(prefix = "/api/page", endpoint = "pin", input = Json, client = PageClient)]
pub async fn pin(conversation: ConversationId, is_pinned: bool) -> Result<(), ApiError> {
    server_side::pin(conversation, is_pinned).await
}

/// Removes a conversation for good; without one, all of the visitor's.
#[server(prefix = "/api/page", endpoint = "remove", input = Json, client = PageClient)]
pub async fn remove(conversation: Option<ConversationId>) -> Result<(), ApiError> {
    server_side::remove(conversation).await
}

/// Makes an address at which anybody can read what was said until now, up to a turn or the last: a path below the
/// base.
#[server(prefix = "/api/page", endpoint = "share", input = Json, client = PageClient)]
pub async fn share(conversation: ConversationId, last: Option<TurnId>) -> Result<String, ApiError> {
    server_side::share(conversation, last).await
}

/// Makes all those addresses lead nowhere.
#[server(prefix = "/api/page", endpoint = "unshare", input = Json, client = PageClient)]
pub async fn unshare(conversation: ConversationId) -> Result<(), ApiError> {
    server_side::unshare(conversation).await
}

/// How many of them there are.
#[server(prefix = "/api/page", endpoint = "shares", input = Json, client = PageClient)]
pub async fn shares(conversation: ConversationId) -> Result<usize, ApiError> {
    server_side::shares(conversation).await
}

/// A conversation as a file with this ending: `md` or `html`, up to a turn or the last, or `json`, all of it.
#[server(prefix = "/api/page", endpoint = "export", input = Json, client = PageClient)]
pub async fn export(
    conversation: ConversationId,
    ending: String,
    last: Option<TurnId>,
) -> Result<ExportedFile, ApiError> {
    server_side::export(conversation, ending, last).await
}

/// Keeps what the visitor thinks of an answer; nothing takes it back.
#[server(prefix = "/api/page", endpoint = "rate", input = Json, client = PageClient)]
pub async fn rate(conversation: ConversationId, answer: AnswerId, feedback: Option<Feedback>) -> Result<(), ApiError> {
    server_side::rate(conversation, answer, feedback).await
}
