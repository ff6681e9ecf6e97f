//! Whichever network compares pictures with texts, as one type.

use candle_core::{Result, Tensor};

use crate::blip::matching::{self as blip, BlipMatcher};
use crate::blip2::retrieval::{self as blip2, Blip2Retrieval};
use crate::nn::embedding::{Embedder, Vectors};
use crate::nn::matching::{MatchScore, Matcher};
use crate::nn::vit::PictureEncoding;

/// BLIP or BLIP-2 that compares: what [`Network::comparer`](super::Network::comparer) gives.
#[derive(Clone, Copy)]
pub enum Comparer<'a> {
    Blip(BlipMatcher<'a>),
    Blip2(&'a Blip2Retrieval),
}

/// A picture, ready to be compared by the network that made it.
pub enum ComparedPicture {
    Blip(blip::ComparedPicture),
    Blip2(blip2::ComparedPicture),
}

/// A text, ready to be compared by the network that made it.
pub enum ComparedText {
    Blip(blip::ComparedText),
    Blip2(blip2::ComparedText),
}

impl Matcher for Comparer<'_> {
    type Picture = ComparedPicture;
    type Text = ComparedText;

    fn most_tokens(&self) -> usize {
        match self {
            Self::Blip(matcher) => matcher.most_tokens(),
            Self::Blip2(matcher) => matcher.most_tokens(),
        }
    }

    fn states_bytes(&self) -> u64 {
        match self {
            Self::Blip(matcher) => matcher.states_bytes(),
            Self::Blip2(matcher) => matcher.states_bytes(),
        }
    }

    fn begin_picture(&self, pixel_values: &Tensor) -> Result<PictureEncoding> {
        match self {
            Self::Blip(matcher) => matcher.begin_picture(pixel_values),
            Self::Blip2(matcher) => matcher.begin_picture(pixel_values),
        }
    }

    fn look_on(&self, picture: &mut PictureEncoding) -> Result<Option<Tensor>> {
        match self {
            Self::Blip(matcher) => matcher.look_on(picture),
            Self::Blip2(matcher) => matcher.look_on(picture),
        }
    }

    fn seen(&self, states: &Tensor) -> Result<ComparedPicture> {
        match self {
            Self::Blip(matcher) => matcher.seen(states).map(ComparedPicture::Blip),
            Self::Blip2(matcher) => matcher.seen(states).map(ComparedPicture::Blip2),
        }
    }

    fn text(&self, ids: &[u32]) -> Result<ComparedText> {
        match self {
            Self::Blip(matcher) => matcher.text(ids).map(ComparedText::Blip),
            Self::Blip2(matcher) => matcher.text(ids).map(ComparedText::Blip2),
        }
    }

    fn score(&self, picture: &ComparedPicture, text: &ComparedText) -> Result<MatchScore> {
        match (self, picture, text) {
            (Self::Blip(matcher), ComparedPicture::Blip(picture), ComparedText::Blip(text)) => {
                matcher.score(picture, text)
            }
            (Self::Blip2(matcher), ComparedPicture::Blip2(picture), ComparedText::Blip2(text)) => {
                matcher.score(picture, text)
            }
            _ => candle_core::bail!("the picture or the text is another network's"),
        }
    }
}

impl Embedder for Comparer<'_> {
    fn width(&self) -> usize {
        match self {
            Self::Blip(embedder) => embedder.width(),
            Self::Blip2(embedder) => embedder.width(),
        }
    }

    fn vectors_of_picture(&self) -> usize {
        match self {
            Self::Blip(embedder) => embedder.vectors_of_picture(),
            Self::Blip2(embedder) => embedder.vectors_of_picture(),
        }
    }

    fn picture_vectors(&self, pixel_values: &Tensor) -> Result<Vectors> {
        match self {
            Self::Blip(embedder) => embedder.picture_vectors(pixel_values),
            Self::Blip2(embedder) => embedder.picture_vectors(pixel_values),
        }
    }

    fn text_vector(&self, ids: &[u32]) -> Result<Vectors> {
        match self {
            Self::Blip(embedder) => embedder.text_vector(ids),
            Self::Blip2(embedder) => embedder.text_vector(ids),
        }
    }
}
