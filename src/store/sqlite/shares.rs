//! Who may read a conversation besides its owner: whoever has the id of one of its keys.

use std::collections::HashSet;

use sqlx::SqliteConnection;

use super::read::{self, damaged, picture_id};
use crate::chat::{ConversationId, PictureId, ShareKey, Shared, TurnId};
use crate::store::StoreError;

/// Makes a conversation readable up to a turn. What was revoked before is forgotten.
pub async fn insert(
    connection: &mut SqliteConnection,
    key: &ShareKey,
    conversation: &ConversationId,
    last: &TurnId,
    now: i64,
) -> Result<(), StoreError> {
    let (hash, id, last) = (key.0.as_slice(), conversation.as_str(), last.as_str());
    let is_running = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM turn JOIN answer ON turn = turn.id WHERE conversation = ? AND state = 'running') AS "is_running!: bool""#,
        id
    )
    .fetch_one(&mut *connection)
    .await?;
    if is_running {
        // What comes of it would be said later.
        return Err(StoreError::TurnInProgress);
    }
    sqlx::query!("DELETE FROM share WHERE conversation = ? AND revoked IS NOT NULL", id)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        "INSERT INTO share (id_hash, conversation, last_turn, created) VALUES (?, ?, ?, ?)",
        hash,
        id,
        last,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Revokes all keys of a conversation.
pub async fn revoke(
    connection: &mut SqliteConnection,
    conversation: &ConversationId,
    now: i64,
) -> Result<(), StoreError> {
    let id = conversation.as_str();
    sqlx::query!(
        "UPDATE share SET revoked = ? WHERE conversation = ? AND revoked IS NULL",
        now,
        id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// How many keys a conversation has that are not revoked.
pub async fn count(connection: &mut SqliteConnection, conversation: &ConversationId) -> Result<usize, StoreError> {
    let id = conversation.as_str();
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!: i64" FROM share WHERE conversation = ? AND revoked IS NULL"#,
        id
    )
    .fetch_one(connection)
    .await?;
    Ok(count.try_into().unwrap_or_default())
}

/// What was said until a key was made.
pub async fn read(connection: &mut SqliteConnection, key: &ShareKey) -> Result<Shared, StoreError> {
    let hash = key.0.as_slice();
    let share = sqlx::query!(
        "SELECT conversation, last_turn, created FROM share WHERE id_hash = ? AND revoked IS NULL",
        hash
    )
    .fetch_one(&mut *connection)
    .await?;
    let id = ConversationId::parse(&share.conversation).ok_or_else(|| damaged("a conversation's id"))?;
    let last = share.last_turn.as_deref().and_then(TurnId::parse);
    let mut conversation = read::conversation(&mut *connection, &id).await?;
    let given = given_until(connection, &id, share.created).await?;
    conversation.turns = conversation.path_to(last.as_ref()).into_iter().cloned().collect();
    for turn in &mut conversation.turns {
        turn.answers.retain(|answer| given.contains(answer.id.as_str()));
    }
    Ok(Shared {
        conversation,
        created: share.created,
    })
}

/// The picture of the conversation that a key makes readable.
pub async fn picture(connection: &mut SqliteConnection, key: &ShareKey) -> Result<PictureId, StoreError> {
    let hash = key.0.as_slice();
    let picture = sqlx::query_scalar!(
        "SELECT picture FROM share JOIN conversation ON conversation.id = conversation WHERE id_hash = ? AND revoked IS NULL",
        hash
    )
    .fetch_one(connection)
    .await?;
    picture_id(&picture)
}

/// The answers that had been asked for at some time.
async fn given_until(
    connection: &mut SqliteConnection,
    conversation: &ConversationId,
    time: i64,
) -> Result<HashSet<String>, StoreError> {
    let id = conversation.as_str();
    let ids = sqlx::query_scalar!(
        "SELECT answer.id FROM answer JOIN turn ON turn.id = turn WHERE conversation = ? AND answer.created <= ?",
        id,
        time
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().collect())
}
