//! Pictures that no conversation is about: they go.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Durability, Inner};
use crate::chat::PictureId;
use crate::store::StoreError;

/// How long a picture is kept for a conversation that is to begin about it.
const EXPECTED: Duration = Duration::from_secs(600);

/// Locks of pictures, each for all whose hash begins alike.
const LOCKS: usize = 16;

/// What is known of pictures beside the database.
#[derive(Default)]
pub struct PictureUses {
    /// Who writes or removes a picture's files is alone with them.
    locks: [tokio::sync::Mutex<()>; LOCKS],
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// How many conversations are still to begin about a picture, and until when.
    expected: HashMap<PictureId, (usize, Instant)>,
    /// Pictures about which a conversation has gone.
    suspected: HashSet<PictureId>,
}

impl PictureUses {
    /// Waits until nobody else writes or removes this picture's files.
    pub async fn lock(&self, id: &PictureId) -> tokio::sync::MutexGuard<'_, ()> {
        self.locks[usize::from(id.0[0]) % LOCKS].lock().await
    }

    /// A conversation is to begin about a picture that was just kept.
    pub fn expect(&self, id: PictureId) {
        let mut known = self.known();
        let (count, until) = known.expected.entry(id).or_insert((0, Instant::now()));
        *count += 1;
        *until = Instant::now() + EXPECTED;
    }

    /// It has begun.
    pub fn arrived(&self, id: &PictureId) {
        let mut known = self.known();
        if let Some((count, _)) = known.expected.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                known.expected.remove(id);
            }
        }
    }

    /// Conversations about these pictures go.
    pub fn suspect(&self, ids: impl IntoIterator<Item = PictureId>) {
        self.known().suspected.extend(ids);
    }

    /// Those that are to be looked at `now`.
    fn suspected(&self, now: Instant) -> Vec<PictureId> {
        let mut known = self.known();
        let Known { expected, suspected } = &mut *known;
        suspected.extend(expected.extract_if(|_, (_, until)| *until <= now).map(|(id, _)| id));
        suspected
            .iter()
            .filter(|id| !expected.contains_key(id))
            .copied()
            .collect()
    }

    /// It was looked at.
    fn clear(&self, id: &PictureId) {
        self.known().suspected.remove(id);
    }

    fn is_expected(&self, id: &PictureId) -> bool {
        self.known().expected.contains_key(id)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is a single step, so that a panic elsewhere leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Removes the pictures that no conversation is about any more.
    pub(super) async fn remove_unused(&self) {
        for id in self.uses.suspected(Instant::now()) {
            if let Err(error) = self.remove_if_unused(&id).await {
                tracing::warn!("a picture that nobody asks about any more could not be removed yet: {error}");
            }
        }
    }

    async fn remove_if_unused(&self, id: &PictureId) -> Result<(), StoreError> {
        let _alone = self.uses.lock(id).await;
        if self.uses.is_expected(id) {
            return Ok(());
        }
        if !self.forget_if_unused(id).await? {
            self.pictures.remove(id).await?;
        }
        self.uses.clear(id);
        Ok(())
    }

    /// Whether the database still knows a picture, after this.
    async fn forget_if_unused(&self, id: &PictureId) -> Result<bool, StoreError> {
        let hash = id.0.as_slice();
        let mut connection = self.writer(Durability::Killed).await?;
        sqlx::query!(
            "DELETE FROM picture WHERE sha256_pixels = ?1 AND NOT EXISTS (SELECT 1 FROM conversation WHERE picture = ?1)",
            hash
        )
        .execute(&mut *connection)
        .await?;
        let is_known = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM picture WHERE sha256_pixels = ?) AS "is_known!: bool""#,
            hash
        );
        Ok(is_known.fetch_one(&mut *connection).await?)
    }

    /// Removes what a process left that was killed: pictures without a conversation, and
    /// files without a picture.
    pub(super) async fn remove_orphans(self: Arc<Self>, stored: BTreeSet<PictureId>) {
        match self.unused_pictures().await {
            Ok(unused) => self.uses.suspect(unused),
            Err(error) => tracing::warn!("pictures that nobody asks about could not be looked for: {error}"),
        }
        // Each that has files, and is not known, or not any more.
        self.uses.suspect(stored);
        self.remove_unused().await;
    }

    async fn unused_pictures(&self) -> Result<Vec<PictureId>, StoreError> {
        let hashes = sqlx::query_scalar!(
            "SELECT sha256_pixels FROM picture WHERE NOT EXISTS (SELECT 1 FROM conversation WHERE picture = sha256_pixels)"
        )
        .fetch_all(&self.readers)
        .await?;
        hashes.iter().map(|hash| super::read::picture_id(hash)).collect()
    }
}
