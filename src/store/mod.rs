//! Conversations and their pictures, which outlive a request and the process.
//!
//! [`Store`] is what the rooms above know. Behind it is [`SqliteStore`]: a database
//! (`sqlite`, whose schema is in `migrations/`) and, beside it, a folder of pictures
//! (`pictures`), both in a folder that only its owner may look into (`folder`).

mod error;
mod folder;
mod pictures;
mod sqlite;

use std::time::Duration;

use async_trait::async_trait;
use tokio_util::bytes::Bytes;

use crate::chat::{
    Answer, AnswerId, Conversation, ConversationEntry, ConversationId, Feedback, PictureId, PreviewKey, ShareKey,
    Shared, Turn, TurnId, VisitorId,
};

pub use error::StoreError;
pub use sqlite::{Archive, RatedAnswer, SqliteStore};

/// What keeps conversations. Every method is one step: it has happened or it has not, also
/// where its future is dropped or the process is killed in the middle of it.
#[async_trait]
pub trait Store: Send + Sync {
    /// Keeps a picture whole, with its preview: once, however many visitors put it in. It goes
    /// when the last conversation about it does, or if none begins within some minutes.
    ///
    /// # Errors
    /// The disk refuses.
    async fn keep_picture(&self, picture: NewPicture) -> Result<(), StoreError>;

    /// The file of a picture that was kept: as it, or another one of the same pixels, was put in.
    ///
    /// # Errors
    /// There is none, or the disk refuses.
    async fn picture(&self, id: &PictureId) -> Result<Bytes, StoreError>;

    /// The preview of a conversation's picture.
    ///
    /// # Errors
    /// There is none, or the disk refuses.
    async fn preview(&self, key: &PreviewKey) -> Result<Bytes, StoreError>;

    /// Begins a conversation about a picture that is kept. Those go first that are older than
    /// they may be. Where its owner then has too many, his own go that were used longest ago, and
    /// where all have too many, or take too much of the disk, others'. None goes whose answer is
    /// being given.
    ///
    /// # Errors
    /// The picture is not kept, or is larger than all that may be kept; nothing goes then.
    async fn begin_conversation(&self, new: &NewConversation, limits: &Limits) -> Result<Evicted, StoreError>;

    /// All that was said.
    ///
    /// # Errors
    /// There is no such conversation.
    async fn conversation(&self, id: &ConversationId) -> Result<Conversation, StoreError>;

    /// Whose a conversation is.
    ///
    /// # Errors
    /// There is no such conversation.
    async fn owner(&self, id: &ConversationId) -> Result<VisitorId, StoreError>;

    /// Gives a conversation that belongs to [`VisitorId::NOBODY`] to a visitor. One that is
    /// his already stays his.
    ///
    /// # Errors
    /// There is no such conversation, or it is another visitor's.
    async fn adopt(&self, conversation: &ConversationId, visitor: &VisitorId) -> Result<(), StoreError>;

    /// Adds a turn, with its answer that is to come.
    ///
    /// # Errors
    /// An answer of the conversation is being given, it has as many turns as it may, or there
    /// is no such conversation, or no such turn to follow.
    async fn begin_turn(&self, conversation: &ConversationId, turn: &Turn) -> Result<(), StoreError>;

    /// Adds another answer to a turn. It counts as a turn.
    ///
    /// # Errors
    /// As [`begin_turn`](Self::begin_turn).
    async fn begin_answer(&self, turn: &TurnId, answer: &Answer) -> Result<(), StoreError>;

    /// A visitor's conversations: those that are pinned first, then the latest, and so many at most.
    ///
    /// # Errors
    /// The disk refuses.
    async fn conversations(&self, owner: &VisitorId, most: usize) -> Result<Vec<ConversationEntry>, StoreError>;

    /// Calls a conversation so; without a title it is called by what was asked first.
    ///
    /// # Errors
    /// There is none.
    async fn rename(&self, conversation: &ConversationId, title: Option<&str>) -> Result<(), StoreError>;

    /// Pins a conversation, or lets it go.
    ///
    /// # Errors
    /// There is none.
    async fn pin(&self, conversation: &ConversationId, is_pinned: bool) -> Result<(), StoreError>;

    /// Removes a conversation. Nothing of it is on the disk when this returns, in the database's free pages
    /// and its log neither.
    ///
    /// # Errors
    /// There is none, or its answer is being given.
    async fn remove(&self, conversation: &ConversationId) -> Result<(), StoreError>;

    /// Makes what was said in a conversation readable for whoever has the id of a key, up to a turn.
    ///
    /// # Errors
    /// An answer of the conversation is being given, or there is no such conversation, or no such turn in it.
    async fn share(&self, key: &ShareKey, conversation: &ConversationId, last: &TurnId) -> Result<(), StoreError>;

    /// Makes a conversation readable for nobody but its owner.
    ///
    /// # Errors
    /// The disk refuses.
    async fn unshare(&self, conversation: &ConversationId) -> Result<(), StoreError>;

    /// By how many keys a conversation can be read.
    ///
    /// # Errors
    /// The disk refuses.
    async fn shares(&self, conversation: &ConversationId) -> Result<usize, StoreError>;

    /// What a key makes readable.
    ///
    /// # Errors
    /// Nothing, or not any more.
    async fn shared(&self, key: &ShareKey) -> Result<Shared, StoreError>;

    /// The preview of its picture.
    ///
    /// # Errors
    /// The same.
    async fn shared_preview(&self, key: &ShareKey) -> Result<Bytes, StoreError>;

    /// Keeps what a conversation's owner thinks of one of its answers, in the place of what he thought before, if
    /// anything.
    ///
    /// # Errors
    /// The conversation has no such answer.
    async fn rate(
        &self,
        conversation: &ConversationId,
        answer: &AnswerId,
        feedback: Option<&Feedback>,
    ) -> Result<(), StoreError>;

    /// Keeps what there is of an answer. Its end is on the disk when this returns, and stays:
    /// what comes late of an answer that has ended changes nothing.
    ///
    /// # Errors
    /// There is no such answer, or the disk refuses.
    async fn save_answer(&self, answer: &Answer) -> Result<(), StoreError>;

    /// How much a visitor keeps.
    ///
    /// # Errors
    /// The disk refuses.
    async fn usage(&self, owner: &VisitorId) -> Result<Usage, StoreError>;

    /// Waits until everything is on the disk; nothing can be read or kept afterwards.
    async fn close(&self);
}

/// A picture to be kept.
#[derive(Clone, Debug)]
pub struct NewPicture {
    /// Of the pixels that `file` decodes to.
    pub id: PictureId,
    /// In pixels, after its EXIF orientation.
    pub width: u32,
    pub height: u32,
    /// What was put in, or another file that decodes to the same pixels. It may be held for
    /// longer than whoever asked waits; what a budget counts gives back in
    /// [`Bytes::from_owner`]'s owner.
    pub file: Bytes,
    /// A JPEG that browsers may see.
    pub preview: Bytes,
}

/// A conversation to be begun.
#[derive(Clone, Debug)]
pub struct NewConversation {
    pub id: ConversationId,
    pub owner: VisitorId,
    pub picture: PictureId,
    pub preview: PreviewKey,
}

impl NewConversation {
    /// One about this picture, which has just been kept, with an address of its own.
    pub fn about(picture: PictureId, owner: VisitorId) -> Self {
        Self {
            id: ConversationId::random(),
            owner,
            picture,
            preview: PreviewKey::random(),
        }
    }
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Conversations of all visitors.
    pub conversations: usize,
    pub conversations_per_visitor: usize,
    /// Bytes of the pictures of a visitor's conversations.
    pub bytes_per_visitor: u64,
    /// Bytes on the disk: of the pictures of all conversations, and of what was said.
    pub bytes: u64,
    /// How long a conversation is kept after its last use, if not for ever.
    pub age: Option<Duration>,
    /// Turns of a conversation.
    pub turns: usize,
}

/// What made room for a new conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Older than they may be, whoever's.
    pub aged: Vec<ConversationId>,
    /// Its owner's.
    pub own: Vec<ConversationId>,
    /// Other visitors', as there were too many of all.
    pub others: Vec<ConversationId>,
}

/// How much a visitor keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub conversations: usize,
    /// Of their pictures, as he put them in.
    pub bytes: u64,
}
