//! What the model remembers of the latest pictures.

use std::sync::Arc;

use crate::blip2::EncodedPicture;
use crate::chat::PictureId;

/// Pictures whose embeddings are kept; each is a few hundred kilobytes at most.
const PICTURES: usize = 64;

/// Of those the latest, whose keys and values are kept as well: some 20 megabytes each in
/// the language model of 2.7 billion parameters.
const WITH_KEYS_AND_VALUES: usize = 8;

/// The latest encoded pictures, by the hash of their pixels; the least recently used makes room.
#[derive(Default)]
pub struct PictureCache {
    /// The latest last.
    entries: Vec<(PictureId, Arc<EncodedPicture>)>,
}

impl PictureCache {
    /// What is remembered of a picture, or what `encode` makes of it.
    pub fn get_or_encode<E>(
        &mut self,
        id: PictureId,
        encode: impl FnOnce() -> Result<EncodedPicture, E>,
    ) -> Result<Arc<EncodedPicture>, E> {
        let known = self.entries.iter().position(|(known, _)| *known == id);
        let encoded = match known {
            Some(index) => self.entries.remove(index).1,
            None => Arc::new(encode()?),
        };
        self.insert_evicting_lru(id, Arc::clone(&encoded));
        Ok(encoded)
    }

    fn insert_evicting_lru(&mut self, id: PictureId, encoded: Arc<EncodedPicture>) {
        if self.entries.len() >= PICTURES {
            self.entries.remove(0);
        }
        self.entries.push((id, encoded));
        if let Some(older) = self.entries.len().checked_sub(WITH_KEYS_AND_VALUES + 1) {
            let (_, encoded) = &mut self.entries[older];
            *encoded = Arc::new(encoded.unread());
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;

    fn picture() -> Result<EncodedPicture, candle_core::Error> {
        Tensor::zeros((1, 1, 1), DType::F32, &Device::Cpu).map(EncodedPicture::from)
    }

    #[test]
    fn the_latest_pictures_are_encoded_once() {
        let mut cache = PictureCache::default();
        let mut encoded = 0;
        let mut ask = |number: usize| {
            let id = PictureId(std::array::from_fn(|index| (number >> (8 * index.min(7))) as u8));
            let get = cache.get_or_encode(id, || {
                encoded += 1;
                picture()
            });
            get.expect("it is a tensor");
            encoded
        };
        assert_eq!((ask(0), ask(0)), (1, 1));
        assert_eq!((1..PICTURES).map(&mut ask).last(), Some(PICTURES));
        assert_eq!(ask(0), PICTURES, "it is still there, and the latest now");
        assert_eq!(ask(PICTURES), PICTURES + 1);
        assert_eq!(ask(0), PICTURES + 1);
        assert_eq!(ask(1), PICTURES + 2, "it was used longest ago");
    }
}
