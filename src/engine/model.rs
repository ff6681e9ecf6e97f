//! The model as the scheduler uses it: in steps that are small enough for others to have their turn
//! in between.

use candle_core::{Device, Tensor};

use crate::blip::Blip;
use crate::blip::passes as blip;
use crate::blip2::config::ModelClass;
use crate::blip2::passes::{DecoderSequence, KvCache, KvUsage, PromptPart, Reading};
use crate::blip2::{Blip2, EncodedPicture, PictureEncoding};
use crate::chat::PictureId;
use crate::generation::{Beginning, GenerationError, GenerationOptions, Needs, RowLogits};
use crate::processor::{ImageProcessor, Picture};

type Result<T> = std::result::Result<T, GenerationError>;

/// A prompt, or the part of it that is to be read next.
pub type Part<'a, M> = PromptPart<'a, <M as Model>::Sequence, <M as Looks>::Encoded>;

/// What looks at pictures, a layer at a time. A step that failed has changed nothing that the same step
/// done again would not put right.
pub trait Looks {
    /// What is known of a picture before anything is asked.
    type Encoded: Clone + Send;
    /// A picture on its way through the layers.
    type Looking: Send;

    fn begin_picture(&mut self, picture: &Picture) -> Result<Self::Looking>;
    /// One layer; what is known of the picture, behind the last.
    fn look_on(&mut self, looking: &mut Self::Looking) -> Result<Option<Self::Encoded>>;
    /// Of an encoded picture.
    fn encoded_bytes(&self) -> u64;
}

/// What the scheduler asks of a model, with the same promise.
pub trait Model: Looks {
    /// Prompts on their way through the layers.
    type Reading: Send;
    /// What was read of a prompt and its answer.
    type Sequence: Send;

    /// Checks a prompt and its options, and says what its answer goes on from.
    fn beginning(&self, prompt_ids: &[u32], options: &GenerationOptions) -> Result<Beginning>;
    /// Tokens of a prompt that stand for the picture, in front.
    fn picture_tokens(&self) -> usize;
    /// Whether prompts may be read in parts.
    fn reads_in_parts(&self) -> bool;
    /// How many tokens of a prompt about this picture were read for others, and are kept; the picture is
    /// as [`SentPrompt::root`](super::prompt::SentPrompt::root) has it.
    fn known(&self, picture: PictureId, prompt_ids: &[u32]) -> usize;
    /// A sequence that begins with those.
    fn new_sequence(&self, picture: PictureId, prompt_ids: &[u32]) -> Self::Sequence;
    fn fork(&self, sequence: &Self::Sequence) -> Self::Sequence;
    /// Tokens of its prompt that a sequence has read.
    fn read_of_prompt(&self, sequence: &Self::Sequence) -> usize;
    fn begin_reading(&mut self, parts: &mut [Part<Self>]) -> Result<Self::Reading>;
    /// One layer; whether it was the last.
    fn read_on(&mut self, reading: &mut Self::Reading) -> Result<bool>;
    /// The logits behind each prompt that is complete, as much of them as its answer needs.
    fn finish_reading(
        &mut self,
        reading: Self::Reading,
        parts: &mut [Part<Self>],
        needs: &[Needs],
    ) -> Result<Vec<Option<RowLogits>>>;
    /// One more token in each row, and the logits behind, as much of them as each needs.
    fn decode(&mut self, rows: &mut [&mut Self::Sequence], tokens: &[u32], needs: &[Needs]) -> Result<Vec<RowLogits>>;
    /// What is told of a prompt's ids: what stands in front of the answer.
    fn told_prompt<'a>(&'a self, ids: &'a [u32]) -> &'a [u32] {
        ids
    }
    /// The blocks that an answer of so many rows takes at most, from a prompt to its longest.
    fn most_blocks(&self, prompt: usize, beginning: &Beginning, rows: usize) -> usize;
    fn usage(&self) -> KvUsage;
    fn block_bytes(&self) -> u64;
}

/// BLIP-2 with its KV pool.
pub struct Blip2Model<'a> {
    blip2: &'a Blip2,
    image: &'a ImageProcessor,
    cache: KvCache,
}

/// The most blocks of a pool: 131,072 positions, for whom memory sets no limit.
const MOST_BLOCKS: u64 = 8192;

/// The most that are kept for nobody, however small they are.
const MOST_KEPT: u64 = 1024;

/// The fewest: an answer must fit.
const LEAST_BLOCKS: u64 = 8;

/// The blocks of a pool that may take so many bytes.
fn block_count(budget: u64, block: u64, device: &Device) -> usize {
    // The host's memory is taken as it is written; a device's at once, where half stays for the rest.
    let budget = if device.is_cpu() { budget } else { budget / 2 };
    (budget / block.max(1)).clamp(LEAST_BLOCKS, MOST_BLOCKS) as usize
}

impl<'a> Blip2Model<'a> {
    /// Takes what the model's memory limit leaves for keys and values; `kept_bytes` of them may be
    /// kept for whoever asks about the same picture, or goes on with a conversation.
    ///
    /// # Errors
    /// The device has no memory for it.
    pub fn new(blip2: &'a Blip2, image: &'a ImageProcessor, kept_bytes: u64) -> candle_core::Result<Self> {
        let block = blip2.block_bytes();
        let count = block_count(blip2.cache_budget(), block, blip2.device());
        Ok(Self {
            cache: blip2.new_cache(count, (kept_bytes / block.max(1)).min(MOST_KEPT) as usize)?,
            blip2,
            image,
        })
    }
}

impl Looks for Blip2Model<'_> {
    type Encoded = EncodedPicture;
    type Looking = PictureEncoding;

    fn begin_picture(&mut self, picture: &Picture) -> Result<PictureEncoding> {
        let pixel_values = self.image.pixel_values(picture)?;
        Ok(self.blip2.begin_picture(&pixel_values)?)
    }

    fn look_on(&mut self, looking: &mut PictureEncoding) -> Result<Option<Tensor>> {
        Ok(self.blip2.look_on(looking)?)
    }

    fn encoded_bytes(&self) -> u64 {
        let config = self.blip2.config();
        let numbers = match config.class() {
            // What the vision tower sees: the rest waits for the instruction.
            ModelClass::InstructBlip => config.vision_config.num_positions() * config.vision_config.hidden_size,
            _ => config.num_query_tokens * config.text_config.hidden_size(),
        };
        (numbers * self.blip2.precision().dtype.size_in_bytes()) as u64
    }
}

impl Model for Blip2Model<'_> {
    type Reading = Reading;
    type Sequence = DecoderSequence;

    fn beginning(&self, prompt_ids: &[u32], options: &GenerationOptions) -> Result<Beginning> {
        self.blip2.beginning(prompt_ids, options)
    }

    fn picture_tokens(&self) -> usize {
        self.blip2.config().num_query_tokens
    }

    fn reads_in_parts(&self) -> bool {
        self.blip2.reads_in_parts()
    }

    fn known(&self, picture: PictureId, prompt_ids: &[u32]) -> usize {
        self.cache.known(picture.0, prompt_ids)
    }

    fn new_sequence(&self, picture: PictureId, prompt_ids: &[u32]) -> DecoderSequence {
        self.blip2.new_sequence(&self.cache, Some(picture.0), prompt_ids)
    }

    fn fork(&self, sequence: &DecoderSequence) -> DecoderSequence {
        sequence.fork()
    }

    fn read_of_prompt(&self, sequence: &DecoderSequence) -> usize {
        sequence.length()
    }

    fn begin_reading(&mut self, parts: &mut [Part<Self>]) -> Result<Reading> {
        Ok(self.blip2.begin_reading(&mut self.cache, parts)?)
    }

    fn read_on(&mut self, reading: &mut Reading) -> Result<bool> {
        Ok(self.blip2.read_on(&mut self.cache, reading)?)
    }

    fn finish_reading(
        &mut self,
        reading: Reading,
        parts: &mut [Part<Self>],
        needs: &[Needs],
    ) -> Result<Vec<Option<RowLogits>>> {
        Ok(self.blip2.finish_reading(&mut self.cache, reading, parts, needs)?)
    }

    fn decode(&mut self, rows: &mut [&mut DecoderSequence], tokens: &[u32], needs: &[Needs]) -> Result<Vec<RowLogits>> {
        Ok(self.blip2.decode(&mut self.cache, rows, tokens, needs)?)
    }

    fn most_blocks(&self, prompt: usize, beginning: &Beginning, rows: usize) -> usize {
        let shared = if self.blip2.reads_in_parts() { prompt } else { 1 };
        blocks_of_rows(shared, beginning, rows)
    }

    fn usage(&self) -> KvUsage {
        self.cache.usage()
    }

    fn block_bytes(&self) -> u64 {
        self.blip2.block_bytes()
    }
}

/// The blocks of rows that share so many positions in front of their answer.
fn blocks_of_rows(shared: usize, beginning: &Beginning, rows: usize) -> usize {
    let new = beginning.max_length - beginning.ids_before.len().min(beginning.max_length);
    // A row's own: its new tokens, and the block that they share with the prompt.
    let tail = KvCache::blocks_of(new) + 1;
    rows.saturating_mul(tail).saturating_add(KvCache::blocks_of(shared))
}

/// BLIP with its KV pool: one that writes captions or answers.
pub struct BlipModel<'a> {
    blip: &'a Blip,
    image: &'a ImageProcessor,
    cache: KvCache,
    block_bytes: u64,
}

impl<'a> BlipModel<'a> {
    /// Takes what the model's memory limit leaves for keys and values. None of them are kept for others:
    /// those of a text depend on what it looks at.
    ///
    /// # Errors
    /// The model writes nothing, or the device has no memory for it.
    pub fn new(blip: &'a Blip, image: &'a ImageProcessor) -> candle_core::Result<Self> {
        let block_bytes = blip.block_bytes()?;
        let count = block_count(blip.cache_budget(), block_bytes, blip.device());
        Ok(Self {
            cache: blip.new_cache(count)?,
            blip,
            image,
            block_bytes,
        })
    }
}

impl Looks for BlipModel<'_> {
    type Encoded = blip::EncodedPicture;
    type Looking = PictureEncoding;

    fn begin_picture(&mut self, picture: &Picture) -> Result<PictureEncoding> {
        let pixel_values = self.image.pixel_values(picture)?;
        Ok(self.blip.begin_picture(&pixel_values)?)
    }

    fn look_on(&mut self, looking: &mut PictureEncoding) -> Result<Option<blip::EncodedPicture>> {
        Ok(self.blip.look_on(looking)?)
    }

    fn encoded_bytes(&self) -> u64 {
        let vision = &self.blip.config().vision_config;
        vision.states_bytes(self.blip.precision().dtype)
    }
}

impl Model for BlipModel<'_> {
    type Reading = blip::Reading;
    type Sequence = DecoderSequence;

    fn beginning(&self, prompt_ids: &[u32], options: &GenerationOptions) -> Result<Beginning> {
        self.blip.beginning(prompt_ids, options)
    }

    /// None stand for it, but none are known without it.
    fn picture_tokens(&self) -> usize {
        1
    }

    fn reads_in_parts(&self) -> bool {
        false
    }

    fn known(&self, _: PictureId, _: &[u32]) -> usize {
        0
    }

    fn new_sequence(&self, _: PictureId, _: &[u32]) -> DecoderSequence {
        self.blip.new_sequence(&self.cache)
    }

    fn fork(&self, sequence: &DecoderSequence) -> DecoderSequence {
        sequence.fork()
    }

    fn read_of_prompt(&self, _: &DecoderSequence) -> usize {
        // Until all is read, nothing is.
        0
    }

    fn begin_reading(&mut self, parts: &mut [Part<Self>]) -> Result<blip::Reading> {
        Ok(self.blip.begin_reading(&mut self.cache, parts)?)
    }

    fn read_on(&mut self, reading: &mut blip::Reading) -> Result<bool> {
        Ok(self.blip.read_on(&mut self.cache, reading)?)
    }

    fn finish_reading(
        &mut self,
        reading: blip::Reading,
        parts: &mut [Part<Self>],
        needs: &[Needs],
    ) -> Result<Vec<Option<RowLogits>>> {
        Ok(self.blip.finish_reading(reading, parts, needs)?)
    }

    fn decode(&mut self, rows: &mut [&mut DecoderSequence], tokens: &[u32], needs: &[Needs]) -> Result<Vec<RowLogits>> {
        Ok(self.blip.decode(&mut self.cache, rows, tokens, needs)?)
    }

    fn told_prompt<'a>(&'a self, ids: &'a [u32]) -> &'a [u32] {
        self.blip.ids_before_answer(ids)
    }

    fn most_blocks(&self, _: usize, beginning: &Beginning, rows: usize) -> usize {
        blocks_of_rows(beginning.ids_before.len(), beginning, rows)
    }

    fn usage(&self) -> KvUsage {
        self.cache.usage()
    }

    fn block_bytes(&self) -> u64 {
        self.block_bytes
    }
}
