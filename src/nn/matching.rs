//! How well a text fits a picture, as the family tells it: what every network that does it gives, and takes.
//!
//! Two measures, which share no scale. The matching head (ITM) reads the text with the picture and says
//! how likely they belong together: a verdict on one pair. The contrastive one (ITC) is the cosine between
//! a vector of the picture and one of the text: for search, since each is computed once.

use candle_core::{D, DType, Result, Tensor};

use super::vit::PictureEncoding;

/// How well a text fits a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatchScore {
    /// That they belong together, from 0 to 1, by the matching head.
    pub probability: f32,
    /// The cosine between their vectors, from -1 to 1: a good one is 0.35 to 0.5 in the published models.
    pub cosine: f32,
}

impl MatchScore {
    /// By the matching head's logits (that they do not belong together, and that they do) and the cosine.
    pub fn new([apart, together]: [f32; 2], cosine: f32) -> Self {
        Self {
            probability: 1.0 / (1.0 + (apart - together).exp()),
            cosine,
        }
    }
}

/// A model that compares pictures with texts.
pub trait Matcher {
    /// A picture, ready to be compared with any number of texts.
    type Picture;
    /// A text, ready to be compared with any number of pictures.
    type Text;

    /// The most tokens of a text.
    fn most_tokens(&self) -> usize;

    /// Bytes of a picture's hidden states, which are all that is worth keeping of it.
    fn states_bytes(&self) -> u64;

    /// Begins to look at a picture: pixel values, `[1, 3, h, w]` in f32 on any device.
    ///
    /// # Errors
    /// The device's.
    fn begin_picture(&self, pixel_values: &Tensor) -> Result<PictureEncoding>;

    /// Goes one layer of the vision tower on; behind the last one gives the picture's hidden states,
    /// `[1, 1 + patches, width]`.
    ///
    /// # Errors
    /// The device's.
    fn look_on(&self, picture: &mut PictureEncoding) -> Result<Option<Tensor>>;

    /// Those hidden states as they are compared.
    ///
    /// # Errors
    /// The device's.
    fn seen(&self, states: &Tensor) -> Result<Self::Picture>;

    /// Pixel values, `[1, 3, h, w]` in f32 on any device, as they are compared.
    ///
    /// # Errors
    /// The device's.
    fn picture(&self, pixel_values: &Tensor) -> Result<Self::Picture> {
        let mut picture = self.begin_picture(pixel_values)?;
        loop {
            if let Some(states) = self.look_on(&mut picture)? {
                return self.seen(&states);
            }
        }
    }

    /// A text's ids, `[CLS]` and `[SEP]` included, as they are compared.
    ///
    /// # Errors
    /// No id, more or other ones than the model knows, or the device's.
    fn text(&self, ids: &[u32]) -> Result<Self::Text>;

    /// How well a text fits a picture.
    ///
    /// # Errors
    /// The device's.
    fn score(&self, picture: &Self::Picture, text: &Self::Text) -> Result<MatchScore>;
}

/// Rows of length 1, in f32, as `torch.nn.functional.normalize` makes them: none is taken for shorter than
/// 1e-12.
///
/// # Errors
/// The device's.
pub fn unit_length(x: &Tensor) -> Result<Tensor> {
    let x = x.to_dtype(DType::F32)?;
    let length = x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?;
    x.broadcast_div(&length)
}
