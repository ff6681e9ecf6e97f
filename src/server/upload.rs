//! Taking in a picture: reading it within the limit, decoding it, beginning a conversation.

use std::sync::Arc;

use axum::body::Bytes;
use futures::{Stream, StreamExt};

use super::budget::run_within;
use super::state::Shared;
use crate::api::{ApiError, Conversation, ErrorKind};
use crate::processor::{Picture, PictureError};
use crate::store::LegacyStoreError as StoreError;

/// Reads an uploaded file into memory, up to `max_bytes`.
///
/// What goes beyond is read and thrown away: a browser shows an answer only when it was
/// allowed to finish speaking. The router's body limit bounds how long that can go on.
pub async fn read<E: std::fmt::Display>(
    mut chunks: impl Stream<Item = Result<Bytes, E>> + Unpin,
    max_bytes: usize,
) -> Result<Vec<u8>, ApiError> {
    let (mut bytes, mut total) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::new(
                ErrorKind::BadRequest,
                format!("The upload broke off ({error}). Try it again."),
            )
        })?;
        total += chunk.len();
        if total <= max_bytes {
            bytes.extend_from_slice(&chunk);
        } else {
            bytes = Vec::new();
        }
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

impl Shared {
    /// Begins a conversation about the picture at an address.
    pub async fn begin_from_address(self: &Arc<Self>, address: String) -> Result<Conversation, ApiError> {
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
        // A visitor who leaves does not end the fetch: the permit stays with it.
        let fetched = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            fetcher.fetch(&address)
        });
        let failed = |_| {
            ApiError::new(
                ErrorKind::Internal,
                "Fetching this picture failed on our side. Try again.",
            )
        };
        let bytes = fetched.await.map_err(failed)??;
        self.begin_conversation(bytes).await
    }

    /// Begins a conversation about the picture in `bytes`.
    pub async fn begin_conversation(self: &Arc<Self>, bytes: Vec<u8>) -> Result<Conversation, ApiError> {
        let shared = Arc::clone(self);
        // Nobody closes the semaphore; were it closed, decoding unbounded would still be right.
        let permit = Arc::clone(&self.decoding).acquire_owned().await.ok();
        // Decoding takes the CPU for as long as a picture is large.
        let (_permit, conversation) = run_within(permit, move || shared.decode_and_store(&bytes)).await?;
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

    fn chunks(sizes: &[usize]) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Unpin + use<> {
        futures::stream::iter(
            sizes
                .iter()
                .map(|size| Ok(Bytes::from(vec![0; *size])))
                .collect::<Vec<_>>(),
        )
    }

    #[tokio::test]
    async fn the_limit_is_the_last_size_that_is_accepted() {
        assert_eq!(read(chunks(&[4, 6]), 10).await.map(|bytes| bytes.len()), Ok(10));
        let refused = read(chunks(&[4, 6, 1]), 10)
            .await
            .map_err(|error| (error.kind, error.message));
        let (kind, message) = refused.expect_err("it is too large");
        assert_eq!(kind, ErrorKind::PictureTooLarge);
        assert!(
            message.contains("11 bytes") && message.contains("10 are accepted"),
            "{message}"
        );
    }
}
