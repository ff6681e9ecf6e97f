//! Conversations, for those who own them.

use super::{Result, Service};
use crate::chat::{
    Conversation, ConversationEntry, ConversationId, Detail, Error, Missing, PreviewKey, Visitor, VisitorId,
};
use crate::store::StoreError;

/// Characters of a title.
const MOST_OF_TITLE: usize = 200;

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

    /// A visitor's conversations: those that are pinned first, then the latest.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn conversations(&self, visitor: &Visitor) -> Result<Vec<ConversationEntry>> {
        let most = self.limits.store.conversations_per_visitor;
        Ok(self.store.conversations(&visitor.id, most).await?)
    }

    /// Calls a visitor's conversation so, in one line; an empty title gives it back its own.
    ///
    /// # Errors
    /// It is not his, or the title is longer than a question may be.
    pub async fn rename(&self, visitor: &Visitor, id: &ConversationId, title: &str) -> Result<()> {
        let title = in_one_line(title);
        let (chars, limit) = (title.chars().count(), self.limits.question_chars.min(MOST_OF_TITLE));
        if chars > limit {
            let text = format!("A title has at most {limit} characters, and this one has {chars}. Shorten it.");
            let values = [("limit", limit.to_string()), ("chars", chars.to_string())];
            let detail = Detail::new("long_title", text, values);
            return Err(Error::BadRequest { detail });
        }
        self.check_owner(visitor, id).await?;
        let title = Some(title.as_str()).filter(|title| !title.is_empty());
        Ok(self.store.rename(id, title).await?)
    }

    /// Pins a visitor's conversation, or lets it go.
    ///
    /// # Errors
    /// It is not his.
    pub async fn pin(&self, visitor: &Visitor, id: &ConversationId, is_pinned: bool) -> Result<()> {
        self.check_owner(visitor, id).await?;
        Ok(self.store.pin(id, is_pinned).await?)
    }

    /// Removes a visitor's conversation from the disk, and its picture where nobody else has it. An answer that
    /// is being given is cancelled.
    ///
    /// # Errors
    /// It is not his, or the disk refuses.
    pub async fn remove(&self, visitor: &Visitor, id: &ConversationId) -> Result<()> {
        self.stop(visitor, id).await?;
        Ok(self.store.remove(id).await?)
    }

    /// The same of all of a visitor's conversations.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn remove_all(&self, visitor: &Visitor) -> Result<()> {
        for entry in self.conversations(visitor).await? {
            match self.remove(visitor, &entry.id).await {
                // Gone meanwhile.
                Err(Error::NotFound { .. }) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
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

/// Words with one space between them.
pub(super) fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
