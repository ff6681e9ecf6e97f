//! Opening a folder: connections, migrations, and what a process left that was killed.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{Connection, SqlitePool};

use super::import::import;
use super::unsaved_answers::Unsaved;
use super::unused_pictures::PictureUses;
use super::{Clock, Inner, ended};
use crate::chat::PictureId;
use crate::store::folder::{DATABASE, Folder, PICTURES, make_private_file};
use crate::store::pictures::PictureFiles;
use crate::store::{Limits, StoreError};

pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// Connections that read at the same time.
const READERS: u32 = 4;

/// How long a read or a write waits for those before it. A disk that is slower is as good as broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens what is in a folder; also says which pictures have files there.
pub async fn open(folder: Folder, limits: &Limits) -> Result<(Inner, BTreeSet<PictureId>), StoreError> {
    let (path, is_lasting) = (folder.path().to_owned(), !folder.is_temporary());
    let prepared = tokio::task::spawn_blocking(move || {
        make_private_file(&path.join(DATABASE))?;
        let pictures = PictureFiles::open(path.join(PICTURES), is_lasting)?;
        let stored = pictures.tidy_up()?;
        Ok((pictures, stored))
    });
    let (pictures, stored) = ended(prepared.await)?.map_err(|error: std::io::Error| StoreError::Disk(error.into()))?;
    let writer = connect(&folder.path().join(DATABASE)).await?;
    migrate(&writer).await?;
    import(folder.path(), &writer, &pictures).await?;
    interrupt_running(&writer).await?;
    let last = sqlx::query_scalar!(r#"SELECT max(updated) AS "last: i64" FROM conversation"#)
        .fetch_one(&writer)
        .await?;
    let inner = Inner {
        readers: readers(&folder.path().join(DATABASE)),
        writer,
        pictures,
        uses: PictureUses::default(),
        unsaved: Unsaved::default(),
        clock: Clock::after(last.unwrap_or(0)),
        max_turns: limits.turns,
        folder,
    };
    Ok((inner, stored))
}

fn options(database: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(database)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        // What is forgotten is not to be found in the file either.
        .pragma("secure_delete", "ON")
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .max_lifetime(None)
        .idle_timeout(None)
        // Where a full disk made SQLite roll back by itself, sqlx still counts a transaction,
        // and would begin no other one on that connection.
        .before_acquire(|connection, _| {
            let is_free = !connection.is_in_transaction();
            Box::pin(async move { Ok(is_free) })
        })
}

/// The one connection that writes.
async fn connect(database: &Path) -> Result<SqlitePool, StoreError> {
    let options = options(database)
        .journal_mode(SqliteJournalMode::Wal)
        // The log does not stay as large as it once was.
        .pragma("journal_size_limit", "16777216");
    Ok(pool(1).connect_with(options).await?)
}

fn readers(database: &Path) -> SqlitePool {
    pool(READERS).connect_lazy_with(options(database).pragma("query_only", "ON"))
}

async fn migrate(writer: &SqlitePool) -> Result<(), StoreError> {
    MIGRATIONS.run(writer).await.map_err(|error| match error {
        MigrateError::VersionMissing(_) => StoreError::Newer,
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => StoreError::Damaged {
            detail: other.to_string(),
        },
    })
}

/// Says of answers that were running that their process has ended.
async fn interrupt_running(writer: &SqlitePool) -> Result<(), StoreError> {
    let interrupted = sqlx::query!("UPDATE answer SET state = 'done', finish = 'interrupted' WHERE state = 'running'")
        .execute(writer)
        .await?
        .rows_affected();
    if interrupted > 0 {
        tracing::warn!("answers that the end of the last process interrupted: {interrupted}");
    }
    Ok(())
}
