//! Pictures: taken in, decoded within the budget of memory, kept whole, and ready for the model.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::bytes::Bytes;

use super::blocking::run_within;
use super::errors::internal;
use super::fetches::{Fetches, Place};
use super::known_files::{FileHash, KnownFile, KnownFiles};
use super::memory::{MemoryBudget, Reservation};
use super::{Limits, Result, Service};
use crate::chat::{Conversation, Error, PictureId, PictureInfo, Visitor};
use crate::engine::{Engine, Engines};
use crate::models::give_freed_memory_back;
use crate::processor::{Picture, PictureError, PictureLimits, preview};
use crate::remote::Fetcher;
use crate::store::{NewConversation, NewPicture, Store};

/// How many pictures are decoded at the same time, since each takes a core.
const DECODERS: usize = 2;

/// Bytes of pictures that are kept as the model sees them, for the next question about one.
const PREPARED_BYTES: usize = 64 << 20;

/// What takes pictures in.
pub struct Pictures {
    /// That a picture is prepared for when it is put in; for others it is when they are asked.
    engine: Arc<dyn Engine>,
    store: Arc<dyn Store>,
    limits: PictureLimits,
    /// What visitors make us hold, and how many pictures are decoded at the same time.
    pub memory: MemoryBudget,
    /// Fetches pictures from addresses, where that is allowed.
    fetcher: Option<Fetcher>,
    fetches: Fetches,
    known_files: KnownFiles,
    prepared: Mutex<Prepared>,
}

/// Pictures as models see them, the last used last.
#[derive(Default)]
struct Prepared {
    pictures: VecDeque<(PreparedFor, Arc<Picture>)>,
    bytes: usize,
}

/// A picture, and the name of the model that sees it so.
type PreparedFor = (PictureId, String);

/// A file, and what was taken of the budget for it, which goes when its last user has gone.
struct HeldFile {
    bytes: Vec<u8>,
    _room: Reservation,
}

impl AsRef<[u8]> for HeldFile {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Service {
    /// Begins a conversation about the picture in a file, which `room` was taken for.
    ///
    /// # Errors
    /// It is none that is read, or breaks a limit.
    pub async fn begin_conversation(
        &self,
        visitor: &Visitor,
        file: Vec<u8>,
        room: Reservation,
    ) -> Result<Conversation> {
        let bytes = file.len() as u64;
        let taken_in = self.pictures.take_in(file, room).await;
        self.activity().uploaded(bytes, taken_in.is_ok());
        let picture = taken_in?;
        let new = NewConversation::about(picture, visitor.id);
        self.store.begin_conversation(&new, &self.limits.store).await?;
        for old in self.quotas.count_conversation(visitor, &new.id, bytes) {
            // One that is gone already, or whose answer is being given, makes no room.
            let _ = self.store.remove(&old).await;
        }
        Ok(self.store.conversation(&new.id).await?)
    }

    /// Begins a conversation about the picture at an address.
    ///
    /// # Errors
    /// Nothing is fetched from there, or it is no picture that is read.
    pub async fn begin_from_address(
        &self,
        visitor: &Visitor,
        address: String,
        room: Reservation,
    ) -> Result<Conversation> {
        let fetcher = self.pictures.fetcher.clone().ok_or(Error::AddressesNotAllowed)?;
        self.quotas.count_fetch(visitor)?;
        let place = self.pictures.fetches.begin(visitor)?;
        let (file, room) = self.pictures.fetch(fetcher, address, place, room).await?;
        self.begin_conversation(visitor, file, room).await
    }
}

impl Pictures {
    pub fn new(engine: Arc<dyn Engine>, store: Arc<dyn Store>, limits: &Limits, fetcher: Option<Fetcher>) -> Self {
        Self {
            engine,
            store,
            limits: limits.picture,
            memory: MemoryBudget::new(limits.picture_memory, DECODERS).trimming(give_freed_memory_back),
            fetcher,
            fetches: Fetches::new(limits),
            known_files: KnownFiles::default(),
            prepared: Mutex::default(),
        }
    }

    pub fn takes_addresses(&self) -> bool {
        self.fetcher.is_some()
    }

    async fn fetch(
        &self,
        fetcher: Fetcher,
        address: String,
        place: Place,
        mut room: Reservation,
    ) -> Result<(Vec<u8>, Reservation)> {
        // How large it is, its server says late or not at all.
        room.take_arrival(self.limits.max_bytes).await?;
        room.stays();
        let ((_place, room), fetched) = run_within((place, room), move || fetcher.fetch(&address)).await?;
        let mut file = fetched?;
        file.shrink_to_fit();
        room.shrink_arrival(file.len());
        Ok((file, room))
    }

    /// Keeps a picture's file, decoded unless it is known.
    async fn take_in(&self, file: Vec<u8>, room: Reservation) -> Result<PictureId> {
        let hash = move || (FileHash::of(&file), file);
        let (room, (hash, bytes)) = run_within(room, hash).await?;
        let (known, file) = match self.known_files.recall(hash) {
            Some(known) => (known, Bytes::from_owner(HeldFile { bytes, _room: room })),
            None => self.decode(hash, bytes, room).await?,
        };
        // What was put in gives these pixels again, and is smaller than any lossless form.
        let kept = NewPicture {
            id: known.id,
            width: known.width,
            height: known.height,
            file,
            preview: known.preview.clone(),
        };
        self.store.keep_picture(kept).await?;
        Ok(known.id)
    }

    /// Decodes a picture's file, which is known from then on, and gives it back.
    async fn decode(&self, hash: FileHash, file: Vec<u8>, room: Reservation) -> Result<(Arc<KnownFile>, Bytes)> {
        let engine = Arc::clone(&self.engine);
        let decoded = move |picture: Picture| decoded(&picture, engine.as_ref());
        let (decoded, file) = self.read(file, self.limits, room, decoded).await?;
        let (known, prepared) = decoded?;
        let known = Arc::new(known);
        self.remember((known.id, self.engine.description().name.clone()), prepared);
        self.known_files.remember(hash, Arc::clone(&known));
        Ok((known, file))
    }

    /// A kept picture as a model sees it.
    ///
    /// # Errors
    /// It is not kept any more, or cannot be read.
    pub async fn prepared(
        &self,
        kept: &PictureInfo,
        engine: &Arc<dyn Engine>,
        mut room: Reservation,
    ) -> Result<Arc<Picture>> {
        let key = (kept.id, engine.description().name.clone());
        if let Some(picture) = self.recall(&key) {
            return Ok(picture);
        }
        // As much as its upload took, so that it fits in again.
        let expected = kept.bytes.min(self.limits.max_bytes);
        room.take_arrival(expected).await?;
        let file = self.store.picture(&kept.id).await?;
        // Another file of the same pixels may have been put in meanwhile, or under other limits.
        match file.len().checked_sub(expected) {
            Some(more) => room.take_arrival(more).await?,
            None => room.shrink_arrival(file.len()),
        }
        let engine = Arc::clone(engine);
        // It kept the limits of when it was put in.
        let limits = PictureLimits {
            max_bytes: usize::MAX,
            max_pixels: u64::MAX,
            ..self.limits
        };
        let prepare = move |picture: Picture| engine.prepare(&picture);
        let (picture, _file) = self.read(file.into(), limits, room, prepare).await?;
        Ok(self.remember(key, picture))
    }

    /// Decodes a file within the budget, and makes something of the picture.
    async fn read<T: Send + 'static>(
        &self,
        file: Vec<u8>,
        limits: PictureLimits,
        room: Reservation,
        make: impl FnOnce(Picture) -> T + Send + 'static,
    ) -> Result<(T, Bytes)> {
        let look = move || (work_bytes(&file, &limits), file);
        let (mut room, (needed, file)) = run_within(room, look).await?;
        room.take_work(needed?).await?;
        // Decoding takes the CPU for as long as a picture is large.
        let work = move || (Picture::decode(&file, &limits).map(make), file);
        let (room, (made, bytes)) = run_within(room, work).await?;
        Ok((made?, Bytes::from_owner(HeldFile { bytes, _room: room })))
    }

    fn recall(&self, key: &PreparedFor) -> Option<Arc<Picture>> {
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let index = prepared.pictures.iter().position(|(known, _)| known == key)?;
        let entry = prepared.pictures.remove(index)?;
        let picture = Arc::clone(&entry.1);
        prepared.pictures.push_back(entry);
        Some(picture)
    }

    fn remember(&self, key: PreparedFor, picture: Picture) -> Arc<Picture> {
        if let Some(known) = self.recall(&key) {
            return known;
        }
        let picture = Arc::new(picture);
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared.bytes += picture.rgb.len();
        prepared.pictures.push_back((key, Arc::clone(&picture)));
        while prepared.bytes > PREPARED_BYTES
            && let Some((_, oldest)) = prepared.pictures.pop_front()
        {
            prepared.bytes -= oldest.rgb.len();
        }
        picture
    }
}

/// What is kept of a picture, and the picture as the model sees it.
fn decoded(picture: &Picture, engine: &dyn Engine) -> Result<(KnownFile, Picture)> {
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    let known = KnownFile {
        id: PictureId(picture.pixel_hash()),
        width: side(picture.width),
        height: side(picture.height),
        preview: preview::encode(picture).map_err(|error| internal(&error))?.into(),
    };
    Ok((known, engine.prepare(picture)))
}

/// As many pixels of a photo go into one that a model sees, along a side, as a browser leaves of it at least.
const PHOTO_TO_MODEL: usize = 4;

/// See [`Service::photo_side`].
pub fn photo_side(engines: &Engines) -> usize {
    let pixel = Picture {
        width: 1,
        height: 1,
        rgb: vec![0; 3],
    };
    let side = |engine: &Arc<dyn Engine>| engine.prepare(&pixel).width;
    let sides: Vec<usize> = engines.iter().map(side).collect();
    match sides.iter().max() {
        // One that resizes nothing gives the pixel back.
        Some(largest) if !sides.contains(&1) => (PHOTO_TO_MODEL * largest).max(preview::LONGEST_SIDE),
        _ => 0,
    }
}

/// What takes memory beside pixels: the preview's file, and the picture as the model sees it.
const SMALL_COPIES: u64 = 8 << 20;

/// Bytes of the budget that a small picture takes, at least: with less, none could be put in.
pub const LEAST_PICTURE_MEMORY: u64 = 12_000_000;

/// Longer side of a picture as a model sees it, at most.
const MODEL_SIDE: u64 = 512;

/// Bytes that a file takes at a time, decoded and then resized, beside its own.
///
/// What is beyond the limits takes nothing: the decoder refuses it at its head.
fn work_bytes(file: &[u8], limits: &PictureLimits) -> std::result::Result<usize, PictureError> {
    let (width, height) = Picture::declared_size(file)?;
    let (pixels, side) = (width.saturating_mul(height), width.max(height));
    if pixels > limits.max_pixels || side > limits.max_side {
        return Ok(0);
    }
    // A picture in between has one side of the picture, and one that the model sees.
    let for_model = 3 * pixels.min(side * MODEL_SIDE);
    // Sides within the limits fit into memory's.
    let for_preview = preview::encoding_bytes(width as usize, height as usize);
    let resizing = 3 * pixels + for_model.max(for_preview) + SMALL_COPIES;
    let bytes = Picture::decoding_bytes(file)?.max(resizing);
    Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::PreviewKey;
    use crate::engine::scripted::{Gates, Script};
    use crate::engine::{QueueLimits, ScriptedEngine};
    use crate::store::{self, SqliteStore};

    #[test]
    fn what_the_limits_refuse_takes_no_memory_and_what_they_accept_its_pixels_at_least() {
        let mut png = Vec::new();
        let writer = png::Encoder::new(&mut png, 10_000, 9_999).write_header();
        drop(writer.expect("it is written to memory"));
        let limits = PictureLimits::default();
        let bytes = work_bytes(&png, &limits).expect("it has a head");
        assert!((300_000_000..700_000_000).contains(&bytes), "{bytes}");
        let fewer = PictureLimits {
            max_pixels: 99_000_000,
            ..limits
        };
        assert_eq!(work_bytes(&png, &fewer), Ok(0));
    }

    #[test]
    fn a_photo_keeps_what_visitors_and_models_see_of_it() {
        let queue = QueueLimits {
            waiting: 1,
            waiting_per_client: 1,
        };
        let engine = ScriptedEngine::start(Script::default(), queue, Gates::opened()).expect("there are threads");
        let seen = engine.prepare(&Picture {
            width: 2,
            height: 1,
            rgb: vec![0; 6],
        });
        let side = photo_side(&Engines::from(Arc::new(engine)));
        assert!(
            side >= PHOTO_TO_MODEL * seen.height && side >= preview::LONGEST_SIDE,
            "{side}"
        );
    }

    #[tokio::test]
    async fn a_kept_picture_is_not_read_before_there_is_memory_for_it() {
        let queue = QueueLimits {
            waiting: 1,
            waiting_per_client: 1,
        };
        let engine = ScriptedEngine::start(Script::default(), queue, Gates::opened());
        let kept = store::Limits {
            conversations: 1,
            conversations_per_visitor: 1,
            bytes_per_visitor: 1,
            bytes: 1,
            age: None,
            turns: 1,
        };
        let store = SqliteStore::temporary(std::env::temp_dir(), &kept).await;
        let pictures = Pictures {
            engine: Arc::new(engine.expect("there are threads")),
            store: Arc::new(store.expect("there is a folder for tests")),
            limits: PictureLimits::default(),
            memory: MemoryBudget::new(1000, 1),
            fetcher: None,
            fetches: Fetches::with_places(1),
            known_files: KnownFiles::default(),
            prepared: Mutex::default(),
        };
        // Whether it is read is seen by what is said: it is not there.
        let info = |bytes| PictureInfo {
            id: PictureId([7; 32]),
            preview: PreviewKey::random(),
            width: 1,
            height: 1,
            bytes,
        };
        let prepare = async |bytes| {
            let room = pictures.memory.reservation(None);
            pictures.prepared(&info(bytes), &pictures.engine, room).await.map(drop)
        };
        let too_large = prepare(5000).await;
        assert!(matches!(too_large, Err(Error::PictureTooLarge { .. })), "{too_large:?}");
        let read = prepare(5).await;
        assert!(matches!(read, Err(Error::NotFound { .. })), "{read:?}");
    }
}
