//! The types of [`chat`](crate::chat) to rows. Each function is a step of a transaction.

use serde::Serialize;
use sqlx::SqliteConnection;

use super::read::number;
use crate::chat::{Answer, AnswerId, AnswerState, ConversationId, Feedback, FinishReason, Turn, TurnId, VisitorId};
use crate::store::pictures::media_type;
use crate::store::{NewConversation, NewPicture, StoreError};

/// Sees to it that a visitor is known, and was seen now.
pub async fn insert_visitor(
    connection: &mut SqliteConnection,
    visitor: &VisitorId,
    now: i64,
) -> Result<(), StoreError> {
    let hash = visitor.0.as_slice();
    sqlx::query!(
        "INSERT INTO visitor (secret_hash, seen) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET seen = ?2",
        hash,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A picture whose files are kept; of several files of the same pixels, the last that came.
pub async fn upsert_picture(
    connection: &mut SqliteConnection,
    picture: &NewPicture,
    now: i64,
) -> Result<(), StoreError> {
    let hash = picture.id.0.as_slice();
    let bytes = number(picture.file.len() + picture.preview.len());
    let media_type = media_type(&picture.file);
    sqlx::query!(
        "INSERT INTO picture (sha256_pixels, width, height, bytes, media_type, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET bytes = ?4, media_type = ?5",
        hash, picture.width, picture.height, bytes, media_type, now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A conversation about a picture that takes this many bytes.
pub async fn insert_conversation(
    connection: &mut SqliteConnection,
    new: &NewConversation,
    bytes: i64,
    now: i64,
) -> Result<(), StoreError> {
    insert_visitor(&mut *connection, &new.owner, now).await?;
    let (id, owner) = (new.id.as_str(), new.owner.0.as_slice());
    let (picture, preview) = (new.picture.0.as_slice(), new.preview.as_str());
    sqlx::query!(
        "INSERT INTO conversation (id, owner, picture, preview_key, bytes, created, updated) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
        id, owner, picture, preview, bytes, now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether a conversation may have another answer.
pub async fn check_free(
    connection: &mut SqliteConnection,
    conversation: &ConversationId,
    limit: usize,
) -> Result<(), StoreError> {
    let key = conversation.as_str();
    let now = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM turn JOIN answer ON turn = turn.id WHERE conversation = conversation.id) AS "answers!: i64", EXISTS (SELECT 1 FROM turn JOIN answer ON turn = turn.id WHERE conversation = conversation.id AND state = 'running') AS "is_running!: bool" FROM conversation WHERE id = ?"#,
        key
    )
    .fetch_one(connection)
    .await?;
    match now {
        now if now.is_running => Err(StoreError::TurnInProgress),
        now if now.answers >= number(limit) => Err(StoreError::TooManyTurns { limit }),
        _ => Ok(()),
    }
}

/// A turn after all others, with its answers.
pub async fn insert_turn(
    connection: &mut SqliteConnection,
    conversation: &ConversationId,
    turn: &Turn,
    now: i64,
) -> Result<(), StoreError> {
    let (id, key) = (turn.id.as_str(), conversation.as_str());
    let parent = turn.parent.as_ref().map(TurnId::as_str);
    sqlx::query!(
        "INSERT INTO turn (id, conversation, position, parent, question, created) VALUES (?1, ?2, (SELECT coalesce(max(position), 0) + 1 FROM turn WHERE conversation = ?2), ?3, ?4, ?5)",
        id, key, parent, turn.question, now
    )
    .execute(&mut *connection)
    .await?;
    for answer in &turn.answers {
        insert_answer(&mut *connection, &turn.id, answer, now).await?;
    }
    Ok(())
}

/// An answer after all others of its turn.
pub async fn insert_answer(
    connection: &mut SqliteConnection,
    turn: &TurnId,
    answer: &Answer,
    now: i64,
) -> Result<(), StoreError> {
    let (id, turn) = (answer.id.as_str(), turn.as_str());
    let (settings, further) = (json(&answer.settings)?, json(&answer.further_texts)?);
    let scores = answer.scores.as_ref().map(json).transpose()?;
    let token_ids = token_ids(answer)?;
    let seed = answer.seed.map(u64::cast_signed);
    let (state, finish, error) = state(&answer.state)?;
    sqlx::query!(
        "INSERT INTO answer (id, turn, attempt, model, settings, seed, prompt, text, token_ids, further, scores, state, finish, error, created, updated) VALUES (?1, ?2, (SELECT coalesce(max(attempt), 0) + 1 FROM answer WHERE turn = ?2), ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?14)",
        id, turn, answer.model, settings, seed, answer.prompt, answer.text, token_ids, further, scores, state, finish, error, now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What there is of an answer now; an answer that has ended stays as it is.
pub async fn update_answer(connection: &mut SqliteConnection, answer: &Answer, now: i64) -> Result<(), StoreError> {
    let id = answer.id.as_str();
    let (settings, further) = (json(&answer.settings)?, json(&answer.further_texts)?);
    let scores = answer.scores.as_ref().map(json).transpose()?;
    let token_ids = token_ids(answer)?;
    let seed = answer.seed.map(u64::cast_signed);
    let (state, finish, error) = state(&answer.state)?;
    let timings = answer.timings.as_ref().map(json).transpose()?;
    let changed = sqlx::query!(
        "UPDATE answer SET model = ?2, settings = ?3, seed = ?4, prompt = ?5, text = ?6, token_ids = ?7, further = ?8, scores = ?9, state = ?10, finish = ?11, error = ?12, timings = ?13, updated = ?14 WHERE id = ?1 AND state = 'running'",
        id, answer.model, settings, seed, answer.prompt, answer.text, token_ids, further, scores, state, finish, error, timings, now
    )
    .execute(&mut *connection)
    .await?
    .rows_affected();
    let conversation = sqlx::query_scalar!(
        "SELECT conversation FROM answer JOIN turn ON turn.id = turn WHERE answer.id = ?",
        id
    )
    .fetch_one(&mut *connection)
    .await?;
    if changed > 0 && !answer.is_running() {
        touch_id(connection, &conversation, now).await?;
    }
    Ok(())
}

/// Notes that a conversation was used.
pub async fn touch(
    connection: &mut SqliteConnection,
    conversation: &ConversationId,
    now: i64,
) -> Result<(), StoreError> {
    touch_id(connection, conversation.as_str(), now).await
}

async fn touch_id(connection: &mut SqliteConnection, conversation: &str, now: i64) -> Result<(), StoreError> {
    sqlx::query!("UPDATE conversation SET updated = ? WHERE id = ?", now, conversation)
        .execute(connection)
        .await?;
    Ok(())
}

/// Calls a conversation so.
pub async fn rename(
    connection: &mut SqliteConnection,
    conversation: &ConversationId,
    title: Option<&str>,
) -> Result<(), StoreError> {
    let key = conversation.as_str();
    let renamed = sqlx::query!("UPDATE conversation SET title = ? WHERE id = ?", title, key);
    found(renamed.execute(connection).await?.rows_affected())
}

/// Pins a conversation, or lets it go.
pub async fn pin(
    connection: &mut SqliteConnection,
    conversation: &ConversationId,
    is_pinned: bool,
) -> Result<(), StoreError> {
    let key = conversation.as_str();
    let pinned = sqlx::query!("UPDATE conversation SET pinned = ? WHERE id = ?", is_pinned, key);
    found(pinned.execute(connection).await?.rows_affected())
}

/// What an answer's owner thinks of it, in the place of what he thought before.
pub async fn rate(
    connection: &mut SqliteConnection,
    conversation: &ConversationId,
    answer: &AnswerId,
    feedback: Option<&Feedback>,
    now: i64,
) -> Result<(), StoreError> {
    let (key, id) = (conversation.as_str(), answer.as_str());
    sqlx::query!(
        "DELETE FROM feedback WHERE answer = (SELECT answer.id FROM answer JOIN turn ON turn.id = turn WHERE answer.id = ?1 AND conversation = ?2)",
        id,
        key
    )
    .execute(&mut *connection)
    .await?;
    let (value, note) = match feedback {
        Some(feedback) => (if feedback.is_good { 1 } else { -1 }, feedback.note.as_deref()),
        None => return Ok(()),
    };
    let kept = sqlx::query!(
        "INSERT INTO feedback (answer, visitor, value, note, created) SELECT answer.id, owner, ?3, ?4, ?5 FROM answer JOIN turn ON turn.id = turn JOIN conversation ON conversation.id = turn.conversation WHERE answer.id = ?1 AND conversation.id = ?2",
        id,
        key,
        value,
        note,
        now
    );
    found(kept.execute(connection).await?.rows_affected())
}

fn found(rows: u64) -> Result<(), StoreError> {
    match rows {
        0 => Err(StoreError::NotFound),
        _ => Ok(()),
    }
}

/// Gives a conversation that is nobody's, or his already, to a visitor.
pub async fn adopt(
    connection: &mut SqliteConnection,
    conversation: &ConversationId,
    visitor: &VisitorId,
) -> Result<(), StoreError> {
    let (key, owner) = (conversation.as_str(), visitor.0.as_slice());
    let nobody = VisitorId::NOBODY.0;
    let nobody = nobody.as_slice();
    let adopted = sqlx::query!(
        "UPDATE conversation SET owner = ?1 WHERE id = ?2 AND owner IN (?1, ?3)",
        owner,
        key,
        nobody
    )
    .execute(connection)
    .await?
    .rows_affected();
    found(adopted)
}

/// The tokens of an answer's text, where they are known.
fn token_ids(answer: &Answer) -> Result<Option<String>, StoreError> {
    let ids = &answer.token_ids;
    (!ids.is_empty()).then(|| json(ids)).transpose()
}

/// State, finish reason and error, as columns have them.
type StateColumns = (&'static str, Option<&'static str>, Option<String>);

fn state(state: &AnswerState) -> Result<StateColumns, StoreError> {
    Ok(match state {
        AnswerState::Running => ("running", None, None),
        AnswerState::Done(reason) => ("done", Some(finish_reason(*reason)), None),
        AnswerState::Failed(error) => ("failed", None, Some(json(error)?)),
    })
}

fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Cancelled => "cancelled",
        FinishReason::Interrupted => "interrupted",
    }
}

fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Disk(error.into()))
}
