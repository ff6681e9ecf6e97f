//! The server's side of the server functions in [`crate::api`].

use leptos::server_fn::codec::{MultipartData, TextStream};

use crate::api::{ApiError, AskRequest, Conversation, ConversationId, PageState};

pub async fn page_state(_conversation: Option<ConversationId>) -> Result<PageState, ApiError> {
    unimplemented!()
}
pub async fn upload_picture(_data: MultipartData) -> Result<Conversation, ApiError> {
    unimplemented!()
}
pub async fn open_example(_index: usize) -> Result<Conversation, ApiError> {
    unimplemented!()
}
pub async fn ask(_request: AskRequest) -> Result<TextStream<ApiError>, ApiError> {
    unimplemented!()
}
pub async fn follow(_conversation: ConversationId) -> Result<TextStream<ApiError>, ApiError> {
    unimplemented!()
}
pub async fn stop(_conversation: ConversationId) -> Result<(), ApiError> {
    unimplemented!()
}
