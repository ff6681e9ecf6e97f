//! Ends of answers that the disk refused: they are held here, shown from here, and written
//! when it takes them again. They are few: while it refuses, nothing begins.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::Connection;

use super::{BEGIN, Durability, Inner, write};
use crate::chat::{Answer, AnswerId, Turn};
use crate::store::StoreError;

#[derive(Default)]
pub struct Unsaved(Mutex<HashMap<AnswerId, Answer>>);

impl Unsaved {
    fn hold(&self, answer: &Answer) {
        // The first end is the one that stays.
        self.answers()
            .entry(answer.id.clone())
            .or_insert_with(|| answer.clone());
    }

    /// Puts what is held into turns that were read.
    pub fn complete(&self, turns: &mut [Turn]) {
        let held = self.answers();
        for answer in turns.iter_mut().flat_map(|turn| &mut turn.answers) {
            if let Some(end) = held.get(&answer.id) {
                *answer = end.clone();
            }
        }
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<AnswerId, Answer>> {
        // Every change is a single step, so that a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    pub(super) async fn save_answer(&self, answer: &Answer) -> Result<(), StoreError> {
        let saved = self.write_answer(answer).await;
        if matches!(&saved, Err(error) if !answer.is_running() && error.is_of_the_disk()) {
            self.unsaved.hold(answer);
        }
        saved
    }

    /// Writes what the disk refused before, as far as it takes it now.
    pub(super) async fn save_unsaved(&self) {
        let held: Vec<Answer> = self.unsaved.answers().values().cloned().collect();
        for answer in held {
            match self.write_answer(&answer).await {
                Err(error) if error.is_of_the_disk() => {
                    return tracing::warn!("an answer's end is held, and still not on the disk: {error}");
                }
                // It is there, or its conversation is not any more.
                _ => self.unsaved.answers().remove(&answer.id),
            };
        }
    }

    async fn write_answer(&self, answer: &Answer) -> Result<(), StoreError> {
        let now = self.clock.next();
        let durability = match answer.is_running() {
            true => Durability::Killed,
            false => Durability::PowerCut,
        };
        let mut connection = self.writer(durability).await?;
        let mut transaction = connection.begin_with(BEGIN).await?;
        write::update_answer(&mut transaction, answer, now).await?;
        Ok(transaction.commit().await?)
    }
}
