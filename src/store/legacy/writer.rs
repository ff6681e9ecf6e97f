//! The one thread that writes to the folder: in the order of the changes, and nobody waits
//! for a slow disk but whoever asks to.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use super::disk::{Disk, Saved};
use crate::api::ConversationId;
use crate::processor::Picture;

/// Something that the folder does not know yet.
pub enum Change {
    Begun {
        id: ConversationId,
        picture: Arc<Picture>,
        preview: Arc<[u8]>,
        saved: Saved,
    },
    /// All turns as they are now.
    Said {
        id: ConversationId,
        saved: Saved,
    },
    Forgotten {
        id: ConversationId,
    },
    /// Everything before is to be written, and then said so.
    Flush(mpsc::Sender<()>),
}

/// The way to the thread, which has written everything when this is dropped.
pub struct Writer {
    changes: Option<mpsc::Sender<Change>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn start(disk: Disk) -> io::Result<Self> {
        let (changes, arrivals) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || run(&disk, &arrivals))?;
        Ok(Self {
            changes: Some(changes),
            thread: Some(thread),
        })
    }

    pub fn send(&self, change: Change) {
        let sent = self
            .changes
            .as_ref()
            .is_some_and(|changes| changes.send(change).is_ok());
        if !sent {
            tracing::warn!("a conversation could not be saved: the thread that writes has ended");
        }
    }

    /// Waits until everything that was sent is written.
    pub fn flush(&self) {
        let (written, wait) = mpsc::channel();
        self.send(Change::Flush(written));
        // An error says that the thread has ended: then nothing more is written.
        let _ = wait.recv();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.changes = None;
        if let Some(thread) = self.thread.take() {
            // It has said what was wrong when it panicked.
            let _ = thread.join();
        }
    }
}

fn run(disk: &Disk, arrivals: &mpsc::Receiver<Change>) {
    while let Ok(first) = arrivals.recv() {
        let batch: Vec<Change> = std::iter::once(first).chain(arrivals.try_iter()).collect();
        for change in without_outdated(batch) {
            write(disk, change);
        }
    }
}

/// Of what was said in a conversation only the last: a slow disk must not fall behind
/// further and further.
fn without_outdated(batch: Vec<Change>) -> impl Iterator<Item = Change> {
    let mut last: HashMap<ConversationId, usize> = HashMap::new();
    for (index, change) in batch.iter().enumerate() {
        if let Change::Said { id, .. } = change {
            last.insert(id.clone(), index);
        }
    }
    let changes = batch.into_iter().enumerate();
    changes
        .filter(move |(index, change)| match change {
            Change::Said { id, .. } => last.get(id) == Some(index),
            _ => true,
        })
        .map(|(_, change)| change)
}

fn write(disk: &Disk, change: Change) {
    let result = match change {
        Change::Begun {
            id,
            picture,
            preview,
            saved,
        } => disk.save_new(&id, &picture, &preview, &saved),
        Change::Said { id, saved } => disk.save_turns(&id, &saved),
        Change::Forgotten { id } => disk.remove(&id),
        Change::Flush(written) => {
            // Whoever asked may have gone.
            let _ = written.send(());
            Ok(())
        }
    };
    // A full or broken disk is no reason not to answer: the conversation goes on in memory.
    if let Err(error) = result {
        tracing::warn!("a conversation could not be saved: {error}");
    }
}
