//! Conversations and pictures that outlive a request.
//!
//! Everything is in memory, in a folder as well where one is given, and reached by
//! unguessable ids only. When there are too many conversations, the one that was looked
//! at longest ago, and whose answer is not just being given, makes room. The folder is
//! written to by a thread of its own.

mod disk;
mod id;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::api::{Conversation, ConversationId, PictureInfo, Turn, TurnState};
use crate::processor::{EncodeError, Picture, preview};
use disk::{Disk, Saved};
use writer::{Change, Writer};

/// Why the store cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LegacyStoreError {
    #[error("This conversation is not there any more. Put the picture in again.")]
    NotFound,
    #[error("An answer of this conversation is still being given. Wait for it, or press Stop.")]
    Busy,
    #[error(
        "This conversation has {0} turns, which is as many as it may have (--max-turns). Begin a new conversation."
    )]
    TooManyTurns(usize),
    #[error(transparent)]
    Preview(#[from] EncodeError),
    #[error("The folder {folder} cannot be used for conversations: {reason}. Name another one with --data.")]
    Folder { folder: String, reason: String },
}

/// Conversations that go when a new one begins, where there are far too many: a limit that
/// was set too low by mistake does not cost all of them at once.
const MOST_GONE_AT_ONCE: usize = 2;

/// How much the store keeps.
#[derive(Clone, Copy, Debug)]
pub struct LegacyStoreLimits {
    pub conversations: usize,
    pub turns: usize,
}

/// The conversations of all visitors.
pub struct LegacyStore {
    conversations: Mutex<HashMap<ConversationId, Stored>>,
    /// Changes are sent to it under the lock, so that they come in order.
    writer: Option<Writer>,
    limits: LegacyStoreLimits,
}

struct Stored {
    /// As large as the model sees it.
    picture: Arc<Picture>,
    /// A JPEG that browsers may see: decoded and encoded again, never what was uploaded.
    preview: Arc<[u8]>,
    width: u32,
    height: u32,
    turns: Vec<Turn>,
    looked_at: Instant,
}

impl Stored {
    fn saved(&self) -> Saved {
        Saved {
            width: self.width,
            height: self.height,
            turns: self.turns.clone(),
        }
    }

    fn is_answering(&self) -> bool {
        self.turns.last().is_some_and(|turn| turn.state == TurnState::Answering)
    }
}

impl LegacyStore {
    /// An empty store, in memory only.
    pub fn in_memory(limits: LegacyStoreLimits) -> Self {
        Self {
            conversations: Mutex::default(),
            writer: None,
            limits,
        }
    }

    /// A store that keeps its conversations in a folder, and begins with those that are there.
    pub fn in_folder(folder: PathBuf, limits: LegacyStoreLimits) -> Result<Self, LegacyStoreError> {
        let name = folder.display().to_string();
        let unusable = |error: std::io::Error| LegacyStoreError::Folder {
            folder: name.clone(),
            reason: error.to_string(),
        };
        let disk = Disk::open(folder).map_err(unusable)?;
        let saved = disk.load_all().map_err(unusable)?;
        if saved.len() > limits.conversations {
            tracing::warn!(
                "{name} holds {} conversations, more than the {} of --max-conversations: all are kept for now, and new ones make the oldest go",
                saved.len(),
                limits.conversations
            );
        }
        Ok(Self {
            conversations: Mutex::new(saved.into_iter().collect()),
            writer: Some(Writer::start(disk).map_err(unusable)?),
            limits,
        })
    }

    /// Begins a conversation about a picture, of which `for_model` is what the model sees.
    pub fn begin(&self, picture: &Picture, for_model: Picture) -> Result<Conversation, LegacyStoreError> {
        let stored = Stored {
            preview: preview::encode(picture)?.into(),
            picture: Arc::new(for_model),
            width: u32::try_from(picture.width).unwrap_or(u32::MAX),
            height: u32::try_from(picture.height).unwrap_or(u32::MAX),
            turns: Vec::new(),
            looked_at: Instant::now(),
        };
        let id = id::unguessable();
        let conversation = describe(&id, &stored);
        self.insert(id, stored);
        Ok(conversation)
    }

    fn insert(&self, id: ConversationId, stored: Stored) {
        let mut conversations = self.lock();
        self.make_room(&mut conversations);
        self.save(|| Change::Begun {
            id: id.clone(),
            picture: Arc::clone(&stored.picture),
            preview: Arc::clone(&stored.preview),
            saved: stored.saved(),
        });
        conversations.insert(id, stored);
    }

    fn make_room(&self, conversations: &mut HashMap<ConversationId, Stored>) {
        let mut gone = 0;
        while conversations.len() >= self.limits.conversations.max(1) && gone < MOST_GONE_AT_ONCE {
            let quiet = conversations.iter().filter(|(_, stored)| !stored.is_answering());
            let oldest = quiet
                .min_by_key(|(_, stored)| stored.looked_at)
                .map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { break };
            conversations.remove(&oldest);
            self.save(|| Change::Forgotten { id: oldest });
            gone += 1;
        }
        if gone > 0 {
            tracing::info!("conversations that made room for a new one (--max-conversations): {gone}");
        }
    }

    /// Hands a change to the thread that writes, where there is a folder.
    fn save(&self, change: impl FnOnce() -> Change) {
        if let Some(writer) = &self.writer {
            writer.send(change());
        }
    }

    fn save_turns(&self, id: &ConversationId, stored: &Stored) {
        self.save(|| Change::Said {
            id: id.clone(),
            saved: stored.saved(),
        });
    }

    /// Waits until everything is in the folder, where there is one.
    pub fn flush(&self) {
        if let Some(writer) = &self.writer {
            writer.flush();
        }
    }

    /// All that was said so far.
    pub fn conversation(&self, id: &ConversationId) -> Result<Conversation, LegacyStoreError> {
        self.with(id, |stored| Ok(describe(id, stored)))
    }

    /// The picture as browsers may see it, a JPEG.
    pub fn preview(&self, id: &ConversationId) -> Result<Arc<[u8]>, LegacyStoreError> {
        self.with(id, |stored| Ok(Arc::clone(&stored.preview)))
    }

    /// How much is kept.
    pub fn limits(&self) -> LegacyStoreLimits {
        self.limits
    }

    /// Adds a turn whose answer is still to come, sent to the model as `prompt`, and gives the picture that it is about.
    ///
    /// # Errors
    /// The turn before has no answer yet, or there are too many turns.
    pub fn begin_turn(
        &self,
        id: &ConversationId,
        question: &str,
        prompt: &str,
    ) -> Result<Arc<Picture>, LegacyStoreError> {
        let most = self.limits.turns;
        self.with(id, |stored| {
            if stored.is_answering() {
                return Err(LegacyStoreError::Busy);
            }
            if stored.turns.len() >= most {
                return Err(LegacyStoreError::TooManyTurns(most));
            }
            stored.turns.push(Turn {
                question: question.to_string(),
                answer: String::new(),
                prompt: Some(prompt.to_string()),
                further_answers: Vec::new(),
                seed: None,
                state: TurnState::Answering,
            });
            self.save_turns(id, stored);
            Ok(Arc::clone(&stored.picture))
        })
    }

    /// Says what was sent to the model in the turn that is being answered.
    pub fn set_prompt(&self, id: &ConversationId, prompt: &str) {
        // A conversation that is gone has no turn to say it of.
        let _ = self.with(id, |stored| {
            if let Some(turn) = stored.turns.last_mut() {
                turn.prompt = Some(prompt.to_string());
                self.save_turns(id, stored);
            }
            Ok(())
        });
    }

    /// Takes back the turn that was just begun: its question could not be asked at all.
    pub fn withdraw_turn(&self, id: &ConversationId) {
        // A conversation that is gone has no turn to take back.
        let _ = self.with(id, |stored| {
            stored.turns.pop_if(|turn| turn.state == TurnState::Answering);
            self.save_turns(id, stored);
            Ok(())
        });
    }

    /// Adds to the answer that is being given.
    pub fn extend_answer(&self, id: &ConversationId, text: &str) {
        // A conversation that is gone needs no answer.
        let _ = self.with(id, |stored| {
            if let Some(turn) = stored.turns.last_mut() {
                turn.answer.push_str(text);
            }
            Ok(())
        });
    }

    /// Saves what has come of the answer that is being given.
    pub fn save_answer(&self, id: &ConversationId) {
        let _ = self.with(id, |stored| {
            self.save_turns(id, stored);
            Ok(())
        });
    }

    /// Adds what is known of an answer besides its text, before it is finished.
    pub fn complete_answer(&self, id: &ConversationId, further_answers: Vec<String>, seed: Option<u64>) {
        let _ = self.with(id, |stored| {
            if let Some(turn) = stored.turns.last_mut() {
                (turn.further_answers, turn.seed) = (further_answers, seed);
            }
            Ok(())
        });
    }

    /// Says what became of the answer that was being given.
    pub fn finish_turn(&self, id: &ConversationId, state: TurnState) {
        let _ = self.with(id, |stored| {
            if let Some(turn) = stored.turns.last_mut() {
                turn.state = state;
            }
            self.save_turns(id, stored);
            Ok(())
        });
    }

    fn with<T>(
        &self,
        id: &ConversationId,
        use_it: impl FnOnce(&mut Stored) -> Result<T, LegacyStoreError>,
    ) -> Result<T, LegacyStoreError> {
        let mut conversations = self.lock();
        let stored = conversations.get_mut(id).ok_or(LegacyStoreError::NotFound)?;
        stored.looked_at = Instant::now();
        use_it(stored)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConversationId, Stored>> {
        // Every change is a single step, so that a panic elsewhere leaves nothing half done.
        self.conversations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe(id: &ConversationId, stored: &Stored) -> Conversation {
    Conversation {
        id: id.clone(),
        picture: PictureInfo {
            url: format!("/pictures/{id}"),
            width: stored.width,
            height: stored.height,
        },
        turns: stored.turns.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(conversations: usize) -> LegacyStore {
        LegacyStore::in_memory(LegacyStoreLimits {
            conversations,
            turns: 2,
        })
    }

    fn begin(store: &LegacyStore) -> ConversationId {
        let picture = Picture {
            width: 2,
            height: 1,
            rgb: vec![255, 0, 0, 0, 0, 255],
        };
        store
            .begin(&picture, picture.clone())
            .expect("a small picture has a preview")
            .id
    }

    #[test]
    fn the_conversation_looked_at_longest_ago_makes_room() {
        let store = store(2);
        let (first, second) = (begin(&store), begin(&store));
        store.conversation(&first).expect("it was just begun");
        let third = begin(&store);
        assert!(matches!(store.conversation(&second), Err(LegacyStoreError::NotFound)));
        assert!(store.conversation(&first).is_ok() && store.conversation(&third).is_ok());
    }

    #[test]
    fn one_answer_at_a_time_and_not_too_many() {
        let store = store(1);
        let id = begin(&store);
        let done = TurnState::Done {
            finish_reason: crate::api::FinishReason::Stop,
        };
        store.begin_turn(&id, "one", "").expect("nothing is being answered");
        assert!(matches!(store.begin_turn(&id, "two", ""), Err(LegacyStoreError::Busy)));
        store.finish_turn(&id, done.clone());
        store.begin_turn(&id, "two", "").expect("the first is done");
        store.finish_turn(&id, done);
        assert!(matches!(
            store.begin_turn(&id, "three", ""),
            Err(LegacyStoreError::TooManyTurns(2))
        ));
    }

    #[test]
    fn a_folder_keeps_conversations_and_forgets_with_the_store() {
        let folder = tempfile::tempdir().expect("there is a folder for tests");
        let limits = LegacyStoreLimits {
            conversations: 2,
            turns: 9,
        };
        let open = || LegacyStore::in_folder(folder.path().join("data"), limits).expect("the folder is ours");
        let store = open();
        let (first, second) = (begin(&store), begin(&store));
        let pixels = store.begin_turn(&second, "what?", "").expect("it is the first");
        store.extend_answer(&second, "two cats");
        store.finish_turn(
            &second,
            TurnState::Done {
                finish_reason: crate::api::FinishReason::Stop,
            },
        );
        let (conversation, preview) = (store.conversation(&second), store.preview(&second));
        store.flush();
        let taken = LegacyStore::in_folder(folder.path().join("data"), limits).err();
        assert!(taken.is_some_and(|error| error.to_string().contains("another Glimpse")));
        drop(store);

        let store = open();
        assert_eq!(store.conversation(&second).ok(), conversation.ok());
        assert_eq!(store.preview(&second).ok(), preview.ok());
        assert_eq!(store.begin_turn(&second, "and?", "").ok(), Some(pixels));
        store.conversation(&second).expect("it was loaded");
        let third = begin(&store);
        drop(store);
        let store = open();
        assert!(matches!(store.conversation(&first), Err(LegacyStoreError::NotFound)));
        assert!(store.conversation(&second).is_ok() && store.conversation(&third).is_ok());
    }

    fn in_folder(folder: &tempfile::TempDir, conversations: usize) -> LegacyStore {
        let limits = LegacyStoreLimits {
            conversations,
            turns: 9,
        };
        LegacyStore::in_folder(folder.path().to_path_buf(), limits).expect("the folder is ours")
    }

    #[test]
    fn a_question_that_was_refused_does_not_come_back() {
        let folder = tempfile::tempdir().expect("there is a folder for tests");
        let store = in_folder(&folder, 2);
        let id = begin(&store);
        store.begin_turn(&id, "never asked", "").expect("it is the first");
        store.withdraw_turn(&id);
        drop(store);
        let kept = in_folder(&folder, 2).conversation(&id).expect("it was kept");
        assert_eq!(kept.turns, Vec::new());
    }

    #[test]
    fn an_answer_that_was_cut_off_keeps_its_beginning_and_says_so() {
        let folder = tempfile::tempdir().expect("there is a folder for tests");
        let store = in_folder(&folder, 2);
        let id = begin(&store);
        store.begin_turn(&id, "what?", "").expect("it is the first");
        store.extend_answer(&id, "two ");
        store.save_answer(&id);
        drop(store);
        let kept = in_folder(&folder, 2).conversation(&id).expect("it was kept");
        let turn = &kept.turns[0];
        let interrupted = TurnState::Done {
            finish_reason: crate::api::FinishReason::Interrupted,
        };
        assert_eq!((turn.answer.as_str(), &turn.state), ("two ", &interrupted));
    }

    #[test]
    fn a_lower_limit_takes_no_conversation_at_the_start() {
        let folder = tempfile::tempdir().expect("there is a folder for tests");
        let store = in_folder(&folder, 9);
        let all: Vec<_> = (0..6).map(|_| begin(&store)).collect();
        drop(store);
        let store = in_folder(&folder, 1);
        assert!(all.iter().all(|id| store.conversation(id).is_ok()));
        begin(&store);
        let left = all.iter().filter(|id| store.conversation(id).is_ok()).count();
        assert_eq!(left, 4, "two go for each that comes");
    }

    #[test]
    fn ids_do_not_repeat() {
        let store = store(100);
        let ids: std::collections::HashSet<_> = (0..100).map(|_| begin(&store)).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.0.len() == 32));
    }
}
