//! The forward passes of the language model over the KV pool: prompts are read layer by layer, so
//! that whoever has several things to do can do them in between; answers go on by a token in each
//! row.
//!
//! Rows do not know each other: each is computed in the same order of sums whatever else is in the
//! pass.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::Blip2;
use super::language_model::LanguageModel;
use super::t5::PromptEncoding;
use crate::generation::{Needs, RowLogits};
use crate::nn::{AttentionRecord, KvBlocks, KvPool, KvShape, LookedAt, Paging, Rows};

pub use crate::nn::{DecoderSequence, KvCache, KvUsage, PromptPart};

/// Prompts on their way through the layers.
pub struct Reading(State);

enum State {
    Decoder {
        x: Tensor,
        paging: Paging,
        layer: usize,
    },
    T5 {
        /// Each prompt, until it is read.
        prompts: Vec<PromptEncoding>,
        read: Vec<Arc<LookedAt>>,
    },
}

impl Blip2 {
    /// What the decoder keeps of each position.
    pub fn kv_shape(&self) -> KvShape {
        self.language_model.kv_shape()
    }

    /// A pool with so many blocks, of which at most `kept` stay when nobody needs them any more,
    /// for whoever begins with the same tokens.
    ///
    /// # Errors
    /// The device has no memory for it.
    pub fn new_cache(&self, blocks: usize, kept: usize) -> Result<KvCache> {
        let (dtype, device) = (self.precision.dtype, &self.device);
        Ok(KvCache {
            pool: KvPool::new(self.kv_shape(), blocks, self.kernels, dtype, device)?,
            blocks: KvBlocks::new(blocks, kept),
        })
    }

    /// Bytes of a block of the pool.
    pub fn block_bytes(&self) -> u64 {
        (self.kv_shape().block_numbers() * self.precision.dtype.size_in_bytes()) as u64
    }

    /// A sequence for a prompt about a picture, which begins with what others have read of the same
    /// tokens, where the picture's hash is known. A decoder alone reads prompts from front to back:
    /// T5 has nothing to share.
    pub fn new_sequence(&self, cache: &KvCache, picture: Option<[u8; 32]>, prompt_ids: &[u32]) -> DecoderSequence {
        let kv = match (&self.language_model, picture) {
            (LanguageModel::Decoder(_), Some(picture)) => cache.blocks.shared(picture, prompt_ids),
            _ => cache.blocks.unshared(),
        };
        DecoderSequence::new(kv)
    }

    /// Whether prompts can be read in parts, and begin with what others have read.
    pub fn reads_in_parts(&self) -> bool {
        matches!(self.language_model, LanguageModel::Decoder(_))
    }

    /// Begins to read parts of prompts; each sequence gets room for its part.
    ///
    /// # Errors
    /// A full pool, or the device's.
    pub fn begin_reading(&self, cache: &mut KvCache, parts: &mut [PromptPart]) -> Result<Reading> {
        let embeds = parts
            .iter()
            .map(|part| self.embed_part(part))
            .collect::<Result<Vec<_>>>()?;
        let state = match &self.language_model {
            LanguageModel::Decoder(decoder) => {
                let mut rows: Vec<(&mut DecoderSequence, usize)> = parts
                    .iter_mut()
                    .map(|part| (&mut *part.sequence, part.tokens))
                    .collect();
                cache.make_room(&mut rows)?;
                let segments = DecoderSequence::segments(&rows);
                let mut paging = Paging::new(&segments, Rows::Prompt, None, self.kernels, &self.device)?;
                let x = decoder.place(&Tensor::cat(&embeds, 1)?, &mut paging)?;
                State::Decoder { x, paging, layer: 0 }
            }
            LanguageModel::T5(t5) => State::T5 {
                prompts: embeds
                    .iter()
                    .rev()
                    .map(|embeds| t5.begin_prompt(embeds))
                    .collect::<Result<_>>()?,
                read: Vec::new(),
            },
        };
        Ok(Reading(state))
    }

    /// The embeddings of a part, `[1, tokens, width]`: the picture's rows where its tokens stand.
    fn embed_part(&self, part: &PromptPart) -> Result<Tensor> {
        let Range { start, end } = part.range();
        let of_picture = self.config.num_query_tokens;
        let mut pieces = Vec::new();
        if start < of_picture {
            let Some(picture) = part.picture else {
                candle_core::bail!("the picture's tokens are to be read, and the picture is not there")
            };
            let picture = self.instructed(picture, part.instruction)?;
            if picture.dim(1)? != of_picture {
                candle_core::bail!("{} rows are no picture of {of_picture} tokens", picture.dim(1)?);
            }
            pieces.push(picture.narrow(1, start, end.min(of_picture) - start)?);
        }
        if end > of_picture {
            pieces.push(self.language_model.embed(&part.ids[start.max(of_picture)..end])?);
        }
        Tensor::cat(&pieces, 1)
    }

    /// Goes one layer on, and says whether that was the last.
    ///
    /// # Errors
    /// The device's.
    pub fn read_on(&self, cache: &mut KvCache, reading: &mut Reading) -> Result<bool> {
        match (&self.language_model, &mut reading.0) {
            (LanguageModel::Decoder(decoder), State::Decoder { x, paging, layer }) => {
                *x = decoder.layer(*layer, x, paging, &mut cache.pool)?;
                *layer += 1;
                Ok(*layer == decoder.kv_shape().layers)
            }
            (LanguageModel::T5(t5), State::T5 { prompts, read }) => {
                if let Some(prompt) = prompts.last_mut()
                    && let Some(encoded) = t5.read_on(prompt)?
                {
                    read.push(Arc::new(encoded));
                    prompts.pop();
                }
                Ok(prompts.is_empty())
            }
            _ => candle_core::bail!("the prompt is another language model's"),
        }
    }

    /// Ends what went through all layers: the sequences have read their parts. Gives what each needs
    /// of the logits behind those prompts that are complete by that.
    ///
    /// # Errors
    /// The device's.
    pub fn finish_reading(
        &self,
        cache: &mut KvCache,
        reading: Reading,
        parts: &mut [PromptPart],
        needs: &[Needs],
    ) -> Result<Vec<Option<RowLogits>>> {
        match (&self.language_model, reading.0) {
            (LanguageModel::Decoder(decoder), State::Decoder { x, .. }) => {
                let (mut ends, mut needs_of_ends) = (Vec::new(), Vec::new());
                let mut rows = 0;
                for (part, needs) in parts.iter().zip(needs) {
                    rows += part.tokens;
                    if part.is_last() {
                        ends.push(x.narrow(1, rows - 1, 1)?);
                        needs_of_ends.push(*needs);
                    }
                }
                let logits = match ends.is_empty() {
                    true => Vec::new(),
                    false => self.logits(&decoder.finish(Tensor::cat(&ends, 1)?)?, &needs_of_ends)?,
                };
                let mut logits = logits.into_iter();
                let advance = |part: &mut PromptPart| {
                    let (is_last, ids) = (part.is_last(), &part.ids[part.range()]);
                    part.sequence.kv.advance(ids);
                    is_last.then(|| logits.next()).flatten()
                };
                Ok(parts.iter_mut().map(advance).collect())
            }
            (LanguageModel::T5(t5), State::T5 { read, .. }) => {
                for (part, prompt) in parts.iter_mut().zip(read) {
                    part.sequence.looked_at = Some(prompt);
                }
                let tokens = vec![t5.start_token(); parts.len()];
                let mut rows: Vec<&mut DecoderSequence> = parts.iter_mut().map(|part| &mut *part.sequence).collect();
                let logits = self.decode(cache, &mut rows, &tokens, needs)?;
                Ok(logits.into_iter().map(Some).collect())
            }
            _ => candle_core::bail!("the prompt is another language model's"),
        }
    }

    /// Reads one more token in each row, and gives what each needs of the logits behind it.
    ///
    /// # Errors
    /// A full pool, or the device's; the sequences have read nothing then.
    pub fn decode(
        &self,
        cache: &mut KvCache,
        rows: &mut [&mut DecoderSequence],
        tokens: &[u32],
        needs: &[Needs],
    ) -> Result<Vec<RowLogits>> {
        let counted: Vec<(&mut DecoderSequence, usize)> = rows.iter_mut().map(|row| (&mut **row, 1)).collect();
        let hidden = self.decode_rows(cache, Rows::Tokens, counted, tokens, None)?;
        let logits = self.logits(&hidden, needs)?;
        for (row, token) in rows.iter_mut().zip(tokens) {
            row.kv.advance(std::slice::from_ref(token));
        }
        Ok(logits)
    }

    /// Reads some tokens in each row, those of the first row first, without advancing the
    /// sequences: hidden states `[1, tokens, hidden]`.
    fn decode_rows(
        &self,
        cache: &mut KvCache,
        kind: Rows,
        mut rows: Vec<(&mut DecoderSequence, usize)>,
        tokens: &[u32],
        record: Option<Arc<AttentionRecord>>,
    ) -> Result<Tensor> {
        cache.make_room(&mut rows)?;
        let segments = DecoderSequence::segments(&rows);
        match &self.language_model {
            LanguageModel::Decoder(decoder) => {
                let mut paging = Paging::new(&segments, kind, None, self.kernels, &self.device)?;
                let mut x = decoder.place(&decoder.embed(tokens)?, &mut paging)?;
                for layer in 0..decoder.kv_shape().layers {
                    x = decoder.layer(layer, &x, &paging, &mut cache.pool)?;
                }
                decoder.finish(x)
            }
            LanguageModel::T5(t5) => {
                let mut paging = Paging::new(&segments, kind, Some(&t5.decoder_bias()), self.kernels, &self.device)?;
                paging.recorded = record;
                let prompts = DecoderSequence::looking(&rows)?;
                let mut x = t5.embed_answer(tokens)?;
                for layer in 0..t5.kv_shape().layers {
                    x = t5.layer(layer, &x, &paging, &mut cache.pool, &prompts)?;
                }
                t5.finish(x)
            }
        }
    }

    /// What is needed of the logits of hidden states, `[1, rows, hidden]`.
    fn logits(&self, hidden: &Tensor, needs: &[Needs]) -> Result<Vec<RowLogits>> {
        let logits = self.language_model.logits(hidden)?.squeeze(0)?;
        self.logits_reader.read(&logits, needs)
    }

    /// The hidden states behind a prompt and behind each of an answer's ids, `[1, 1 + ids, hidden]`. What the
    /// language model attends to in this pass is written down where that is asked for.
    pub(super) fn teacher_forced(
        &self,
        picture: &Tensor,
        prompt_ids: &[u32],
        answer_ids: &[u32],
        record: Option<Arc<AttentionRecord>>,
    ) -> Result<Tensor> {
        self.check_picture_tokens(prompt_ids)?;
        let positions = prompt_ids.len() + answer_ids.len() + 1;
        let mut cache = self.new_cache(KvCache::blocks_of(positions), 0)?;
        let mut sequence = self.new_sequence(&cache, None, prompt_ids);
        let all_ids = [prompt_ids, answer_ids].concat();
        let reads_all = self.reads_in_parts();
        let ids = if reads_all { &all_ids } else { prompt_ids };
        let parts = &mut [PromptPart {
            sequence: &mut sequence,
            ids,
            picture: Some(picture),
            instruction: &[],
            tokens: ids.len(),
        }];
        let mut reading = self.begin_reading(&mut cache, parts)?;
        if let State::Decoder { paging, .. } = &mut reading.0 {
            paging.recorded.clone_from(&record);
        }
        while !self.read_on(&mut cache, &mut reading)? {}
        match (&self.language_model, reading.0) {
            (LanguageModel::Decoder(decoder), State::Decoder { x, .. }) => {
                decoder.finish(x.narrow(1, prompt_ids.len() - 1, 1 + answer_ids.len())?)
            }
            (LanguageModel::T5(t5), State::T5 { read, .. }) => {
                sequence.looked_at = read.into_iter().next();
                let tokens = [&[t5.start_token()], answer_ids].concat();
                let rows = vec![(&mut sequence, tokens.len())];
                self.decode_rows(&mut cache, Rows::Prompt, rows, &tokens, record)
            }
            _ => candle_core::bail!("the prompt is another language model's"),
        }
    }
}
