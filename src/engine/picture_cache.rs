//! What the model remembers of the latest pictures.

use crate::chat::PictureId;

/// The latest encoded pictures, by the hash of their pixels; the least recently used makes room.
pub struct PictureCache<T> {
    /// The latest last.
    entries: Vec<(PictureId, T)>,
    most: usize,
}

/// However small pictures are: they are looked for one by one.
const MOST: usize = 1024;

impl<T: Clone> PictureCache<T> {
    /// Remembers so many.
    pub fn new(most: usize) -> Self {
        Self {
            entries: Vec::new(),
            most: most.min(MOST),
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether a further picture would make another one go.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.most
    }

    /// Whether it is there; that is no use of it.
    pub fn has(&self, id: &PictureId) -> bool {
        self.entries.iter().any(|(known, _)| known == id)
    }

    pub fn get(&mut self, id: &PictureId) -> Option<T> {
        let index = self.entries.iter().position(|(known, _)| known == id)?;
        let entry = self.entries.remove(index);
        let encoded = entry.1.clone();
        self.entries.push(entry);
        Some(encoded)
    }

    pub fn insert(&mut self, id: PictureId, encoded: T) {
        self.entries.retain(|(known, _)| *known != id);
        self.entries.push((id, encoded));
        if self.entries.len() > self.most {
            self.entries.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> PictureId {
        PictureId([number; 32])
    }

    #[test]
    fn the_latest_pictures_are_remembered() {
        let mut cache = PictureCache::new(2);
        cache.insert(id(1), 1);
        cache.insert(id(2), 2);
        assert_eq!(cache.get(&id(1)), Some(1), "it is the latest now");
        cache.insert(id(3), 3);
        assert_eq!([1, 2, 3].map(|number| cache.get(&id(number))), [Some(1), None, Some(3)]);
    }
}
