//! The store in a folder: a SQLite database in WAL mode with one connection that writes and
//! some that read, and the pictures' files beside it.
//!
//! `open` connects, migrates and says of answers that were running that they were
//! interrupted; `read` makes [`chat`](crate::chat)'s types of rows, `write` rows of those;
//! `eviction` decides what makes room; `shares` has who
//! may read besides the owner, `archive` reads beside a process that writes; `unused` removes pictures that no conversation is about;
//! `unsaved` holds what a full disk refused; `import` takes over what older versions kept.
//!
//! Each query is checked against `migrations/` when it is compiled, from what `make sqlx`
//! wrote into `.sqlx/`.

mod archive;
mod eviction;
mod import;
mod open;
mod read;
mod shares;
#[cfg(test)]
mod tests;
mod unsaved_answers;
mod unused_pictures;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use sqlx::pool::PoolConnection;
use sqlx::{Connection, Sqlite, SqlitePool};
use tokio::task::JoinHandle;
use tokio_util::bytes::Bytes;

use super::folder::Folder;
use super::pictures::PictureFiles;
use super::{Evicted, Limits, NewConversation, NewPicture, Store, StoreError, Usage};
use crate::chat::{
    Answer, AnswerId, Conversation, ConversationEntry, ConversationId, Feedback, PictureId, PreviewKey, RequestId,
    ShareKey, Shared, Turn, TurnId, VisitorId,
};
pub use archive::{Archive, RatedAnswer};
use read::number;
use unsaved_answers::Unsaved;
use unused_pictures::PictureUses;

/// Conversations and pictures in a folder, used by one process at a time.
pub struct SqliteStore {
    inner: Arc<Inner>,
    /// Removes, after the start, what a process left that was killed.
    tidying: JoinHandle<()>,
}

struct Inner {
    /// One connection: SQLite takes one writer at a time, and who waits here waits in turn.
    writer: SqlitePool,
    readers: SqlitePool,
    pictures: PictureFiles,
    uses: PictureUses,
    unsaved: Unsaved,
    clock: Clock,
    max_turns: usize,
    /// Goes last, since a temporary one takes its files along.
    folder: Folder,
}

/// Whether a write is on the disk, safe from a power cut, when it returns; it is safe from the
/// process's death in any case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    PowerCut,
    Killed,
}

/// Begins a transaction that writes: it has the right to from the start.
const BEGIN: &str = "BEGIN IMMEDIATE";

impl SqliteStore {
    /// What is kept in a folder, which is made where it is missing; conversations may have as
    /// many turns as `limits` says.
    ///
    /// # Errors
    /// The folder cannot be used, or what is in it cannot be read.
    pub async fn in_folder(folder: PathBuf, limits: &Limits) -> Result<Self, StoreError> {
        let name = folder.display().to_string();
        let opened = tokio::task::spawn_blocking(move || Folder::open(&folder)).await;
        Self::open(ended(opened)?, name, limits).await
    }

    /// An empty store that is gone with the process, in a private folder below `parent`.
    ///
    /// # Errors
    /// No folder can be made there.
    pub async fn temporary(parent: PathBuf, limits: &Limits) -> Result<Self, StoreError> {
        let name = parent.display().to_string();
        let opened = tokio::task::spawn_blocking(move || Folder::temporary(&parent)).await;
        Self::open(ended(opened)?, name, limits).await
    }

    async fn open(folder: std::io::Result<Folder>, name: String, limits: &Limits) -> Result<Self, StoreError> {
        let folder = folder.map_err(|error| StoreError::Folder {
            folder: name,
            reason: error.to_string(),
        })?;
        let name = folder.path().display().to_string();
        let opened = open::open(folder, limits).await;
        let (inner, stored) = opened.map_err(|error| error.at_start(name))?;
        let inner = Arc::new(inner);
        let tidying = tokio::spawn(Arc::clone(&inner).remove_orphans(stored));
        Ok(Self { inner, tidying })
    }

    /// Lets the disk take nothing more, as a full one, or take it again.
    ///
    /// # Panics
    /// The store is closed.
    #[cfg(test)]
    pub async fn refuse_writes(&self, refuses: bool) {
        use sqlx::Executor;
        let mut writer = self.inner.writer(Durability::PowerCut).await.expect("it is open");
        let pragma = match refuses {
            true => "PRAGMA query_only = ON",
            false => "PRAGMA query_only = OFF",
        };
        writer.execute(pragma).await.expect("it is no write");
    }

    /// The folder that everything lies in.
    pub fn folder(&self) -> &Path {
        self.inner.folder.path()
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.tidying.abort();
        // A task may hold on to the rest for a moment, and the process may end before.
        if self.inner.folder.is_temporary() {
            self.inner.folder.close();
        }
    }
}

impl Inner {
    /// The connection that writes.
    async fn writer(&self, durability: Durability) -> Result<PoolConnection<Sqlite>, StoreError> {
        let mut connection = self.writer.acquire().await?;
        let pragma = match durability {
            // With the process its files go, too.
            _ if self.folder.is_temporary() => "PRAGMA synchronous = OFF",
            Durability::PowerCut => "PRAGMA synchronous = FULL",
            Durability::Killed => "PRAGMA synchronous = NORMAL",
        };
        sqlx::query(pragma).execute(&mut *connection).await?;
        Ok(connection)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn keep_picture(&self, picture: NewPicture) -> Result<(), StoreError> {
        // In a task of its own: begun, it is finished, whoever waits.
        let inner = Arc::clone(&self.inner);
        let kept = tokio::spawn(RequestId::carry(async move { inner.keep_picture(picture).await }));
        ended(kept.await)?
    }

    async fn picture(&self, id: &PictureId) -> Result<Bytes, StoreError> {
        self.inner.pictures.file(id).await
    }

    async fn preview(&self, key: &PreviewKey) -> Result<Bytes, StoreError> {
        let key = key.as_str();
        let row = sqlx::query!("SELECT picture FROM conversation WHERE preview_key = ?", key)
            .fetch_one(&self.inner.readers)
            .await?;
        self.inner.pictures.preview(&read::picture_id(&row.picture)?).await
    }

    async fn begin_conversation(&self, new: &NewConversation, limits: &Limits) -> Result<Evicted, StoreError> {
        self.inner.begin_conversation(new, limits).await
    }

    async fn conversation(&self, id: &ConversationId) -> Result<Conversation, StoreError> {
        // All of it as it was at one moment.
        let mut snapshot = self.inner.readers.begin().await?;
        let mut conversation = read::conversation(&mut snapshot, id).await?;
        self.inner.unsaved.complete(&mut conversation.turns);
        Ok(conversation)
    }

    async fn owner(&self, id: &ConversationId) -> Result<VisitorId, StoreError> {
        let mut connection = self.inner.readers.acquire().await?;
        read::owner(&mut connection, id).await
    }

    async fn adopt(&self, conversation: &ConversationId, visitor: &VisitorId) -> Result<(), StoreError> {
        self.inner.adopt(conversation, visitor).await
    }

    async fn begin_turn(&self, conversation: &ConversationId, turn: &Turn) -> Result<(), StoreError> {
        self.inner.save_unsaved().await;
        let now = self.inner.clock.next();
        let mut connection = self.inner.writer(Durability::PowerCut).await?;
        let mut transaction = connection.begin_with(BEGIN).await?;
        write::check_free(&mut transaction, conversation, self.inner.max_turns).await?;
        write::insert_turn(&mut transaction, conversation, turn, now).await?;
        write::touch(&mut transaction, conversation, now).await?;
        Ok(transaction.commit().await?)
    }

    async fn begin_answer(&self, turn: &TurnId, answer: &Answer) -> Result<(), StoreError> {
        self.inner.save_unsaved().await;
        let now = self.inner.clock.next();
        let mut connection = self.inner.writer(Durability::PowerCut).await?;
        let mut transaction = connection.begin_with(BEGIN).await?;
        let conversation = read::conversation_of(&mut transaction, turn).await?;
        write::check_free(&mut transaction, &conversation, self.inner.max_turns).await?;
        write::insert_answer(&mut transaction, turn, answer, now).await?;
        write::touch(&mut transaction, &conversation, now).await?;
        Ok(transaction.commit().await?)
    }

    async fn conversations(&self, owner: &VisitorId, most: usize) -> Result<Vec<ConversationEntry>, StoreError> {
        let mut connection = self.inner.readers.acquire().await?;
        read::conversations(&mut connection, owner, most).await
    }

    async fn rename(&self, conversation: &ConversationId, title: Option<&str>) -> Result<(), StoreError> {
        let mut connection = self.inner.writer(Durability::PowerCut).await?;
        write::rename(&mut connection, conversation, title).await
    }

    async fn pin(&self, conversation: &ConversationId, is_pinned: bool) -> Result<(), StoreError> {
        let mut connection = self.inner.writer(Durability::PowerCut).await?;
        write::pin(&mut connection, conversation, is_pinned).await
    }

    async fn remove(&self, conversation: &ConversationId) -> Result<(), StoreError> {
        self.inner.remove(conversation).await
    }

    async fn share(&self, key: &ShareKey, conversation: &ConversationId, last: &TurnId) -> Result<(), StoreError> {
        self.inner.save_unsaved().await;
        let now = self.inner.clock.next();
        let mut connection = self.inner.writer(Durability::PowerCut).await?;
        let mut transaction = connection.begin_with(BEGIN).await?;
        shares::insert(&mut transaction, key, conversation, last, now).await?;
        Ok(transaction.commit().await?)
    }

    async fn unshare(&self, conversation: &ConversationId) -> Result<(), StoreError> {
        let now = self.inner.clock.next();
        let mut connection = self.inner.writer(Durability::PowerCut).await?;
        shares::revoke(&mut connection, conversation, now).await
    }

    async fn shares(&self, conversation: &ConversationId) -> Result<usize, StoreError> {
        let mut connection = self.inner.readers.acquire().await?;
        shares::count(&mut connection, conversation).await
    }

    async fn shared(&self, key: &ShareKey) -> Result<Shared, StoreError> {
        let mut snapshot = self.inner.readers.begin().await?;
        let mut shared = shares::read(&mut snapshot, key).await?;
        self.inner.unsaved.complete(&mut shared.conversation.turns);
        Ok(shared)
    }

    async fn shared_preview(&self, key: &ShareKey) -> Result<Bytes, StoreError> {
        let mut connection = self.inner.readers.acquire().await?;
        let picture = shares::picture(&mut connection, key).await?;
        drop(connection);
        self.inner.pictures.preview(&picture).await
    }

    async fn rate(
        &self,
        conversation: &ConversationId,
        answer: &AnswerId,
        feedback: Option<&Feedback>,
    ) -> Result<(), StoreError> {
        let now = self.inner.clock.next();
        let mut connection = self.inner.writer(Durability::PowerCut).await?;
        let mut transaction = connection.begin_with(BEGIN).await?;
        write::rate(&mut transaction, conversation, answer, feedback, now).await?;
        Ok(transaction.commit().await?)
    }

    async fn save_answer(&self, answer: &Answer) -> Result<(), StoreError> {
        self.inner.save_answer(answer).await
    }

    async fn usage(&self, owner: &VisitorId) -> Result<Usage, StoreError> {
        let mut connection = self.inner.readers.acquire().await?;
        eviction::usage(&mut connection, owner).await
    }

    async fn close(&self) {
        self.tidying.abort();
        self.inner.save_unsaved().await;
        self.inner.readers.close().await;
        // The last connection moves everything from the log into the database.
        self.inner.writer.close().await;
        let inner = Arc::clone(&self.inner);
        // An error is a panic, which has been told.
        let _ = tokio::task::spawn_blocking(move || inner.folder.close()).await;
    }
}

impl Inner {
    async fn keep_picture(&self, picture: NewPicture) -> Result<(), StoreError> {
        let _alone = self.uses.lock(&picture.id).await;
        let (file, preview) = (picture.file.clone(), picture.preview.clone());
        self.pictures.keep(&picture.id, file, preview).await?;
        // Power cuts are provided for when a conversation begins about it.
        let mut connection = self.writer(Durability::Killed).await?;
        write::upsert_picture(&mut connection, &picture, self.clock.next()).await?;
        self.uses.expect(picture.id);
        Ok(())
    }

    async fn begin_conversation(&self, new: &NewConversation, limits: &Limits) -> Result<Evicted, StoreError> {
        // What is held is not running any more, and may make room.
        self.save_unsaved().await;
        let begun = self.insert_conversation(new, limits).await;
        self.uses.arrived(&new.picture);
        if begun.is_err() {
            self.uses.suspect([new.picture]);
        }
        self.remove_unused().await;
        begun
    }

    async fn insert_conversation(&self, new: &NewConversation, limits: &Limits) -> Result<Evicted, StoreError> {
        let mut connection = self.writer(Durability::PowerCut).await?;
        let mut transaction = connection.begin_with(BEGIN).await?;
        if limits.age.is_some()
            && let Some(last) = eviction::date_back(&mut transaction, machine_clock()).await?
        {
            self.clock.set_back(last);
        }
        let now = self.clock.next();
        let bytes = read::picture_bytes(&mut transaction, &new.picture).await?;
        let gone = eviction::make_room(&mut transaction, new, bytes, limits, now).await?;
        write::insert_conversation(&mut transaction, new, bytes, now).await?;
        // Known before the end, since whoever waits for it may go.
        self.uses.suspect(gone.pictures);
        transaction.commit().await?;
        gone.evicted.log();
        Ok(gone.evicted)
    }

    async fn remove(&self, conversation: &ConversationId) -> Result<(), StoreError> {
        self.save_unsaved().await;
        let mut connection = self.writer(Durability::PowerCut).await?;
        let mut transaction = connection.begin_with(BEGIN).await?;
        let pictures = eviction::remove_idle(&mut transaction, conversation).await?;
        // Known before the end, since whoever waits for it may go.
        self.uses.suspect(pictures);
        transaction.commit().await?;
        // The log still has the pages as they were. Where somebody reads from it at this moment, it goes later.
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut *connection)
            .await?;
        drop(connection);
        self.remove_unused().await;
        Ok(())
    }

    async fn adopt(&self, conversation: &ConversationId, visitor: &VisitorId) -> Result<(), StoreError> {
        let now = self.clock.next();
        let mut connection = self.writer(Durability::PowerCut).await?;
        let mut transaction = connection.begin_with(BEGIN).await?;
        write::insert_visitor(&mut transaction, visitor, now).await?;
        write::adopt(&mut transaction, conversation, visitor).await?;
        Ok(transaction.commit().await?)
    }
}

impl Evicted {
    fn log(&self) {
        if !self.aged.is_empty() {
            tracing::info!(
                "conversations that went since they were not used for longer than they are kept (--keep-conversations): {}",
                self.aged.len()
            );
        }
        if !self.own.is_empty() {
            tracing::info!(
                "a visitor's own conversations that made room for his new one (--max-conversations-per-visitor, --max-megabytes-per-visitor): {}",
                self.own.len()
            );
        }
        if !self.others.is_empty() {
            tracing::info!(
                "conversations that made room for a new one (--max-conversations, --max-stored-megabytes): {}",
                self.others.len()
            );
        }
    }
}

/// Milliseconds since 1970, but never the same twice, and never back unless all that was dated is
/// dated back too: what is kept is ordered by them.
struct Clock(AtomicI64);

/// Milliseconds since 1970, as this machine's clock has it.
fn machine_clock() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    number(since.as_millis())
}

impl Clock {
    /// Goes on after `last`, which was given out before.
    fn after(last: i64) -> Self {
        Self(AtomicI64::new(last))
    }

    fn next(&self) -> i64 {
        self.next_at(machine_clock())
    }

    /// Goes on after `last`, which is now the latest that is kept.
    fn set_back(&self, last: i64) {
        self.0.store(last, Ordering::Relaxed);
    }

    /// The next where the machine's clock says this; it may have been set.
    fn next_at(&self, now: i64) -> i64 {
        let next = |last: i64| now.max(last + 1);
        let last = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        // The closure never refuses; both arms are the value before.
        next(last.unwrap_or_else(|last| last))
    }
}

/// What a task gave; its panic goes on here.
fn ended<T>(joined: Result<T, tokio::task::JoinError>) -> Result<T, StoreError> {
    joined.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // Tasks of the store are cancelled only with the runtime.
        Err(_) => StoreError::Closed,
    })
}
