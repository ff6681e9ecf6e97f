//! The filter: how well texts fit a picture.

use std::collections::VecDeque;

use super::CapfiltError;
use super::web_text::{is_empty, prepared};
use crate::generation::GenerationError;
use crate::models::{MatchScore, Matcher, OpenModel, Purpose};
use crate::processor::{Picture, Processor};

/// Pictures that are remembered as they are compared, for others of the same bytes: tens of megabytes each.
const REMEMBERED: usize = 4;

/// A model that compares texts with pictures, one picture at a time.
pub trait Filter {
    /// The scores of texts, as the original prepares them; an empty one has none. `id` is what the
    /// picture is remembered by.
    ///
    /// # Errors
    /// The device's, or numbers that are not finite.
    fn scores(
        &mut self,
        id: [u8; 32],
        picture: &Picture,
        texts: &[&str],
    ) -> Result<Vec<Option<MatchScore>>, FilterError>;
}

/// Why a picture has no scores.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Something of this picture alone.
    #[error("{0}")]
    Picture(String),
    /// The device's, which others would meet too.
    #[error("{0}")]
    Device(String),
}

impl From<candle_core::Error> for FilterError {
    fn from(error: candle_core::Error) -> Self {
        Self::Device(error.to_string().lines().next().unwrap_or_default().to_owned())
    }
}

/// Hands over a filter by this model.
///
/// # Errors
/// It compares nothing, and what the function says.
pub fn with_filter<T>(
    model: &OpenModel,
    work: impl FnOnce(&mut dyn Filter) -> Result<T, CapfiltError>,
) -> Result<T, CapfiltError> {
    let comparer = model.network.comparer().ok_or_else(|| no_filter(model))?;
    work(&mut Matching::new(&comparer, &model.processor))
}

/// Whether a model compares texts with pictures.
///
/// # Errors
/// It does something else.
pub fn check_filter(model: &OpenModel) -> Result<(), CapfiltError> {
    match model.purpose {
        Purpose::Matching => Ok(()),
        _ => Err(no_filter(model)),
    }
}

fn no_filter(model: &OpenModel) -> CapfiltError {
    CapfiltError::NoFilter {
        name: model.name.clone(),
        does: model.purpose.does(),
    }
}

struct Matching<'a, M: Matcher> {
    matcher: &'a M,
    processor: &'a Processor,
    remembered: VecDeque<([u8; 32], M::Picture)>,
}

impl<'a, M: Matcher> Matching<'a, M> {
    fn new(matcher: &'a M, processor: &'a Processor) -> Self {
        Self {
            matcher,
            processor,
            remembered: VecDeque::new(),
        }
    }

    fn remember(&mut self, id: [u8; 32], picture: &Picture) -> candle_core::Result<&M::Picture> {
        let known = self.remembered.iter().position(|(known, _)| *known == id);
        let place = match known {
            Some(place) => place,
            None => {
                let picture = self.matcher.picture(&self.processor.image.normalise(picture)?)?;
                if self.remembered.len() == REMEMBERED {
                    self.remembered.pop_front();
                }
                self.remembered.push_back((id, picture));
                self.remembered.len() - 1
            }
        };
        Ok(&self.remembered[place].1)
    }

    fn score(&mut self, id: [u8; 32], picture: &Picture, text: &str) -> Result<MatchScore, FilterError> {
        let ids = self.processor.text.text_ids(&prepared(text));
        let ids = ids.map_err(|error| FilterError::Picture(error.to_string()))?;
        let matcher = self.matcher;
        let text = matcher.text(&within(ids, matcher.most_tokens()))?;
        let score = matcher.score(self.remember(id, picture)?, &text)?;
        match score.probability.is_finite() && score.cosine.is_finite() {
            true => Ok(score),
            false => Err(FilterError::Picture(GenerationError::NotFinite.to_string())),
        }
    }
}

impl<M> Filter for Matching<'_, M>
where
    M: Matcher + Sync,
    M::Picture: Send,
{
    fn scores(
        &mut self,
        id: [u8; 32],
        picture: &Picture,
        texts: &[&str],
    ) -> Result<Vec<Option<MatchScore>>, FilterError> {
        // On a thread of the pool, so that each of the many small pieces of work need not be carried there.
        rayon::scope(|_| {
            let scores = texts.iter().map(|text| match is_empty(text) {
                true => Ok(None),
                false => self.score(id, picture, text).map(Some),
            });
            scores.collect()
        })
    }
}

/// Ids that the model has positions for, the last one kept, as tokenizers cut texts.
fn within(mut ids: Vec<u32>, most: usize) -> Vec<u32> {
    if ids.len() > most
        && let Some(last) = ids.last().copied()
    {
        ids.truncate(most.saturating_sub(1));
        ids.push(last);
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_keeps_its_end_token() {
        assert_eq!(within(vec![101, 1, 2, 3, 102], 4), [101, 1, 2, 102]);
        assert_eq!(within(vec![101, 102], 4), [101, 102]);
    }
}
