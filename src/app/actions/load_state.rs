//! Asks the server what it knows of the page.

use crate::api::{self, ApiError, ConversationId, PageState};
use crate::app::state::State;

/// What the server knows, and whether it is another Glimpse by now.
pub async fn load_state(state: State, id: Option<ConversationId>) -> Result<PageState, ApiError> {
    let page = api::page_state(id).await;
    if let Ok(page) = &page {
        state.compare_version(page);
    }
    page
}
