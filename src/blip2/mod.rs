//! BLIP-2 on candle: a picture and a prompt in, an answer out.
//!
//! Source: Li et al. 2023, *BLIP-2: Bootstrapping Language-Image Pre-training with
//! Frozen Image Encoders and Large Language Models* (arXiv 2301.12597), as Hugging
//! Face transformers' `Blip2ForConditionalGeneration` computes it. Each box of the
//! paper's figure is a file here; read them in this order:
//!
//! 1. `processor`: the picture's bytes to pixel values, the question to token ids.
//! 2. [`vision`]: pixel values to one embedding a patch (ViT).
//! 3. [`qformer`]: a few query tokens read the patches (Q-Former).
//! 4. [`Blip2`]: the language projection between the two worlds, and the whole.
//! 5. [`opt`], [`llama`] or [`t5`]: the language model; [`language_model`] is any of them, [`decoder`]
//!    what the first two have in common.
//! 6. [`passes`]: prompts and tokens read over the KV pool, many at once; what to read is said by
//!    [`generation`](crate::generation). [`Blip2::generate`] (`generate`) does it for one answer.
//!
//! Two other classes of the family are built of the same boxes. InstructBLIP (Dai et al. 2023,
//! *InstructBLIP: Towards General-purpose Vision-Language Models with Instruction Tuning*, arXiv
//! 2305.06500; `InstructBlipForConditionalGeneration`) is a [`Blip2`] whose Q-Former reads the
//! instruction too, so that the picture is known by its patches until there is one
//! ([`Blip2::instructed`]). [`retrieval`] says how well a text belongs to a picture
//! (`Blip2ForImageTextRetrieval`).
//!
//! What an answer looked at is computed a second time, for whoever wants to see it (`attention`).
//!
//! [`config`] is `config.json`, and [`precision`] says which parts compute in another precision
//! than the rest. The layers are those of [`nn`](crate::nn).

mod attention;
pub mod config;
pub mod decoder;
mod generate;
pub mod language_model;
pub mod llama;
pub mod opt;
pub mod passes;
pub mod precision;
pub mod qformer;
pub mod retrieval;
pub mod t5;
pub mod vision;

use candle_core::{Device, Result, Tensor};

use crate::generation::LogitsReader;
use crate::nn::{Kernels, Linear, Precision, Weights};
use config::{Blip2Config, ModelClass};
pub use generate::{Generation, Step};
use language_model::LanguageModel;
use precision::of_qformer;
use qformer::QFormer;
pub use vision::PictureEncoding;
use vision::VisionModel;

/// What is known of a picture before anything is asked. BLIP-2: what the language model sees of it,
/// `[1, query tokens, language model's width]`. InstructBLIP: what the vision tower does, `[1, 1 +
/// patches, vision width]`, of which an instruction makes the other ([`Blip2::instructed`]).
pub type EncodedPicture = Tensor;

/// The whole model on one device.
pub struct Blip2 {
    pub vision: VisionModel,
    pub qformer: QFormer,
    /// From the Q-Former's width to the language model's.
    pub language_projection: Linear,
    pub language_model: LanguageModel,
    config: Blip2Config,
    device: Device,
    precision: Precision,
    kernels: Kernels,
    logits_reader: LogitsReader,
    cache_budget: u64,
}

impl Blip2 {
    /// Takes the tensors of a checkpoint, `root` being where their names begin.
    ///
    /// # Errors
    /// A tensor that is missing (`CannotFindTensor`) or has another shape than the config asks
    /// for (`UnexpectedShape`), or whatever the device says.
    pub fn new(config: &Blip2Config, root: Weights) -> Result<Self> {
        let precision = root.precision();
        let for_qformer = root.with_precision(of_qformer(precision));
        let (qformer, text) = (&config.qformer_config, &config.text_config);
        Ok(Self {
            vision: VisionModel::new(&config.vision_config, root.pp("vision_model"))?,
            qformer: QFormer::new(qformer, config.num_query_tokens, config.class(), for_qformer)?,
            language_projection: Linear::new(
                qformer.hidden_size,
                text.hidden_size(),
                true,
                root.pp("language_projection"),
            )?,
            language_model: LanguageModel::new(text, root.pp("language_model"))?,
            config: config.clone(),
            device: root.device().clone(),
            precision,
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
    pub fn config(&self) -> &Blip2Config {
        &self.config
    }

    /// Where the weights are, and where the tensors of a pass have to be. Pixel values may be
    /// anywhere: they are brought here.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What the model computes in; the Q-Former and a part of T5 may have another one
    /// ([`precision`]).
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// What is known of a picture before anything is asked ([`EncodedPicture`]): pixel values
    /// `[batch, 3, h, w]` in f32 on any device, of an InstructBLIP one picture.
    pub fn encode_picture(&self, pixel_values: &Tensor) -> Result<EncodedPicture> {
        let mut encoding = self.begin_picture(pixel_values)?;
        loop {
            if let Some(encoded) = self.look_on(&mut encoding)? {
                return Ok(encoded);
            }
        }
    }

    /// Begins to encode a picture; see [`Blip2::encode_picture`].
    pub fn begin_picture(&self, pixel_values: &Tensor) -> Result<PictureEncoding> {
        self.vision.begin(pixel_values)
    }

    /// Goes one layer of the vision tower on; behind the last one gives what
    /// [`Blip2::encode_picture`] does.
    pub fn look_on(&self, picture: &mut PictureEncoding) -> Result<Option<EncodedPicture>> {
        let Some(image_embeds) = self.vision.look_on(picture)? else {
            return Ok(None);
        };
        if self.config.class() == ModelClass::InstructBlip {
            return Ok(Some(image_embeds));
        }
        let queries = self.qformer.forward(&image_embeds)?;
        self.language_projection.forward(&queries).map(Some)
    }

    /// What the language model sees of a picture for an instruction, `[1, query tokens, language
    /// model's width]`: of an InstructBLIP's encoded picture and the ids of its Q-Former's tokenizer.
    /// Without ids the picture is taken as it is: BLIP-2's is that already.
    ///
    /// # Errors
    /// Ids for a model that takes none, more or other ones than it knows, or the device's.
    pub fn instructed(&self, picture: &EncodedPicture, instruction: &[u32]) -> Result<Tensor> {
        if instruction.is_empty() {
            return Ok(picture.clone());
        }
        let queries = self.qformer.forward_instructed(picture, instruction)?;
        self.language_projection.forward(&queries)
    }

    /// The logits behind a prompt and behind each of an answer's ids, `[1 + ids, vocabulary]`:
    /// the reference's `forward` for one picture (pixel values `[1, 3, h, w]`).
    pub fn forward(&self, pixel_values: &Tensor, prompt_ids: &[u32], answer_ids: &[u32]) -> Result<Tensor> {
        self.forward_instructed(pixel_values, &[], prompt_ids, answer_ids)
    }

    /// The same of an InstructBLIP, whose Q-Former reads `instruction`.
    ///
    /// # Errors
    /// As for [`Blip2::instructed`].
    pub fn forward_instructed(
        &self,
        pixel_values: &Tensor,
        instruction: &[u32],
        prompt_ids: &[u32],
        answer_ids: &[u32],
    ) -> Result<Tensor> {
        let picture = self.instructed(&self.encode_picture(pixel_values)?, instruction)?;
        let hidden = self.teacher_forced(&picture, prompt_ids, answer_ids, None)?;
        self.language_model.logits(&hidden)?.squeeze(0)
    }

    /// A prompt must begin with the picture's tokens.
    fn check_picture_tokens(&self, prompt_ids: &[u32]) -> Result<()> {
        let tokens = self.config.num_query_tokens;
        let of_picture = &prompt_ids[..tokens.min(prompt_ids.len())];
        // A config without the picture's token leaves it to the tokenizer.
        let token = self.config.image_token_index.or(of_picture.first().copied());
        if of_picture.len() < tokens || of_picture.iter().any(|id| Some(*id) != token) {
            candle_core::bail!(
                "a prompt must begin with the picture's {tokens} tokens, as TextProcessor::prompt_ids puts them there"
            );
        }
        Ok(())
    }
}
