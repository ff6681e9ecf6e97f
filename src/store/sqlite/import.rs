//! Conversations that a Glimpse from before the database kept: a folder each, named by its id,
//! with `picture.png` (as large as the model saw it), `preview.jpg` and `conversation.json`.
//!
//! They are taken over once, at the start, and belong to nobody until somebody opens one:
//! knowing the address was the only proof there was. The folders are kept beside, in
//! `imported-YYYYMMDD`; one that cannot be read is left where it is.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;
use sqlx::{Connection, SqlitePool};
use tokio_util::bytes::Bytes;

use super::read::{number, picture_bytes};
use super::{BEGIN, ended, write};
use crate::chat::{
    Answer, AnswerId, AnswerState, ConversationId, Error, FinishReason, PictureId, PreviewKey, Settings, Turn, TurnId,
    VisitorId,
};
use crate::processor::{Picture, PictureLimits};
use crate::store::folder::{IMPORTED, make_private};
use crate::store::pictures::PictureFiles;
use crate::store::{NewConversation, NewPicture, StoreError};

/// A conversation that was kept in a folder.
struct Older {
    id: ConversationId,
    picture: NewPicture,
    turns: Vec<Turn>,
    /// When it was last changed, in milliseconds since 1970.
    changed: i64,
}

/// Takes over every conversation that has a folder here.
pub async fn import(folder: &Path, writer: &SqlitePool, pictures: &PictureFiles) -> Result<(), StoreError> {
    let found = folder.to_owned();
    let found = ended(tokio::task::spawn_blocking(move || folders(&found)).await)?;
    let found = found.map_err(|error| StoreError::Disk(error.into()))?;
    if found.is_empty() {
        return Ok(());
    }
    let kept = folder.join(format!("{IMPORTED}{}", today(writer).await?));
    let mut imported = 0;
    for (id, folder) in found {
        let from = folder.clone();
        match ended(tokio::task::spawn_blocking(move || read(id, &from)).await)? {
            Ok(older) => {
                insert(older, writer, pictures).await?;
                let (from, to) = (folder.clone(), kept.clone());
                let moved = ended(tokio::task::spawn_blocking(move || move_below(&from, &to)).await)?;
                if let Err(error) = moved {
                    tracing::warn!("{} was imported, and could not be moved: {error}", folder.display());
                }
                imported += 1;
            }
            Err(error) => tracing::warn!("{} is left out, and left as it is: {error}", folder.display()),
        }
    }
    tracing::info!(
        "conversations of an older Glimpse that were imported: {imported}; as they were they lie in {}",
        kept.display()
    );
    Ok(())
}

fn folders(folder: &Path) -> io::Result<Vec<(ConversationId, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(ConversationId::parse);
        if let Some(id) = id.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            found.push((id, entry.path()));
        }
    }
    Ok(found)
}

/// The day, in UTC, as `YYYYMMDD`.
async fn today(database: &SqlitePool) -> Result<String, StoreError> {
    let day = sqlx::query_scalar!(r#"SELECT strftime('%Y%m%d', 'now') AS "day!: String""#);
    Ok(day.fetch_one(database).await?)
}

fn move_below(folder: &Path, kept: &Path) -> io::Result<()> {
    make_private(kept)?;
    let name = folder.file_name().unwrap_or_default();
    std::fs::rename(folder, kept.join(name))
}

/// Keeps a conversation, unless a start that was cut short has done so.
async fn insert(older: Older, writer: &SqlitePool, pictures: &PictureFiles) -> Result<(), StoreError> {
    let Older {
        id,
        picture,
        turns,
        changed,
    } = older;
    let mut connection = writer.acquire().await?;
    let mut transaction = connection.begin_with(BEGIN).await?;
    let key = id.as_str();
    let is_known = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM conversation WHERE id = ?) AS "is_known!: bool""#,
        key
    );
    if is_known.fetch_one(&mut *transaction).await? {
        return Ok(());
    }
    let new = NewConversation {
        id,
        owner: VisitorId::NOBODY,
        picture: picture.id,
        preview: PreviewKey::random(),
    };
    write::upsert_picture(&mut transaction, &picture, changed).await?;
    pictures.keep(&picture.id, picture.file, picture.preview).await?;
    let bytes = picture_bytes(&mut transaction, &picture.id).await?;
    write::insert_conversation(&mut transaction, &new, bytes, changed).await?;
    for turn in &turns {
        write::insert_turn(&mut transaction, &new.id, turn, changed).await?;
    }
    Ok(transaction.commit().await?)
}

/// What `conversation.json` holds.
#[derive(Deserialize)]
struct OlderConversation {
    /// Of the picture that was put in.
    width: u32,
    height: u32,
    turns: Vec<OlderTurn>,
}

#[derive(Deserialize)]
struct OlderTurn {
    question: String,
    answer: String,
    prompt: Option<String>,
    #[serde(default)]
    further_answers: Vec<String>,
    seed: Option<u64>,
    #[serde(flatten)]
    state: OlderState,
}

#[derive(Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum OlderState {
    Answering,
    Done { finish_reason: OlderFinishReason },
    Failed { error: OlderError },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OlderFinishReason {
    Stop,
    Length,
    Cancelled,
    Interrupted,
}

#[derive(Deserialize)]
struct OlderError {
    kind: String,
    message: String,
}

/// Reads a folder.
///
/// # Errors
/// A file is missing, or is not what it should be.
fn read(id: ConversationId, folder: &Path) -> io::Result<Older> {
    let json = read_file(folder, "conversation.json")?;
    let OlderConversation { width, height, turns } = serde_json::from_slice(&json)?;
    let changed = std::fs::metadata(folder.join("conversation.json"))?.modified()?;
    let changed = changed.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (file, preview) = (read_file(folder, "picture.png")?, read_file(folder, "preview.jpg")?);
    // It goes to browsers: nothing but a picture may.
    decode(&preview)?;
    Ok(Older {
        id,
        picture: NewPicture {
            id: PictureId(decode(&file)?.pixel_hash()),
            width,
            height,
            file,
            preview,
        },
        turns: in_a_row(turns),
        changed: number(changed.as_millis()),
    })
}

/// Reads a file that is one: no link to elsewhere, and nothing that waits for a writer.
fn read_file(folder: &Path, name: &str) -> io::Result<Bytes> {
    let path = folder.join(name);
    if !std::fs::symlink_metadata(&path)?.is_file() {
        return Err(io::Error::other(format!("{name} is not a file")));
    }
    Ok(std::fs::read(path)?.into())
}

fn decode(bytes: &[u8]) -> io::Result<Picture> {
    Picture::decode(bytes, &PictureLimits::default()).map_err(io::Error::other)
}

/// Turns of which each follows the one before.
fn in_a_row(older: Vec<OlderTurn>) -> Vec<Turn> {
    let mut parent = None;
    let mut turns = Vec::new();
    for older in older {
        let id = TurnId::random();
        let parent = parent.replace(id.clone());
        turns.push(turn(id, parent, older));
    }
    turns
}

fn turn(id: TurnId, parent: Option<TurnId>, older: OlderTurn) -> Turn {
    let answer = Answer {
        id: AnswerId::random(),
        // It was not said.
        model: String::new(),
        settings: Settings::default(),
        prompt: older.prompt,
        text: older.answer,
        token_ids: Vec::new(),
        further_texts: older.further_answers,
        scores: None,
        seed: older.seed,
        timings: None,
        state: state(older.state),
    };
    Turn {
        id,
        parent,
        question: older.question,
        answers: vec![answer],
    }
}

fn state(older: OlderState) -> AnswerState {
    match older {
        OlderState::Answering => AnswerState::Done(FinishReason::Interrupted),
        OlderState::Done { finish_reason } => AnswerState::Done(match finish_reason {
            OlderFinishReason::Stop => FinishReason::Stop,
            OlderFinishReason::Length => FinishReason::Length,
            OlderFinishReason::Cancelled => FinishReason::Cancelled,
            OlderFinishReason::Interrupted => FinishReason::Interrupted,
        }),
        OlderState::Failed { error } => AnswerState::Failed(code(error)),
    }
}

/// A code for a sentence; of those that were kept, three kinds say more than that it failed.
fn code(OlderError { kind, message }: OlderError) -> Error {
    let seconds = message.split(' ').find_map(|word| word.parse().ok());
    match (kind.as_str(), seconds) {
        ("question_refused", _) => Error::QuestionRefused { detail: message.into() },
        ("bad_request", _) => Error::SettingRefused {
            detail: message.into(),
            flag: None,
        },
        ("overloaded", Some(seconds)) => Error::TooSlow { seconds },
        _ => Error::model_failed(),
    }
}
