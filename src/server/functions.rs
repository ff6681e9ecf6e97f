//! The server's side of the server functions in [`crate::api`].

use leptos::server_fn::codec::{ByteStream, MultipartData};

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
pub async fn ask(_request: AskRequest) -> Result<ByteStream<ApiError>, ApiError> {
    unimplemented!()
}
pub async fn follow(_conversation: ConversationId) -> Result<ByteStream<ApiError>, ApiError> {
    unimplemented!()
}
pub async fn stop(_conversation: ConversationId) -> Result<(), ApiError> {
    unimplemented!()
}
