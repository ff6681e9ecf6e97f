//! The model as the scheduler uses it: in steps that are small enough for others to have their turn
//! in between.

use candle_core::Tensor;

use crate::blip2::config::ModelClass;
use crate::blip2::passes::{DecoderSequence, KvCache, KvUsage, PromptPart, Reading};
use crate::blip2::{Blip2, EncodedPicture, PictureEncoding};
use crate::chat::PictureId;
use crate::generation::{Beginning, GenerationError, GenerationOptions};
use crate::processor::{ImageProcessor, Picture};

type Result<T> = std::result::Result<T, GenerationError>;

/// A prompt, or the part of it that is to be read next.
pub type Part<'a, M> = PromptPart<'a, <M as Model>::Sequence, <M as Model>::Encoded>;

/// What the scheduler asks of a model. A step that failed has changed nothing that the same step
/// done again would not put right.
pub trait Model {
    /// What is known of a picture before anything is asked.
    type Encoded: Clone + Send;
    /// A picture on its way through the layers.
    type Looking: Send;
    /// Prompts on their way through the layers.
    type Reading: Send;
    /// What was read of a prompt and its answer.
    type Sequence: Send;

    /// Checks a prompt and its options, and says what its answer goes on from.
    fn beginning(&self, prompt_ids: &[u32], options: &GenerationOptions) -> Result<Beginning>;
    fn begin_picture(&mut self, picture: &Picture) -> Result<Self::Looking>;
    /// One layer; what is known of the picture, behind the last.
    fn look_on(&mut self, looking: &mut Self::Looking) -> Result<Option<Self::Encoded>>;
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
    /// The logits behind each prompt that is complete.
    fn finish_reading(&mut self, reading: Self::Reading, parts: &mut [Part<Self>]) -> Result<Vec<Option<Vec<f32>>>>;
    /// One more token in each row, and the logits behind.
    fn decode(&mut self, rows: &mut [&mut Self::Sequence], tokens: &[u32]) -> Result<Vec<Vec<f32>>>;
    /// The blocks that an answer of so many rows takes at most, from a prompt to its longest.
    fn most_blocks(&self, prompt: usize, beginning: &Beginning, rows: usize) -> usize;
    fn usage(&self) -> KvUsage;
    /// Of an encoded picture.
    fn encoded_bytes(&self) -> u64;
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

impl<'a> Blip2Model<'a> {
    /// Takes what the model's memory limit leaves for keys and values; `kept_bytes` of them may be
    /// kept for whoever asks about the same picture, or goes on with a conversation.
    ///
    /// # Errors
    /// The device has no memory for it.
    pub fn new(blip2: &'a Blip2, image: &'a ImageProcessor, kept_bytes: u64) -> candle_core::Result<Self> {
        let block = blip2.block_bytes();
        // The host's memory is taken as it is written; a device's at once, where half stays for the rest.
        let budget = if blip2.device().is_cpu() {
            blip2.cache_budget()
        } else {
            blip2.cache_budget() / 2
        };
        let count = (budget / block.max(1)).clamp(LEAST_BLOCKS, MOST_BLOCKS);
        Ok(Self {
            cache: blip2.new_cache(count as usize, (kept_bytes / block.max(1)).min(MOST_KEPT) as usize)?,
            blip2,
            image,
        })
    }
}

impl Model for Blip2Model<'_> {
    type Encoded = EncodedPicture;
    type Looking = PictureEncoding;
    type Reading = Reading;
    type Sequence = DecoderSequence;

    fn beginning(&self, prompt_ids: &[u32], options: &GenerationOptions) -> Result<Beginning> {
        self.blip2.beginning(prompt_ids, options)
    }

    fn begin_picture(&mut self, picture: &Picture) -> Result<PictureEncoding> {
        let pixel_values = self.image.pixel_values(picture)?;
        Ok(self.blip2.begin_picture(&pixel_values)?)
    }

    fn look_on(&mut self, looking: &mut PictureEncoding) -> Result<Option<Tensor>> {
        Ok(self.blip2.look_on(looking)?)
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

    fn finish_reading(&mut self, reading: Reading, parts: &mut [Part<Self>]) -> Result<Vec<Option<Vec<f32>>>> {
        Ok(self.blip2.finish_reading(&mut self.cache, reading, parts)?)
    }

    fn decode(&mut self, rows: &mut [&mut DecoderSequence], tokens: &[u32]) -> Result<Vec<Vec<f32>>> {
        Ok(self.blip2.decode(&mut self.cache, rows, tokens)?)
    }

    fn most_blocks(&self, prompt: usize, beginning: &Beginning, rows: usize) -> usize {
        let new = beginning.max_length - beginning.ids_before.len().min(beginning.max_length);
        // A row's own: its new tokens, and the block that they share with the prompt.
        let tail = KvCache::blocks_of(new) + 1;
        let shared = if self.blip2.reads_in_parts() {
            KvCache::blocks_of(prompt)
        } else {
            1
        };
        rows.saturating_mul(tail).saturating_add(shared)
    }

    fn usage(&self) -> KvUsage {
        self.cache.usage()
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

    fn block_bytes(&self) -> u64 {
        self.blip2.block_bytes()
    }
}
