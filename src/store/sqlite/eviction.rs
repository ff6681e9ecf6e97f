//! What makes room for a new conversation.
//!
//! A visitor's quota takes his own. The bound over all takes whose last use is longest ago,
//! whoever's; but a flood of pictures that nobody asks about, from visitors made up for each,
//! drives out itself: those may have a quarter of the room.

use sqlx::SqliteConnection;

use super::read::{number, picture_id};
use crate::chat::{ConversationId, PictureId, VisitorId};
use crate::store::{Evicted, Limits, StoreError, Usage};

/// Conversations that go for one that begins, where there are far too many: a limit that was
/// set too low by mistake does not cost all of them at once.
pub(super) const MOST_GONE_AT_ONCE: usize = 2;

/// What went, and the pictures that it was about.
#[derive(Default)]
pub struct Gone {
    pub evicted: Evicted,
    pub pictures: Vec<PictureId>,
}

/// A conversation that may go.
struct Candidate {
    id: String,
    owner: Vec<u8>,
    picture: Vec<u8>,
}

/// Makes room for a conversation of a visitor's about a picture of this many bytes.
pub async fn make_room(
    connection: &mut SqliteConnection,
    owner: &VisitorId,
    bytes: i64,
    limits: &Limits,
) -> Result<Gone, StoreError> {
    let limit = limits.bytes_per_visitor;
    if bytes > number(limit) {
        let bytes = bytes.cast_unsigned();
        return Err(StoreError::VisitorFull { bytes, limit });
    }
    let mut gone = Gone::default();
    loop {
        let usage = usage(&mut *connection, owner).await?;
        let too_many = usage.conversations >= limits.conversations_per_visitor.max(1)
            && gone.evicted.own.len() < MOST_GONE_AT_ONCE;
        let too_much = usage.bytes.saturating_add(bytes.cast_unsigned()) > limit;
        if !too_many && !too_much {
            break;
        }
        let Some(oldest) = oldest_of(&mut *connection, owner).await? else {
            break;
        };
        let id = remove(&mut *connection, oldest, &mut gone.pictures).await?;
        gone.evicted.own.push(id);
    }
    while gone.evicted.others.len() < MOST_GONE_AT_ONCE {
        let conversations = count(&mut *connection).await?;
        if conversations < number(limits.conversations.max(1)) {
            break;
        }
        let unasked = conversations - count_asked(&mut *connection).await?;
        let is_flooded = unasked >= conversations / 4;
        let Some(oldest) = oldest_of_all(&mut *connection, is_flooded).await? else {
            break;
        };
        let is_own = oldest.owner == owner.0;
        let id = remove(&mut *connection, oldest, &mut gone.pictures).await?;
        if is_own {
            gone.evicted.own.push(id);
        } else {
            gone.evicted.others.push(id);
        }
    }
    Ok(gone)
}

/// Removes a conversation whose answer is not being given, and gives its picture.
pub async fn remove_idle(connection: &mut SqliteConnection, id: &ConversationId) -> Result<Vec<PictureId>, StoreError> {
    let id = id.as_str();
    let idle = sqlx::query_as!(
        Candidate,
        "SELECT id, owner, picture FROM conversation WHERE id = ? AND NOT EXISTS (SELECT 1 FROM turn JOIN answer ON turn = turn.id WHERE conversation = conversation.id AND state = 'running')",
        id
    );
    let idle = idle.fetch_one(&mut *connection).await?;
    let mut pictures = Vec::new();
    remove(connection, idle, &mut pictures).await?;
    Ok(pictures)
}

/// How much a visitor keeps.
pub async fn usage(connection: &mut SqliteConnection, owner: &VisitorId) -> Result<Usage, StoreError> {
    let hash = owner.0.as_slice();
    let row = sqlx::query!(
        r#"SELECT count(*) AS "conversations!: i64", coalesce(sum(bytes), 0) AS "bytes!: i64" FROM conversation WHERE owner = ?"#,
        hash
    )
    .fetch_one(connection)
    .await?;
    Ok(Usage {
        conversations: row.conversations.try_into().unwrap_or(usize::MAX),
        bytes: row.bytes.cast_unsigned(),
    })
}

async fn count(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let all = sqlx::query_scalar!(r#"SELECT count(*) AS "all!: i64" FROM conversation"#);
    Ok(all.fetch_one(connection).await?)
}

/// Conversations that something was asked in.
async fn count_asked(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let asked = sqlx::query_scalar!(r#"SELECT count(DISTINCT conversation) AS "asked!: i64" FROM turn"#);
    Ok(asked.fetch_one(connection).await?)
}

/// The conversation of a visitor's that was used longest ago, and is not being used.
async fn oldest_of(connection: &mut SqliteConnection, owner: &VisitorId) -> Result<Option<Candidate>, StoreError> {
    let hash = owner.0.as_slice();
    let candidate = sqlx::query_as!(
        Candidate,
        "SELECT id, owner, picture FROM conversation WHERE owner = ? AND NOT EXISTS (SELECT 1 FROM turn JOIN answer ON turn = turn.id WHERE conversation = conversation.id AND state = 'running') ORDER BY updated, id LIMIT 1",
        hash
    );
    Ok(candidate.fetch_optional(connection).await?)
}

/// The same of all visitors; those first that nothing was asked in, if there is a flood of them.
async fn oldest_of_all(connection: &mut SqliteConnection, is_flooded: bool) -> Result<Option<Candidate>, StoreError> {
    let candidate = sqlx::query_as!(
        Candidate,
        "SELECT id, owner, picture FROM conversation WHERE NOT EXISTS (SELECT 1 FROM turn JOIN answer ON turn = turn.id WHERE conversation = conversation.id AND state = 'running') ORDER BY (?1 AND EXISTS (SELECT 1 FROM turn WHERE conversation = conversation.id)), updated, id LIMIT 1",
        is_flooded
    );
    Ok(candidate.fetch_optional(connection).await?)
}

async fn remove(
    connection: &mut SqliteConnection,
    candidate: Candidate,
    pictures: &mut Vec<PictureId>,
) -> Result<ConversationId, StoreError> {
    let Candidate { id, owner, picture } = candidate;
    sqlx::query!("DELETE FROM conversation WHERE id = ?", id)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        "DELETE FROM visitor WHERE secret_hash = ?1 AND NOT EXISTS (SELECT 1 FROM conversation WHERE owner = ?1)",
        owner
    )
    .execute(connection)
    .await?;
    pictures.push(picture_id(&picture)?);
    ConversationId::parse(&id).ok_or_else(|| StoreError::Damaged {
        detail: "a conversation's id cannot be read".into(),
    })
}
