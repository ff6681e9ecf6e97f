//! Reading what a request brings, within its limit. Each byte is taken from the budget of
//! memory before it is held.

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use futures::{Stream, StreamExt};

use crate::chat::Error;
use crate::service::{MemoryError, Reservation, Service};

/// What a form has beside its picture.
pub const FORM_BYTES: usize = 64 << 10;

/// The least that is taken of the budget at once: most pictures wait for few steps, and a body
/// of which nothing comes holds little.
const STEP_BYTES: usize = 256 << 10;

/// Why a body was not read.
#[derive(Debug, PartialEq)]
pub enum BodyError {
    BrokenOff { reason: String },
    TooLarge { bytes: usize, limit: usize },
    Memory(MemoryError),
}

/// Reads a body, or a part of one, into memory, up to `limit` bytes.
///
/// What goes beyond is read and thrown away: a browser shows an answer only when it was
/// allowed to finish speaking. The router's body limit bounds how long that can go on.
pub async fn read_limited<E: std::fmt::Display>(
    mut chunks: impl Stream<Item = Result<Bytes, E>> + Unpin,
    limit: usize,
    room: &mut Reservation,
) -> Result<Vec<u8>, BodyError> {
    let (mut bytes, mut total) = (Vec::new(), 0);
    loop {
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            cut_off = room.is_cut_off() => return Err(BodyError::Memory(cut_off)),
        };
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|error| BodyError::BrokenOff {
            reason: error.to_string(),
        })?;
        total += chunk.len();
        if total > limit {
            bytes = Vec::new();
            room.shrink_arrival(0);
            continue;
        }
        make_room(&mut bytes, chunk.len(), limit, room)
            .await
            .map_err(BodyError::Memory)?;
        bytes.extend_from_slice(&chunk);
    }
    if total > limit {
        return Err(BodyError::TooLarge { bytes: total, limit });
    }
    Ok(bytes)
}

/// Takes from the budget what `bytes` has to grow by for `more` of them.
async fn make_room(bytes: &mut Vec<u8>, more: usize, limit: usize, room: &mut Reservation) -> Result<(), MemoryError> {
    let needed = bytes.len() + more;
    if needed <= bytes.capacity() {
        return Ok(());
    }
    let wished = needed.max(2 * bytes.len()).max(STEP_BYTES);
    let capacity = wished.min(limit).max(needed);
    room.take_arrival(capacity - bytes.capacity()).await?;
    bytes.reserve_exact(capacity - bytes.len());
    Ok(())
}

/// Refuses a body at once that would never be taken, by the length that it announces.
///
/// # Errors
/// It would not.
pub fn check_length(headers: &HeaderMap, service: &Service) -> Result<(), Error> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    service.check_arrival(announced.unwrap_or(0usize).saturating_sub(FORM_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::MemoryBudget;

    fn chunks(sizes: &[usize]) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Unpin + use<> {
        futures::stream::iter(
            sizes
                .iter()
                .map(|size| Ok(Bytes::from(vec![0; *size])))
                .collect::<Vec<_>>(),
        )
    }

    async fn read_within(sizes: &[usize], limit: usize, memory: u64) -> Result<Vec<u8>, BodyError> {
        let mut room = MemoryBudget::new(memory, 1).reservation(None);
        read_limited(chunks(sizes), limit, &mut room).await
    }

    #[tokio::test]
    async fn the_limit_is_the_last_size_that_is_accepted() {
        let accepted = read_within(&[4, 6], 10, 1 << 20).await;
        assert_eq!(accepted.map(|bytes| bytes.len()), Ok(10));
        let refused = read_within(&[4, 6, 1], 10, 1 << 20).await;
        assert_eq!(refused, Err(BodyError::TooLarge { bytes: 11, limit: 10 }));
    }

    #[tokio::test]
    async fn what_is_read_is_taken_from_the_budget_before() {
        let most = 1 << 20;
        let whole = read_within(&[100_000; 10], most, 2 * most as u64).await;
        let whole = whole.expect("there is room");
        assert_eq!(whole.len(), 1_000_000);
        assert!(whole.capacity() <= most, "nothing is held that was not taken");
        let refused = read_within(&[100_000; 10], most, most as u64).await;
        assert!(
            matches!(refused, Err(BodyError::Memory(MemoryError::NeverFits { .. }))),
            "bodies have half: {refused:?}"
        );
    }
}
