//! Rows to the types of [`chat`](crate::chat).

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use sqlx::SqliteConnection;

use crate::chat::{
    Answer, AnswerId, AnswerState, Conversation, ConversationEntry, ConversationId, Error, Feedback, FinishReason,
    PictureId, PictureInfo, PreviewKey, Settings, Timings, Turn, TurnId, VisitorId,
};
use crate::store::StoreError;

/// A conversation with all its turns.
pub async fn conversation(connection: &mut SqliteConnection, id: &ConversationId) -> Result<Conversation, StoreError> {
    let key = id.as_str();
    let row = sqlx::query!(
        "SELECT owner, preview_key, picture, title, conversation.created, width, height, picture.bytes FROM conversation JOIN picture ON sha256_pixels = picture WHERE id = ?",
        key
    )
    .fetch_one(&mut *connection)
    .await?;
    Ok(Conversation {
        id: id.clone(),
        owner: VisitorId::from_bytes(&row.owner).ok_or_else(|| damaged("an owner"))?,
        picture: PictureInfo {
            id: picture_id(&row.picture)?,
            preview: PreviewKey::parse(&row.preview_key).ok_or_else(|| damaged("a preview's key"))?,
            width: side(row.width)?,
            height: side(row.height)?,
            bytes: row.bytes.try_into().map_err(|_| damaged("a picture's size"))?,
        },
        title: row.title,
        created: row.created,
        turns: turns(connection, id).await?,
    })
}

/// A visitor's conversations: those that are pinned first, then the latest.
pub async fn conversations(
    connection: &mut SqliteConnection,
    owner: &VisitorId,
    most: usize,
) -> Result<Vec<ConversationEntry>, StoreError> {
    let (hash, most) = (owner.0.as_slice(), number(most));
    let rows = sqlx::query!(
        r#"SELECT id, preview_key, title, pinned AS "pinned: bool", updated, (SELECT question FROM turn WHERE conversation = conversation.id ORDER BY position LIMIT 1) AS "question: String", (SELECT count(*) FROM turn WHERE conversation = conversation.id) AS "turns!: i64" FROM conversation WHERE owner = ?1 ORDER BY pinned DESC, updated DESC LIMIT ?2"#,
        hash,
        most
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(ConversationEntry {
                id: ConversationId::parse(&row.id).ok_or_else(|| damaged("a conversation's id"))?,
                preview: PreviewKey::parse(&row.preview_key).ok_or_else(|| damaged("a preview's key"))?,
                title: row.title,
                first_question: row.question,
                turns: row.turns.try_into().unwrap_or_default(),
                is_pinned: row.pinned,
                updated: row.updated,
            })
        })
        .collect()
}

async fn turns(connection: &mut SqliteConnection, conversation: &ConversationId) -> Result<Vec<Turn>, StoreError> {
    let mut answers = answers(&mut *connection, conversation).await?;
    let key = conversation.as_str();
    let rows = sqlx::query!(
        "SELECT id, parent, question FROM turn WHERE conversation = ? ORDER BY position",
        key
    )
    .fetch_all(connection)
    .await?;
    let turn = |id: &str| TurnId::parse(id).ok_or_else(|| damaged("a turn's id"));
    rows.into_iter()
        .map(|row| {
            Ok(Turn {
                id: turn(&row.id)?,
                parent: row.parent.as_deref().map(turn).transpose()?,
                question: row.question,
                answers: answers.remove(&row.id).unwrap_or_default(),
            })
        })
        .collect()
}

/// All answers of a conversation, by their turn.
async fn answers(
    connection: &mut SqliteConnection,
    conversation: &ConversationId,
) -> Result<HashMap<String, Vec<Answer>>, StoreError> {
    let key = conversation.as_str();
    let rows = sqlx::query!(
        r#"SELECT answer.id, turn, model, settings, seed, prompt, text, token_ids, further, scores, timings, state, finish, error, value AS "value?: i64", note AS "note?: String" FROM answer JOIN turn ON turn.id = turn JOIN conversation ON conversation.id = turn.conversation LEFT JOIN feedback ON feedback.answer = answer.id AND visitor = owner WHERE turn.conversation = ? ORDER BY turn, attempt"#,
        key
    )
    .fetch_all(connection)
    .await?;
    let mut found: HashMap<String, Vec<Answer>> = HashMap::new();
    for row in rows {
        let answer = Answer {
            id: AnswerId::parse(&row.id).ok_or_else(|| damaged("an answer's id"))?,
            model: row.model,
            settings: json::<Settings>(&row.settings).unwrap_or_default(),
            prompt: row.prompt,
            text: row.text,
            token_ids: row.token_ids.as_deref().and_then(json).unwrap_or_default(),
            further_texts: json(&row.further).unwrap_or_default(),
            scores: row.scores.as_deref().map(|scores| json(scores).unwrap_or_default()),
            seed: row.seed.map(i64::cast_unsigned),
            timings: row.timings.as_deref().and_then(json::<Timings>),
            feedback: row.value.map(|value| Feedback {
                is_good: value > 0,
                note: row.note,
            }),
            state: state(&row.state, row.finish.as_deref(), row.error.as_deref())?,
        };
        found.entry(row.turn).or_default().push(answer);
    }
    Ok(found)
}

fn state(state: &str, finish: Option<&str>, error: Option<&str>) -> Result<AnswerState, StoreError> {
    match state {
        "running" => Ok(AnswerState::Running),
        "done" => Ok(AnswerState::Done(
            finish
                .and_then(finish_reason)
                .ok_or_else(|| damaged("a finish reason"))?,
        )),
        "failed" => Ok(AnswerState::Failed(
            error.and_then(json).unwrap_or_else(Error::internal),
        )),
        _ => Err(damaged("an answer's state")),
    }
}

fn finish_reason(text: &str) -> Option<FinishReason> {
    match text {
        "stop" => Some(FinishReason::Stop),
        "length" => Some(FinishReason::Length),
        "cancelled" => Some(FinishReason::Cancelled),
        "interrupted" => Some(FinishReason::Interrupted),
        _ => None,
    }
}

/// What was written as JSON. A code or a setting that this Glimpse does not know is no reason
/// not to show the answer.
pub(super) fn json<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text)
        .inspect_err(|error| tracing::warn!("something that is kept of an answer is not known: {error}"))
        .ok()
}

/// The conversation that a turn is of.
pub async fn conversation_of(connection: &mut SqliteConnection, turn: &TurnId) -> Result<ConversationId, StoreError> {
    let key = turn.as_str();
    let id = sqlx::query_scalar!("SELECT conversation FROM turn WHERE id = ?", key)
        .fetch_one(connection)
        .await?;
    ConversationId::parse(&id).ok_or_else(|| damaged("a conversation's id"))
}

/// Whose a conversation is.
pub async fn owner(connection: &mut SqliteConnection, id: &ConversationId) -> Result<VisitorId, StoreError> {
    let key = id.as_str();
    let owner = sqlx::query_scalar!("SELECT owner FROM conversation WHERE id = ?", key)
        .fetch_one(connection)
        .await?;
    VisitorId::from_bytes(&owner).ok_or_else(|| damaged("an owner"))
}

/// How many bytes a picture takes that is kept.
pub async fn picture_bytes(connection: &mut SqliteConnection, id: &PictureId) -> Result<i64, StoreError> {
    let hash = id.0.as_slice();
    let bytes = sqlx::query_scalar!("SELECT bytes FROM picture WHERE sha256_pixels = ?", hash);
    Ok(bytes.fetch_one(connection).await?)
}

pub fn picture_id(bytes: &[u8]) -> Result<PictureId, StoreError> {
    bytes.try_into().map(PictureId).map_err(|_| damaged("a picture's hash"))
}

fn side(pixels: i64) -> Result<u32, StoreError> {
    pixels.try_into().map_err(|_| damaged("a picture's size"))
}

pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged {
        detail: format!("{what} cannot be read"),
    }
}

/// A number as SQLite has them; none that is counted here is too large.
pub fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
