//! What makes room for a new conversation.
//!
//! Age comes before number: what was not used for longer than it may be kept goes first. A
//! visitor's quota then takes his own. The bounds over all take whose last use is longest ago,
//! whoever's; but a flood of pictures that nobody asks about, from visitors made up for each,
//! drives out itself: those may have a quarter of the room.

use sqlx::SqliteConnection;

use super::read::{number, picture_id};
use crate::chat::{ConversationId, PictureId, VisitorId};
use crate::store::{Evicted, Limits, NewConversation, StoreError, Usage};

/// Conversations that go for one that begins, where there are far too many: a limit that was
/// set too low by mistake does not cost all of them at once.
pub(super) const MOST_GONE_AT_ONCE: usize = 2;

/// Conversations that go for their age when one begins: the transaction stays short.
pub(super) const MOST_AGED_AT_ONCE: i64 = 100;

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

/// Makes room, `now`, for a conversation about a picture of this many bytes.
pub async fn make_room(
    connection: &mut SqliteConnection,
    new: &NewConversation,
    bytes: i64,
    limits: &Limits,
    now: i64,
) -> Result<Gone, StoreError> {
    check_size(bytes.cast_unsigned(), limits)?;
    let mut gone = Gone::default();
    if let Some(age) = limits.age {
        remove_aged(&mut *connection, now.saturating_sub(number(age.as_millis())), &mut gone).await?;
    }
    remove_own(&mut *connection, &new.owner, bytes, limits, &mut gone).await?;
    remove_others(connection, new, limits, &mut gone).await?;
    Ok(gone)
}

/// How much later than the machine's clock what is kept may be: those that were asked in within the
/// same millisecond are dated one after the other, and clocks are set right by a little.
const AHEAD: i64 = 60_000;

/// 2026 in milliseconds: a clock that shows an earlier day has not been set, and sets nothing right.
const EARLIEST: i64 = 1_767_225_600_000;

/// After a clock that ran ahead: conversations that are dated later than it is by now count as used
/// now, in the same order. As they were, they would be kept for as long as it ran ahead; and what
/// is older than they are by more than its age would go at once. Gives the latest date, if that has
/// changed.
pub async fn date_back(connection: &mut SqliteConnection, now: i64) -> Result<Option<i64>, StoreError> {
    let last = sqlx::query_scalar!(r#"SELECT max(updated) AS "last: i64" FROM conversation"#)
        .fetch_one(&mut *connection)
        .await?;
    if now < EARLIEST || last.is_none_or(|last| last <= now.saturating_add(AHEAD)) {
        return Ok(None);
    }
    let query = sqlx::query!(
        "UPDATE conversation SET updated = ?1 + ahead.place FROM (SELECT id, row_number() OVER (ORDER BY updated, id) AS place FROM conversation WHERE updated > ?1) AS ahead WHERE ahead.id = conversation.id",
        now
    );
    let count = query.execute(connection).await?.rows_affected();
    tracing::warn!(
        "conversations that are dated later than this machine's clock, which must have run ahead, and count as used now: {count}"
    );
    Ok(Some(now.saturating_add(number(count))))
}

/// Whether a picture of this many bytes fits in at all.
fn check_size(bytes: u64, limits: &Limits) -> Result<(), StoreError> {
    if bytes > limits.bytes {
        let limit = limits.bytes;
        return Err(StoreError::Full { bytes, limit });
    }
    if bytes > limits.bytes_per_visitor {
        let limit = limits.bytes_per_visitor;
        return Err(StoreError::VisitorFull { bytes, limit });
    }
    Ok(())
}

/// Removes what was last used before `oldest`.
async fn remove_aged(connection: &mut SqliteConnection, oldest: i64, gone: &mut Gone) -> Result<(), StoreError> {
    let aged = sqlx::query_as!(
        Candidate,
        "SELECT id, owner, picture FROM conversation WHERE updated < ?1 AND NOT EXISTS (SELECT 1 FROM turn JOIN answer ON turn = turn.id WHERE conversation = conversation.id AND state = 'running') ORDER BY updated, id LIMIT ?2",
        oldest,
        MOST_AGED_AT_ONCE
    );
    for candidate in aged.fetch_all(&mut *connection).await? {
        let id = remove(&mut *connection, candidate, &mut gone.pictures).await?;
        gone.evicted.aged.push(id);
    }
    Ok(())
}

/// Removes a visitor's own, where he has too many or too much.
async fn remove_own(
    connection: &mut SqliteConnection,
    owner: &VisitorId,
    bytes: i64,
    limits: &Limits,
    gone: &mut Gone,
) -> Result<(), StoreError> {
    loop {
        let usage = usage(&mut *connection, owner).await?;
        let too_many = usage.conversations >= limits.conversations_per_visitor.max(1)
            && gone.evicted.own.len() < MOST_GONE_AT_ONCE;
        let too_much = usage.bytes.saturating_add(bytes.cast_unsigned()) > limits.bytes_per_visitor;
        if !too_many && !too_much {
            return Ok(());
        }
        let Some(oldest) = oldest_of(&mut *connection, owner).await? else {
            return Ok(());
        };
        let id = remove(&mut *connection, oldest, &mut gone.pictures).await?;
        gone.evicted.own.push(id);
    }
}

/// Removes anybody's, where there are too many of all, or they take too much of the disk.
async fn remove_others(
    connection: &mut SqliteConnection,
    new: &NewConversation,
    limits: &Limits,
    gone: &mut Gone,
) -> Result<(), StoreError> {
    let limit = number(limits.bytes);
    // More than may be is there only where the limit was higher before: it shrinks little by little.
    let before = stored_bytes(&mut *connection, None).await?.max(limit);
    loop {
        let conversations = count(&mut *connection).await?;
        let bytes = stored_bytes(&mut *connection, Some(&new.picture)).await?;
        let is_first_few = gone.evicted.others.len() < MOST_GONE_AT_ONCE;
        let too_many = conversations >= number(limits.conversations.max(1)) && is_first_few;
        let too_much = bytes > before || (bytes > limit && is_first_few);
        if !too_many && !too_much {
            return Ok(());
        }
        let unasked = conversations - count_asked(&mut *connection).await?;
        let is_flooded = unasked >= conversations / 4;
        let Some(oldest) = oldest_of_all(&mut *connection, is_flooded).await? else {
            return Ok(());
        };
        let is_own = oldest.owner == new.owner.0;
        let id = remove(&mut *connection, oldest, &mut gone.pictures).await?;
        if is_own {
            gone.evicted.own.push(id);
        } else {
            gone.evicted.others.push(id);
        }
    }
}

/// Bytes that the database uses, and the pictures that conversations are about, each once, with
/// one that a conversation is to begin about.
async fn stored_bytes(connection: &mut SqliteConnection, also: Option<&PictureId>) -> Result<i64, StoreError> {
    let also = also.map(|picture| picture.0.as_slice());
    let pictures = sqlx::query_scalar!(
        r#"SELECT coalesce(sum(bytes), 0) AS "bytes!: i64" FROM picture WHERE sha256_pixels = ?1 OR EXISTS (SELECT 1 FROM conversation WHERE picture = sha256_pixels)"#,
        also
    )
    .fetch_one(&mut *connection)
    .await?;
    // What was removed leaves pages that are used again.
    let database: i64 = sqlx::query_scalar("SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size")
        .fetch_one(connection)
        .await?;
    Ok(pictures.saturating_add(database))
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
        "SELECT id, owner, picture FROM conversation WHERE owner = ? AND NOT EXISTS (SELECT 1 FROM turn JOIN answer ON turn = turn.id WHERE conversation = conversation.id AND state = 'running') ORDER BY pinned, updated, id LIMIT 1",
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
