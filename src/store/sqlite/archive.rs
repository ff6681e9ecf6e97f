//! What is kept in a folder, read beside a process that may be using it.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::open::MIGRATIONS;
use super::read::{self, damaged, json};
use crate::chat::{Conversation, ConversationId, Feedback, Settings, VisitorId};
use crate::store::StoreError;
use crate::store::folder::DATABASE;

/// A folder's conversations, of which nothing is changed.
pub struct Archive(SqliteConnection);

/// An answer, and what somebody thinks of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RatedAnswer {
    pub conversation: ConversationId,
    pub visitor: VisitorId,
    /// Empty where a caption was asked for.
    pub question: String,
    pub text: String,
    pub model: String,
    pub settings: Settings,
    pub feedback: Feedback,
    /// When he said so, in milliseconds since 1970.
    pub created: i64,
}

impl Archive {
    /// What is in a folder.
    ///
    /// # Errors
    /// There is nothing, it cannot be read, or another Glimpse's is there.
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        let opened = Self::connect(&folder.join(DATABASE)).await;
        opened.map_err(|error| error.at_start(folder.display().to_string()))
    }

    async fn connect(database: &Path) -> Result<Self, StoreError> {
        if !database.is_file() {
            return Err(StoreError::Nothing);
        }
        let options = SqliteConnectOptions::new()
            .filename(database)
            .pragma("query_only", "ON");
        let mut connection = options.connect().await?;
        let version: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success")
            .fetch_one(&mut connection)
            .await?;
        match version.cmp(&MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)) {
            std::cmp::Ordering::Less => Err(StoreError::Older),
            std::cmp::Ordering::Greater => Err(StoreError::Newer),
            std::cmp::Ordering::Equal => Ok(Self(connection)),
        }
    }

    /// All conversations, the oldest first.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn conversations(&mut self) -> Result<Vec<ConversationId>, StoreError> {
        let ids = sqlx::query_scalar!("SELECT id FROM conversation ORDER BY created, id")
            .fetch_all(&mut self.0)
            .await?;
        let id = |id: String| ConversationId::parse(&id).ok_or_else(|| damaged("a conversation's id"));
        ids.into_iter().map(id).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// It is gone meanwhile, or the disk refuses.
    pub async fn conversation(&mut self, id: &ConversationId) -> Result<Conversation, StoreError> {
        let mut snapshot = self.0.begin().await?;
        read::conversation(&mut snapshot, id).await
    }

    /// All answers that somebody has rated, in the order in which they were.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn rated_answers(&mut self) -> Result<Vec<RatedAnswer>, StoreError> {
        let rows = sqlx::query!(
            "SELECT conversation, visitor, question, text, model, settings, value, note, feedback.created FROM feedback JOIN answer ON answer.id = answer JOIN turn ON turn.id = turn ORDER BY feedback.created, answer.id"
        )
        .fetch_all(&mut self.0)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(RatedAnswer {
                    conversation: ConversationId::parse(&row.conversation)
                        .ok_or_else(|| damaged("a conversation's id"))?,
                    visitor: VisitorId::from_bytes(&row.visitor).ok_or_else(|| damaged("a visitor"))?,
                    question: row.question,
                    text: row.text,
                    model: row.model,
                    settings: json(&row.settings).unwrap_or_default(),
                    feedback: Feedback {
                        is_good: row.value > 0,
                        note: row.note,
                    },
                    created: row.created,
                })
            })
            .collect()
    }
}
