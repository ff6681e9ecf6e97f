//! How well a text fits a picture: `BlipForImageTextRetrieval`.

use std::sync::Arc;

use candle_core::{DType, Result, Tensor};

use super::Blip;
use super::config::BlipConfig;
use super::text::TextModel;
use crate::nn::embedding::{Embedder, Vectors};
use crate::nn::matching::{MatchScore, Matcher, unit_length};
use crate::nn::vit::PictureEncoding;
use crate::nn::{Linear, LookedAt, Rows, Weights};

/// The text's encoder with the heads that compare.
pub struct Matching {
    text_encoder: TextModel,
    /// From the vision tower's width, and from the texts', to the one that they are compared in.
    vision_proj: Linear,
    text_proj: Linear,
    /// To two logits: that they do not belong together, and that they do.
    itm_head: Linear,
}

/// A picture, ready to be compared with any number of texts.
pub struct ComparedPicture {
    looked_at: Arc<LookedAt>,
    /// Of length 1, f32 on the host.
    vector: Vec<f32>,
}

/// A text, ready to be compared with any number of pictures.
pub struct ComparedText {
    ids: Vec<u32>,
    /// Of length 1, f32 on the host.
    vector: Vec<f32>,
}

/// A model for matching, whole.
#[derive(Clone, Copy)]
pub struct BlipMatcher<'a> {
    pub blip: &'a Blip,
    pub matching: &'a Matching,
}

impl Matcher for BlipMatcher<'_> {
    type Picture = ComparedPicture;
    type Text = ComparedText;

    fn most_tokens(&self) -> usize {
        self.blip.config().text_config.max_position_embeddings
    }

    fn states_bytes(&self) -> u64 {
        let precision = self.blip.precision();
        self.blip.config().vision_config.states_bytes(precision.dtype)
    }

    fn begin_picture(&self, pixel_values: &Tensor) -> Result<PictureEncoding> {
        self.blip.begin_picture(pixel_values)
    }

    fn look_on(&self, picture: &mut PictureEncoding) -> Result<Option<Tensor>> {
        Ok(self.blip.look_on(picture)?.map(|seen| seen.states))
    }

    fn seen(&self, states: &Tensor) -> Result<ComparedPicture> {
        self.matching.picture(states)
    }

    fn text(&self, ids: &[u32]) -> Result<ComparedText> {
        self.matching.text(ids)
    }

    fn score(&self, picture: &ComparedPicture, text: &ComparedText) -> Result<MatchScore> {
        self.matching.score(picture, text)
    }
}

impl Embedder for BlipMatcher<'_> {
    fn width(&self) -> usize {
        self.blip.config().projection_size
    }

    fn vectors_of_picture(&self) -> usize {
        1
    }

    fn picture_vectors(&self, pixel_values: &Tensor) -> Result<Vectors> {
        let states = self.blip.encode_picture(pixel_values)?.states;
        Ok(self.vectors(unit(&self.matching.vision_proj, &states)?))
    }

    fn text_vector(&self, ids: &[u32]) -> Result<Vectors> {
        Ok(self.vectors(self.matching.text(ids)?.vector))
    }
}

impl BlipMatcher<'_> {
    fn vectors(&self, numbers: Vec<f32>) -> Vectors {
        Vectors {
            width: self.width(),
            numbers,
        }
    }
}

impl Matching {
    /// Takes the tensors `text_encoder.*`, `vision_proj`, `text_proj` and `itm_head` below `root`.
    ///
    /// # Errors
    /// As for [`Blip::new`](super::Blip::new).
    pub fn new(config: &BlipConfig, root: Weights) -> Result<Self> {
        let (text, vision, size) = (
            config.text_config.hidden_size,
            config.vision_config.hidden_size,
            config.projection_size,
        );
        Ok(Self {
            text_encoder: TextModel::new(config, root.pp("text_encoder"))?,
            vision_proj: Linear::new(vision, size, true, root.pp("vision_proj"))?,
            text_proj: Linear::new(text, size, true, root.pp("text_proj"))?,
            itm_head: Linear::new(text, 2, true, root.pp("itm_head"))?,
        })
    }

    /// A picture's hidden states, `[1, 1 + patches, width]`, as they are compared.
    ///
    /// # Errors
    /// The device's.
    pub fn picture(&self, states: &Tensor) -> Result<ComparedPicture> {
        Ok(ComparedPicture {
            looked_at: Arc::new(self.text_encoder.look_at(states)?),
            vector: unit(&self.vision_proj, states)?,
        })
    }

    /// A text's ids, `[CLS]` and `[SEP]` included, as they are compared.
    ///
    /// # Errors
    /// An id or a position that the model has not, or the device's.
    pub fn text(&self, ids: &[u32]) -> Result<ComparedText> {
        Ok(ComparedText {
            vector: unit(&self.text_proj, &self.text_encoder.encode(ids, &[], None)?)?,
            ids: ids.to_vec(),
        })
    }

    /// The matching head's two logits, of which the second says that they belong together.
    ///
    /// # Errors
    /// The device's.
    pub fn itm_logits(&self, picture: &ComparedPicture, text: &ComparedText) -> Result<[f32; 2]> {
        let looking = [(text.ids.len(), Arc::clone(&picture.looked_at))];
        let states = self.text_encoder.encode(&text.ids, &looking, None)?;
        let logits = self.itm_head.forward_of(Rows::Tokens, &states.narrow(1, 0, 1)?)?;
        let logits = logits.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        Ok([logits[0], logits[1]])
    }

    /// How well a text fits a picture.
    ///
    /// # Errors
    /// The device's.
    pub fn score(&self, picture: &ComparedPicture, text: &ComparedText) -> Result<MatchScore> {
        let pairs = picture.vector.iter().zip(&text.vector);
        let cosine = pairs.map(|(a, b)| a * b).sum();
        Ok(MatchScore::new(self.itm_logits(picture, text)?, cosine))
    }
}

/// The first row of hidden states, `[1, rows, width]`, projected and made as long as 1.
fn unit(projection: &Linear, states: &Tensor) -> Result<Vec<f32>> {
    let first = projection.forward_of(Rows::Tokens, &states.narrow(1, 0, 1)?.contiguous()?)?;
    unit_length(&first)?.flatten_all()?.to_vec1()
}
