//! Conversations that others may read, and what their owners think of answers.

use tokio_util::bytes::Bytes;

use super::conversations::in_one_line;
use super::{Result, Service};
use crate::chat::{AnswerId, ConversationId, Detail, Error, Feedback, Missing, ShareId, Shared, TurnId, Visitor};
use crate::store::StoreError;

/// Addresses at which a conversation can be read at a time.
const MOST_SHARES: usize = 50;

/// Characters of what is said of an answer.
const MOST_OF_NOTE: usize = 500;

impl Service {
    /// Makes an address for whoever has it to read what was said in a visitor's conversation until now: up to the
    /// turn that is named, or else the one that began last.
    ///
    /// # Errors
    /// It is not his, has no such turn, nothing was said in it yet, an answer is being given, or it has addresses
    /// enough.
    pub async fn share(&self, visitor: &Visitor, id: &ConversationId, last: Option<&TurnId>) -> Result<ShareId> {
        let conversation = self.conversation(visitor, id).await?;
        let last = match last {
            Some(last) => last,
            None => &conversation.turns.last().ok_or_else(nothing_said)?.id,
        };
        if self.store.shares(id).await? >= MOST_SHARES {
            let text = format!(
                "This conversation can be read at {MOST_SHARES} addresses already. Stop sharing, and make a new one."
            );
            let detail = Detail::new("many_shares", text, [("limit", MOST_SHARES.to_string())]);
            return Err(Error::BadRequest { detail });
        }
        let share = ShareId::random();
        let shared = self.store.share(&share.key(), id, last).await;
        shared.map_err(|error| match error {
            StoreError::NotFound => Error::NotFound { what: Missing::Turn },
            other => other.into(),
        })?;
        Ok(share)
    }

    /// Lets nobody but its owner read a conversation; all addresses of it lead nowhere from now on.
    ///
    /// # Errors
    /// It is not his.
    pub async fn unshare(&self, visitor: &Visitor, id: &ConversationId) -> Result<()> {
        self.check_owner(visitor, id).await?;
        Ok(self.store.unshare(id).await?)
    }

    /// At how many addresses others can read a visitor's conversation.
    ///
    /// # Errors
    /// It is not his.
    pub async fn shares(&self, visitor: &Visitor, id: &ConversationId) -> Result<usize> {
        self.check_owner(visitor, id).await?;
        Ok(self.store.shares(id).await?)
    }

    /// What was shared; whoever knows the id may read it.
    ///
    /// # Errors
    /// Nothing was, or it is not any more.
    pub async fn shared(&self, id: &ShareId) -> Result<Shared> {
        self.store.shared(&id.key()).await.map_err(not_shared)
    }

    /// The picture of what was shared, as [`preview`](Self::preview) has it.
    ///
    /// # Errors
    /// The same.
    pub async fn shared_picture(&self, id: &ShareId) -> Result<Bytes> {
        self.store.shared_preview(&id.key()).await.map_err(not_shared)
    }

    /// Keeps what a visitor thinks of an answer that he was given; without a word of it, that he thinks nothing.
    ///
    /// # Errors
    /// The answer is not his, or his note is too long.
    pub async fn rate(
        &self,
        visitor: &Visitor,
        id: &ConversationId,
        answer: &AnswerId,
        feedback: Option<Feedback>,
    ) -> Result<()> {
        let feedback = feedback.map(tidied).transpose()?;
        self.check_owner(visitor, id).await?;
        let rated = self.store.rate(id, answer, feedback.as_ref()).await;
        rated.map_err(|error| match error {
            StoreError::NotFound => Error::NotFound { what: Missing::Answer },
            other => other.into(),
        })
    }
}

/// With a note in one line, or none.
fn tidied(feedback: Feedback) -> Result<Feedback> {
    let note = in_one_line(&feedback.note.unwrap_or_default());
    let chars = note.chars().count();
    if chars > MOST_OF_NOTE {
        let text =
            format!("What you say of it has {chars} characters, and at most {MOST_OF_NOTE} are kept. Shorten it.");
        let values = [("chars", chars.to_string()), ("limit", MOST_OF_NOTE.to_string())];
        let detail = Detail::new("long_note", text, values);
        return Err(Error::BadRequest { detail });
    }
    Ok(Feedback {
        is_good: feedback.is_good,
        note: Some(note).filter(|note| !note.is_empty()),
    })
}

fn nothing_said() -> Error {
    Error::BadRequest {
        detail: Detail::new(
            "nothing_said",
            "Nothing was said yet that others could read. Ask something first.",
            [],
        ),
    }
}

fn not_shared(error: StoreError) -> Error {
    match error {
        StoreError::NotFound => Error::NotFound { what: Missing::Share },
        other => other.into(),
    }
}
