//! Pictures that are encoded before anybody asks about them, such as a page's examples: only while
//! nobody's question waits or runs, a layer at a time, and as far as the cache has room.

use super::{EngineError, Model, Picture, PictureId, Scheduler, Work, guarded};

/// What is to be encoded ahead, and how far it is.
pub struct Warming<M: Model> {
    /// As the model sees them; each is made when it is its turn.
    pictures: Option<Box<dyn Iterator<Item = Picture> + Send>>,
    looking: Option<(PictureId, M::Looking)>,
    ready: usize,
}

impl<M: Model> Default for Warming<M> {
    fn default() -> Self {
        Self {
            pictures: None,
            looking: None,
            ready: 0,
        }
    }
}

impl<M: Model> Warming<M> {
    /// Gives up a picture that is half encoded, to whoever has asked about it.
    pub fn hand_over(&mut self, id: PictureId) -> Option<M::Looking> {
        self.looking
            .take_if(|(other, _)| *other == id)
            .map(|(_, looking)| looking)
    }

    /// Forgets what is not begun.
    fn end(&mut self) {
        (self.pictures, self.looking) = (None, None);
        tracing::debug!("pictures that are ready before anybody asks about them: {}", self.ready);
    }
}

impl<M: Model + Send> Scheduler<'_, M> {
    /// Pictures, as the model sees them, to be encoded while there is nothing else to do.
    #[must_use]
    pub fn warm(mut self, pictures: Box<dyn Iterator<Item = Picture> + Send>) -> Self {
        self.warming.pictures = Some(pictures);
        self
    }

    /// Does a piece of that: a layer, or makes the next picture. Says whether there was one.
    pub(super) fn warm_on(&mut self) -> bool {
        if self.warming.pictures.is_none() {
            return false;
        }
        if self.queue.is_over() || self.health.failure().is_some() || self.pictures.is_full() {
            self.warming.end();
            return false;
        }
        self.watch.begin(Work::Ahead, 1, Vec::new());
        match self.warming.looking.take() {
            Some((id, looking)) => self.encode_on(id, looking),
            None => self.begin_next(),
        }
        true
    }

    fn begin_next(&mut self) {
        let pictures = self.warming.pictures.as_mut();
        let next = guarded(tracing::Span::none, || Ok(pictures.and_then(Iterator::next)));
        match next {
            Ok(Some(picture)) => {
                let id = PictureId(picture.pixel_hash());
                if self.pictures.has(&id) {
                    self.warming.ready += 1;
                    return;
                }
                match guarded(tracing::Span::none, || Ok(self.model.begin_picture(&picture)?)) {
                    Ok(looking) => self.warming.looking = Some((id, looking)),
                    Err(error) => self.failed_ahead(&error),
                }
            }
            Ok(None) => self.warming.end(),
            Err(error) => {
                self.failed_ahead(&error);
                self.warming.end();
            }
        }
    }

    fn encode_on(&mut self, id: PictureId, mut looking: M::Looking) {
        match guarded(tracing::Span::none, || Ok(self.model.look_on(&mut looking)?)) {
            Ok(None) => self.warming.looking = Some((id, looking)),
            Ok(Some(encoded)) => {
                self.pictures.insert(id, encoded);
                self.warming.ready += 1;
                self.note_usage();
            }
            Err(error) => self.failed_ahead(&error),
        }
    }

    fn failed_ahead(&self, error: &EngineError) {
        tracing::warn!("a picture cannot be encoded before somebody asks about it: {error}");
        self.health.failed(error);
    }
}
