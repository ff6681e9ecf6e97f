//! Conversations in a folder, so that they outlive the process (`--data DIR`).
//!
//! Each has a folder of its own, named by its id: `picture.png` (as large as the model
//! sees it), `preview.jpg` and `conversation.json`.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Stored, id};
use crate::api::{ConversationId, FinishReason, Turn, TurnState};
use crate::processor::{Picture, PictureLimits};

const PICTURE: &str = "picture.png";
const PREVIEW: &str = "preview.jpg";
const CONVERSATION: &str = "conversation.json";

/// The folder of all conversations.
pub struct Disk {
    folder: PathBuf,
    /// The folder, locked for as long as it is ours.
    _lock: Option<File>,
}

/// What `conversation.json` holds.
#[derive(Serialize, Deserialize)]
pub struct Saved {
    pub width: u32,
    pub height: u32,
    pub turns: Vec<Turn>,
}

impl Disk {
    /// Makes the folder where it is missing, tries whether it can be written to, and keeps
    /// other servers out of it: each would forget what the other saves.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        private_folder(&folder)?;
        let lock = lock(&folder)?;
        let probe = folder.join("probe.new");
        std::fs::write(&probe, [])?;
        std::fs::remove_file(probe)?;
        Ok(Self { folder, _lock: lock })
    }

    /// Everything that was saved, the conversation that changed longest ago first. What
    /// cannot be read is left where it is, and said so in the log.
    pub fn load_all(&self) -> io::Result<Vec<(ConversationId, Stored)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let folder = entry?.path();
            let Some(id) = folder.file_name().and_then(|name| name.to_str()).and_then(id::parse) else {
                continue;
            };
            match load(&folder) {
                Ok((changed, stored)) => found.push((changed, id, stored)),
                Err(error) => tracing::warn!("{} is left out: {error}", folder.display()),
            }
        }
        found.sort_by_key(|(changed, ..)| *changed);
        Ok(found.into_iter().map(|(_, id, stored)| (id, stored)).collect())
    }

    /// Saves a conversation that has just begun.
    pub fn save_new(&self, id: &ConversationId, picture: &Picture, preview: &[u8], saved: &Saved) -> io::Result<()> {
        let folder = self.folder.join(&id.0);
        private_folder(&folder)?;
        write(&folder, PICTURE, &encode(picture)?)?;
        write(&folder, PREVIEW, preview)?;
        self.save_turns(id, saved)
    }

    /// Saves what was said since.
    pub fn save_turns(&self, id: &ConversationId, saved: &Saved) -> io::Result<()> {
        write(&self.folder.join(&id.0), CONVERSATION, &serde_json::to_vec(saved)?)
    }

    pub fn remove(&self, id: &ConversationId) -> io::Result<()> {
        std::fs::remove_dir_all(self.folder.join(&id.0))
    }
}

/// A folder that only its owner may look into: conversations are private.
fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Locks the folder itself, so that nothing in it is touched. Where folders cannot be locked,
/// as on some network file systems, nobody is kept out.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let opened = File::open(folder)?;
    match opened.try_lock() {
        Ok(()) => Ok(Some(opened)),
        Err(TryLockError::WouldBlock) => Err(io::Error::other("another Glimpse keeps its own there")),
        Err(TryLockError::Error(error)) => {
            tracing::debug!("{} cannot be locked: {error}", folder.display());
            Ok(None)
        }
    }
}

/// Reads a file that is one: no link to elsewhere, and nothing that waits for a writer.
fn read(folder: &Path, name: &str) -> io::Result<Vec<u8>> {
    let path = folder.join(name);
    if !std::fs::symlink_metadata(&path)?.is_file() {
        return Err(io::Error::other(format!("{name} is not a file")));
    }
    std::fs::read(path)
}

fn load(folder: &Path) -> io::Result<(std::time::SystemTime, Stored)> {
    let file = folder.join(CONVERSATION);
    let changed = std::fs::metadata(&file)?.modified()?;
    let mut saved: Saved = serde_json::from_slice(&read(folder, CONVERSATION)?)?;
    for turn in &mut saved.turns {
        if turn.state == TurnState::Answering {
            // The process ended in the middle of it.
            turn.state = TurnState::Done {
                finish_reason: FinishReason::Interrupted,
            };
        }
    }
    let decode = |bytes: &[u8]| Picture::decode(bytes, &PictureLimits::default()).map_err(io::Error::other);
    let preview = read(folder, PREVIEW)?;
    // It goes to browsers: nothing but a picture may.
    decode(&preview)?;
    let stored = Stored {
        picture: Arc::new(decode(&read(folder, PICTURE)?)?),
        preview: preview.into(),
        width: saved.width,
        height: saved.height,
        turns: saved.turns,
        looked_at: Instant::now(),
    };
    Ok((changed, stored))
}

/// A lossless PNG: the model must see the same pixels again.
fn encode(picture: &Picture) -> io::Result<Vec<u8>> {
    let side = |pixels: usize| u32::try_from(pixels).map_err(io::Error::other);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side(picture.width)?, side(picture.height)?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(&picture.rgb)?;
    Ok(bytes)
}

/// Writes beside and renames, so that a crash leaves the old file or the new one; on the
/// disk before it is renamed, so that a power cut does too.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(new, folder.join(name))
}
