//! BLIP, the first of the family, on candle: captions, short answers, and how well a text fits a picture.
//!
//! Source: Li et al. 2022, *BLIP: Bootstrapping Language-Image Pre-training for Unified Vision-Language
//! Understanding and Generation* (arXiv 2201.12086), as Hugging Face transformers'
//! `BlipForConditionalGeneration`, `BlipForQuestionAnswering` and `BlipForImageTextRetrieval` compute it.
//! Read the files in this order:
//!
//! 1. `processor`: the picture's bytes to pixel values, texts to token ids.
//! 2. [`nn::vit`](crate::nn::vit): pixel values to one hidden state a patch, which is all that texts look at.
//! 3. [`text`]: BERT with cross-attention, as an encoder and as a decoder.
//! 4. [`Blip`]: the vision tower with what a task has beside it.
//! 5. [`passes`]: captions and answers over the KV pool, many at once; what to read is said by
//!    [`generation`](crate::generation).
//! 6. [`matching`]: how well a text fits.
//!
//! [`config`] is `config.json`. The layers are those of [`nn`](crate::nn).

pub mod config;
pub mod matching;
pub mod passes;
pub mod text;

use candle_core::{Device, Result, Tensor};

use crate::generation::LogitsReader;
use crate::nn::vit::{PictureEncoding, VisionModel};
use crate::nn::{Kernels, Precision, Weights};
use config::{BlipConfig, Task};
use matching::{BlipMatcher, Matching};
use passes::EncodedPicture;
use text::{TextDecoder, TextModel};

/// The whole model on one device.
pub struct Blip {
    pub vision: VisionModel,
    pub texts: Texts,
    config: BlipConfig,
    device: Device,
    precision: Precision,
    kernels: Kernels,
    logits_reader: LogitsReader,
    cache_budget: u64,
}

/// What a task has beside the vision tower.
pub enum Texts {
    /// A caption is written while looking at the picture.
    Caption { decoder: TextDecoder },
    /// A question is read while looking at the picture, and its answer is written while looking at the
    /// question alone.
    Question { encoder: TextModel, decoder: TextDecoder },
    /// A text is compared with the picture.
    Match(Matching),
}

impl Blip {
    /// Takes the tensors of a checkpoint, `root` being where their names begin.
    ///
    /// # Errors
    /// A tensor that is missing (`CannotFindTensor`) or has another shape than the config asks
    /// for (`UnexpectedShape`), or whatever the device says.
    pub fn new(config: &BlipConfig, root: Weights) -> Result<Self> {
        let decoder = || TextDecoder::new(config, root.pp("text_decoder"));
        let texts = match config.task() {
            Task::Caption => Texts::Caption { decoder: decoder()? },
            Task::Question => Texts::Question {
                encoder: TextModel::new(config, root.pp("text_encoder"))?,
                decoder: decoder()?,
            },
            Task::Match => Texts::Match(Matching::new(config, root.clone())?),
        };
        Ok(Self {
            vision: VisionModel::new(&config.vision_config, root.pp("vision_model"))?,
            texts,
            config: config.clone(),
            device: root.device().clone(),
            precision: root.precision(),
            logits_reader: LogitsReader::new(root.kernels() == Kernels::Own),
            kernels: root.kernels(),
            cache_budget: u64::MAX,
        })
    }

    /// Refuses questions whose keys and values would take more bytes than this.
    pub fn limit_cache(&mut self, bytes: u64) {
        self.cache_budget = bytes;
    }

    /// The bytes that keys and values may take.
    pub fn cache_budget(&self) -> u64 {
        self.cache_budget
    }

    /// What the checkpoint's `config.json` said, with the reference's defaults filled in.
    pub fn config(&self) -> &BlipConfig {
        &self.config
    }

    /// Where the weights are, and where the tensors of a pass have to be.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What the model computes in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// What compares texts with pictures, in a model for that.
    pub fn matcher(&self) -> Option<BlipMatcher<'_>> {
        match &self.texts {
            Texts::Match(matching) => Some(BlipMatcher { blip: self, matching }),
            _ => None,
        }
    }

    /// What writes, in a model that does.
    fn decoder(&self) -> Result<&TextDecoder> {
        match &self.texts {
            Texts::Caption { decoder } | Texts::Question { decoder, .. } => Ok(decoder),
            Texts::Match(_) => candle_core::bail!("the model compares pictures with texts, and writes none"),
        }
    }

    /// What texts look at of a picture: pixel values `[1, 3, h, w]` in f32 on any device to hidden
    /// states `[1, 1 + patches, width]`.
    ///
    /// # Errors
    /// The device's.
    pub fn encode_picture(&self, pixel_values: &Tensor) -> Result<EncodedPicture> {
        self.vision.forward(pixel_values).map(EncodedPicture::new)
    }

    /// Begins to encode a picture; see [`Blip::encode_picture`].
    ///
    /// # Errors
    /// The device's.
    pub fn begin_picture(&self, pixel_values: &Tensor) -> Result<PictureEncoding> {
        self.vision.begin(pixel_values)
    }

    /// Goes one layer of the vision tower on; behind the last one gives what [`Blip::encode_picture`] does.
    ///
    /// # Errors
    /// The device's.
    pub fn look_on(&self, picture: &mut PictureEncoding) -> Result<Option<EncodedPicture>> {
        Ok(self.vision.look_on(picture)?.map(EncodedPicture::new))
    }
}
