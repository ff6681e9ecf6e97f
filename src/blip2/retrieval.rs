//! How well a text belongs to a picture: BLIP-2 without a language model.
//!
//! Source: `Blip2ForImageTextRetrieval` (BLIP-2, arXiv 2301.12597, section 3.1). For *matching*
//! (ITM) queries and text read each other; for *contrast* (ITC) each is read by itself, and the query that
//! is nearest to the text counts.

use candle_core::{D, DType, Device, Result, Tensor};

use super::EncodedPicture;
use super::config::{Blip2Config, ModelClass};
use super::precision::of_qformer;
use super::qformer::QFormer;
use super::vision::{PictureEncoding, VisionModel};
use crate::nn::embedding::{Embedder, Vectors};
use crate::nn::matching::{MatchScore, Matcher, unit_length};
use crate::nn::{Linear, Precision, Weights};

/// The whole model on one device.
pub struct Blip2Retrieval {
    pub vision: VisionModel,
    pub qformer: QFormer,
    /// From the Q-Former's width to the one that texts and pictures are compared in.
    vision_projection: Linear,
    text_projection: Linear,
    /// Two logits of a query: the text does not belong to the picture, or does.
    itm_head: Linear,
    most_tokens: usize,
    /// The width that pictures and texts are compared in.
    width: usize,
    queries: usize,
    states_bytes: u64,
    device: Device,
    precision: Precision,
}

/// A picture, ready to be compared with any number of texts.
pub struct ComparedPicture {
    states: EncodedPicture,
    /// One a query token, `[queries, width]`.
    features: Tensor,
}

/// A text, ready to be compared with any number of pictures.
pub struct ComparedText {
    ids: Vec<u32>,
    /// `[width]`.
    features: Tensor,
}

impl Matcher for Blip2Retrieval {
    type Picture = ComparedPicture;
    type Text = ComparedText;

    fn most_tokens(&self) -> usize {
        self.most_tokens
    }

    fn states_bytes(&self) -> u64 {
        self.states_bytes
    }

    fn begin_picture(&self, pixel_values: &Tensor) -> Result<PictureEncoding> {
        self.vision.begin(pixel_values)
    }

    fn look_on(&self, picture: &mut PictureEncoding) -> Result<Option<EncodedPicture>> {
        let states = self.vision.look_on(picture)?;
        states.map(|states| self.for_qformer(&states)).transpose()
    }

    fn seen(&self, states: &EncodedPicture) -> Result<ComparedPicture> {
        Ok(ComparedPicture {
            features: self.picture_features(states)?,
            states: states.clone(),
        })
    }

    fn text(&self, ids: &[u32]) -> Result<ComparedText> {
        Ok(ComparedText {
            features: self.text_features(ids)?,
            ids: ids.to_vec(),
        })
    }

    fn score(&self, picture: &ComparedPicture, text: &ComparedText) -> Result<MatchScore> {
        let logits = self.match_logits(&picture.states, &text.ids)?;
        Ok(MatchScore::new(logits, cosine(&picture.features, &text.features)?))
    }
}

impl Embedder for Blip2Retrieval {
    fn width(&self) -> usize {
        self.width
    }

    fn vectors_of_picture(&self) -> usize {
        self.queries
    }

    fn picture_vectors(&self, pixel_values: &Tensor) -> Result<Vectors> {
        self.vectors(&self.picture_features(&self.encode_picture(pixel_values)?)?)
    }

    fn text_vector(&self, ids: &[u32]) -> Result<Vectors> {
        self.vectors(&self.text_features(ids)?)
    }
}

impl Blip2Retrieval {
    fn vectors(&self, features: &Tensor) -> Result<Vectors> {
        Ok(Vectors {
            width: self.width,
            numbers: features.flatten_all()?.to_vec1()?,
        })
    }

    /// Takes the tensors of a checkpoint, `root` being where their names begin.
    ///
    /// # Errors
    /// As for [`Blip2::new`](super::Blip2::new).
    pub fn new(config: &Blip2Config, root: Weights) -> Result<Self> {
        let precision = root.precision();
        let for_qformer = root.with_precision(of_qformer(precision));
        let (hidden, width) = (config.qformer_config.hidden_size, config.image_text_hidden_size);
        // What reads the Q-Former's rows computes as it does.
        let linear = |outputs, name| Linear::new(hidden, outputs, true, for_qformer.pp(name));
        Ok(Self {
            vision: VisionModel::new(&config.vision_config, root.pp("vision_model"))?,
            vision_projection: linear(width, "vision_projection")?,
            text_projection: linear(width, "text_projection")?,
            itm_head: linear(2, "itm_head")?,
            qformer: QFormer::new(
                &config.qformer_config,
                config.num_query_tokens,
                ModelClass::ImageTextRetrieval,
                for_qformer,
            )?,
            most_tokens: config.qformer_config.max_position_embeddings,
            width,
            queries: config.num_query_tokens,
            states_bytes: config.vision_config.states_bytes(of_qformer(precision).dtype),
            device: root.device().clone(),
            precision,
        })
    }

    /// What the vision tower sees of a picture, `[1, 1 + patches, vision width]`: pixel values
    /// `[1, 3, h, w]` in f32 on any device.
    ///
    /// # Errors
    /// The device's.
    pub fn encode_picture(&self, pixel_values: &Tensor) -> Result<EncodedPicture> {
        self.for_qformer(&self.vision.forward(pixel_values)?)
    }

    /// The Q-Former reads it in its own dtype, and so do the heads behind it.
    fn for_qformer(&self, states: &Tensor) -> Result<EncodedPicture> {
        states.to_dtype(of_qformer(self.precision).dtype)
    }

    /// The matching head's logits of an encoded picture and a text's ids, without rows for the picture:
    /// that they do not belong together, and that they do.
    ///
    /// # Errors
    /// No ids, more or other ones than the model knows, or the device's.
    pub fn match_logits(&self, picture: &EncodedPicture, text_ids: &[u32]) -> Result<[f32; 2]> {
        let queries = self.qformer.forward_instructed(picture, text_ids)?;
        let logits = self.itm_head.forward(&queries)?.to_dtype(DType::F32)?.mean(1)?;
        let logits = logits.squeeze(0)?.to_vec1::<f32>()?;
        Ok([logits[0], logits[1]])
    }

    /// A picture's embeddings, one a query token and of length 1, `[queries, width]` in f32.
    ///
    /// # Errors
    /// The device's.
    pub fn picture_features(&self, picture: &EncodedPicture) -> Result<Tensor> {
        let queries = self.qformer.forward(picture)?;
        unit_length(&self.vision_projection.forward(&queries)?.squeeze(0)?)
    }

    /// A text's embedding, of length 1, `[width]` in f32: that of its first token.
    ///
    /// # Errors
    /// As for [`Blip2Retrieval::match_logits`].
    pub fn text_features(&self, text_ids: &[u32]) -> Result<Tensor> {
        let first = self.qformer.forward_text(text_ids)?.narrow(1, 0, 1)?.contiguous()?;
        unit_length(&self.text_projection.forward(&first)?.flatten_all()?)
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What it computes in.
    pub fn precision(&self) -> Precision {
        self.precision
    }
}

/// The nearest of a picture's embeddings to a text's.
///
/// # Errors
/// Other shapes than [`Blip2Retrieval::picture_features`] and [`Blip2Retrieval::text_features`] give.
pub fn cosine(picture_features: &Tensor, text_features: &Tensor) -> Result<f32> {
    let products = picture_features.broadcast_mul(text_features)?.sum(D::Minus1)?;
    products.max_all()?.to_scalar()
}
