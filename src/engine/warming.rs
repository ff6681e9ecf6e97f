//! Pictures that are encoded before anybody asks about them, such as a page's examples: only while
//! nobody's question waits or runs, a layer at a time, and as far as the cache has room.

use tracing::Span;

use super::EngineError;
use super::health::DeviceHealth;
use super::model::Looks;
use super::picture_cache::PictureCache;
use super::scheduler::guarded;
use crate::chat::PictureId;
use crate::processor::Picture;

/// What is to be encoded ahead, and how far it is.
pub struct Warming<M: Looks> {
    /// As the model sees them; each is made when it is its turn.
    pictures: Option<Box<dyn Iterator<Item = Picture> + Send>>,
    looking: Option<(PictureId, M::Looking)>,
    ready: usize,
}

impl<M: Looks> Default for Warming<M> {
    fn default() -> Self {
        Self {
            pictures: None,
            looking: None,
            ready: 0,
        }
    }
}

impl<M: Looks> Warming<M> {
    /// Of these pictures, as the model sees them.
    pub fn of(pictures: Box<dyn Iterator<Item = Picture> + Send>) -> Self {
        Self {
            pictures: Some(pictures),
            ..Self::default()
        }
    }

    /// Gives up a picture that is half encoded, to whoever has asked about it.
    pub fn hand_over(&mut self, id: PictureId) -> Option<M::Looking> {
        self.looking
            .take_if(|(other, _)| *other == id)
            .map(|(_, looking)| looking)
    }

    /// Whether there is something left to do; what is not begun is forgotten where it is `over`, or the
    /// cache has no room.
    pub fn has_work(&mut self, is_over: bool, cache: &PictureCache<M::Encoded>) -> bool {
        if self.pictures.is_some() && (is_over || cache.is_full()) {
            self.end();
        }
        self.pictures.is_some()
    }

    /// Does a piece of it: a layer, or makes the next picture. Gives a picture whose last layer that was.
    pub fn go_on(
        &mut self,
        model: &mut M,
        cache: &mut PictureCache<M::Encoded>,
        health: &DeviceHealth,
    ) -> Option<(PictureId, M::Encoded)> {
        match self.looking.take() {
            Some((id, looking)) => self.encode_on(id, looking, (model, cache), health),
            None => {
                self.begin_next((model, cache), health);
                None
            }
        }
    }

    fn begin_next(&mut self, (model, cache): (&mut M, &mut PictureCache<M::Encoded>), health: &DeviceHealth) {
        let pictures = self.pictures.as_mut();
        let next = guarded(Span::none, || Ok(pictures.and_then(Iterator::next)));
        match next {
            Ok(Some(picture)) => {
                let id = PictureId(picture.pixel_hash());
                if cache.has(&id) {
                    self.ready += 1;
                    return;
                }
                match guarded(Span::none, || Ok(model.begin_picture(&picture)?)) {
                    Ok(looking) => self.looking = Some((id, looking)),
                    Err(error) => failed(&error, health),
                }
            }
            Ok(None) => self.end(),
            Err(error) => {
                failed(&error, health);
                self.end();
            }
        }
    }

    fn encode_on(
        &mut self,
        id: PictureId,
        mut looking: M::Looking,
        (model, cache): (&mut M, &mut PictureCache<M::Encoded>),
        health: &DeviceHealth,
    ) -> Option<(PictureId, M::Encoded)> {
        match guarded(Span::none, || Ok(model.look_on(&mut looking)?)) {
            Ok(None) => self.looking = Some((id, looking)),
            Ok(Some(encoded)) => {
                cache.insert(id, encoded.clone());
                self.ready += 1;
                return Some((id, encoded));
            }
            Err(error) => failed(&error, health),
        }
        None
    }

    /// Forgets what is not begun.
    fn end(&mut self) {
        (self.pictures, self.looking) = (None, None);
        tracing::debug!("pictures that are ready before anybody asks about them: {}", self.ready);
    }
}

/// Says of work that nobody has asked for that it failed.
pub fn failed(error: &EngineError, health: &DeviceHealth) {
    tracing::warn!("a picture cannot be encoded before somebody asks about it: {error}");
    health.failed(error);
}
