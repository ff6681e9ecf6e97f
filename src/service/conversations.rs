//! Conversations, for those who own them.

use super::{Result, Service};
use crate::chat::{Conversation, ConversationId, Error, Missing, PreviewKey, Visitor, VisitorId};
use crate::store::StoreError;

impl Service {
    /// A visitor's conversation.
    ///
    /// # Errors
    /// It is not there, or another visitor's, which is the same to whoever asks.
    pub async fn conversation(&self, visitor: &Visitor, id: &ConversationId) -> Result<Conversation> {
        self.check_owner(visitor, id).await?;
        Ok(self.store.conversation(id).await?)
    }

    /// Whether a conversation is a visitor's, as [`conversation`](Self::conversation) says, without
    /// what was said in it.
    pub(super) async fn check_owner(&self, visitor: &Visitor, id: &ConversationId) -> Result<()> {
        let owner = self.store.owner(id).await?;
        if owner == VisitorId::NOBODY && visitor.is_known {
            // Kept by a Glimpse that knew no visitors: whoever had the address could use it.
            return Ok(self.store.adopt(id, &visitor.id).await?);
        }
        match visitor.owns(&owner) {
            true => Ok(()),
            false => Err(Error::NotFound {
                what: Missing::Conversation,
            }),
        }
    }

    /// The picture as browsers may see it: a JPEG, encoded anew. Its key is the proof.
    pub async fn preview(&self, key: &PreviewKey) -> Result<tokio_util::bytes::Bytes> {
        let preview = self.store.preview(key).await;
        preview.map_err(|error| match error {
            StoreError::NotFound => Error::NotFound { what: Missing::Picture },
            other => other.into(),
        })
    }
}
