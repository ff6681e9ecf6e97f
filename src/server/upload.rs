//! Taking in a picture: reading it within the limit, decoding it, beginning a conversation.
//! Each byte is taken from the budget of memory before it is held.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{Extensions, HeaderMap, header};
use futures::{Stream, StreamExt};

use super::budget::run_within;
use super::client::ClientAddress;
use super::memory::Reservation;
use super::state::Shared;
use crate::api::{ApiError, Conversation, ErrorKind};
use crate::processor::{Picture, PictureError, PictureLimits};
use crate::store::LegacyStoreError as StoreError;

/// What a form has beside its picture.
pub const FORM_BYTES: usize = 64 << 10;

/// The least that is taken of the budget at once, so that it is not asked for each packet.
const STEP_BYTES: usize = 64 << 10;

/// Reads an uploaded file into memory, up to `max_bytes`.
///
/// What goes beyond is read and thrown away: a browser shows an answer only when it was
/// allowed to finish speaking. The router's body limit bounds how long that can go on.
pub async fn read<E: std::fmt::Display>(
    mut chunks: impl Stream<Item = Result<Bytes, E>> + Unpin,
    max_bytes: usize,
    room: &mut Reservation,
) -> Result<Vec<u8>, ApiError> {
    let (mut bytes, mut total) = (Vec::new(), 0);
    loop {
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            cut_off = room.is_cut_off() => return Err(cut_off.into()),
        };
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|error| {
            ApiError::new(
                ErrorKind::BadRequest,
                format!("The upload broke off ({error}). Try it again."),
            )
        })?;
        total += chunk.len();
        if total > max_bytes {
            bytes = Vec::new();
            room.shrink_arrival(0);
            continue;
        }
        make_room(&mut bytes, chunk.len(), max_bytes, room).await?;
        bytes.extend_from_slice(&chunk);
    }
    if total > max_bytes {
        return Err(PictureError::TooManyBytes {
            bytes: total,
            max_bytes,
        }
        .into());
    }
    Ok(bytes)
}

/// Takes from the budget what `bytes` has to grow by for `more` of them.
async fn make_room(bytes: &mut Vec<u8>, more: usize, max_bytes: usize, room: &mut Reservation) -> Result<(), ApiError> {
    let needed = bytes.len() + more;
    if needed <= bytes.capacity() {
        return Ok(());
    }
    let wished = needed.max(bytes.len() + bytes.len() / 2).max(STEP_BYTES);
    let capacity = wished.min(max_bytes).max(needed);
    room.take_arrival(capacity - bytes.capacity()).await?;
    bytes.reserve_exact(capacity - bytes.len());
    Ok(())
}

/// Longer side of a preview, which the store makes.
const PREVIEW_SIDE: u64 = 1280;

/// What takes memory beside pixels: the preview's file, and the picture as the model sees it.
const SMALL_COPIES: u64 = 8 << 20;

/// Bytes that a file takes at a time, decoded and then resized, beside its own.
///
/// What is beyond the limits takes nothing: the decoder refuses it at its head.
fn work_bytes(file: &[u8], limits: &PictureLimits) -> Result<usize, PictureError> {
    let (width, height) = Picture::declared_size(file)?;
    let (pixels, side) = (width.saturating_mul(height), width.max(height));
    if pixels > limits.max_pixels || side > limits.max_side {
        return Ok(0);
    }
    // A picture in between has one side of the preview and one of the picture.
    let between = pixels.min(side * PREVIEW_SIDE);
    let resizing = 3 * (pixels + between) + SMALL_COPIES;
    let bytes = Picture::decoding_bytes(file)?.max(resizing);
    Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// Refuses a body at once that would never be taken, by the length that it announces.
pub fn check_length(headers: &HeaderMap, shared: &Shared) -> Result<(), ApiError> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let file = announced.unwrap_or(0usize).saturating_sub(FORM_BYTES);
    Ok(shared.memory.check_arrival(file.min(shared.limits.picture.max_bytes))?)
}

impl Shared {
    /// Holds what a request brings, on the account of who sent it.
    pub fn room(&self, request: &Extensions) -> Reservation {
        self.memory.reservation(Some(ClientAddress::of(request).network()))
    }

    /// Begins a conversation about the picture at an address.
    pub async fn begin_from_address(
        self: &Arc<Self>,
        address: String,
        mut room: Reservation,
    ) -> Result<Conversation, ApiError> {
        let Some(fetcher) = self.fetcher.clone() else {
            return Err(ApiError::new(
                ErrorKind::AddressRefused,
                "This server fetches no pictures from addresses (--allow-picture-urls). Download the picture and choose the file.",
            ));
        };
        let Ok(permit) = Arc::clone(&self.fetching).try_acquire_owned() else {
            return Err(ApiError::new(
                ErrorKind::Overloaded,
                "Too many pictures are being fetched. Try again in a moment.",
            ));
        };
        // How large it is, its server says late or not at all.
        room.take_arrival(self.limits.picture.max_bytes).await?;
        room.stays();
        // A visitor who leaves does not end the fetch: permit and room stay with it.
        let fetched = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            (fetcher.fetch(&address), room)
        });
        let failed = |_| {
            ApiError::new(
                ErrorKind::Internal,
                "Fetching this picture failed on our side. Try again.",
            )
        };
        let (bytes, room) = fetched.await.map_err(failed)?;
        let mut bytes = bytes?;
        bytes.shrink_to_fit();
        room.shrink_arrival(bytes.len());
        self.begin_conversation(bytes, room).await
    }

    /// Begins a conversation about the picture in `bytes`, which `room` was taken for.
    pub async fn begin_conversation(
        self: &Arc<Self>,
        bytes: Vec<u8>,
        room: Reservation,
    ) -> Result<Conversation, ApiError> {
        let limits = self.limits.picture;
        let look = move || (work_bytes(&bytes, &limits), bytes);
        let (mut room, (needed, bytes)) = run_within(room, look).await?;
        room.take_work(needed?).await?;
        let shared = Arc::clone(self);
        // Decoding takes the CPU for as long as a picture is large.
        let (_room, conversation) = run_within(room, move || shared.decode_and_store(&bytes)).await?;
        conversation
    }

    fn decode_and_store(&self, bytes: &[u8]) -> Result<Conversation, ApiError> {
        let picture = Picture::decode(bytes, &self.limits.picture)?;
        let for_model = self.engine.prepare(&picture);
        self.store
            .begin(&picture, for_model)
            .map_err(|error: StoreError| error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::memory::MemoryBudget;

    fn chunks(sizes: &[usize]) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Unpin + use<> {
        futures::stream::iter(
            sizes
                .iter()
                .map(|size| Ok(Bytes::from(vec![0; *size])))
                .collect::<Vec<_>>(),
        )
    }

    async fn read_within(sizes: &[usize], max_bytes: usize, memory: u64) -> Result<Vec<u8>, ApiError> {
        let mut room = MemoryBudget::new(memory, 1).reservation(None);
        read(chunks(sizes), max_bytes, &mut room).await
    }

    #[tokio::test]
    async fn the_limit_is_the_last_size_that_is_accepted() {
        let accepted = read_within(&[4, 6], 10, 1 << 20).await;
        assert_eq!(accepted.map(|bytes| bytes.len()), Ok(10));
        let refused = read_within(&[4, 6, 1], 10, 1 << 20).await;
        let error = refused.expect_err("it is too large");
        assert_eq!(error.kind, ErrorKind::PictureTooLarge);
        let message = error.message;
        assert!(
            message.contains("11 bytes") && message.contains("10 are accepted"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn what_is_read_is_taken_from_the_budget_before() {
        let most = 1 << 20;
        let whole = read_within(&[100_000; 10], most, 2 * most as u64).await;
        let whole = whole.expect("there is room");
        assert_eq!(whole.len(), 1_000_000);
        assert!(whole.capacity() <= most, "nothing is held that was not taken");
        let refused = read_within(&[100_000; 10], most, most as u64).await;
        let error = refused.expect_err("bodies have half");
        assert!(error.message.contains("--max-picture-memory"), "{error}");
    }

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
}
