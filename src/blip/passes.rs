//! The forward passes of captions and answers over the KV pool: what is looked at is read first, then
//! what stands in front of the answer, a layer at a time, so that whoever has several things to do can
//! do them in between; then answers go on by a token in each row.
//!
//! Rows do not know each other: each is computed in the same order of sums whatever else is in the pass.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Result, Tensor};

use super::text::{TextDecoder, TextModel};
use super::{Blip, Texts};
use crate::generation::{Beginning, GenerationError, GenerationOptions, Needs, RowLogits};
use crate::nn::attention_record::{AnswerAttention, Attending, AttentionRecord, ids_read, mean_of_layers};
use crate::nn::sequences::together;
use crate::nn::{
    DecoderSequence, KvBlocks, KvCache, KvPool, KvShape, LookedAt, LookedAtElsewhere, LookingRows, Paging, PromptPart,
    Rows,
};

/// A part of a prompt of BLIP's, which is always the whole.
pub type Part<'a> = PromptPart<'a, DecoderSequence, EncodedPicture>;

/// What texts look at of a picture.
#[derive(Clone)]
pub struct EncodedPicture {
    /// `[1, 1 + patches, width]`.
    pub states: Tensor,
    /// The keys and values of it that somebody holds: they are many times as large as the states, and so
    /// are kept no longer than answers about the picture are written, which share them.
    looked_at: Arc<Mutex<LookedAtElsewhere>>,
}

impl EncodedPicture {
    /// Of hidden states, `[1, 1 + patches, width]`.
    pub fn new(states: Tensor) -> Self {
        Self {
            states,
            looked_at: Arc::default(),
        }
    }

    /// Its keys and values for the one text model of a checkpoint that looks at pictures.
    fn look(&self, text: &TextModel) -> Result<Arc<LookedAt>> {
        // A holder that panicked has left either what was there or what is.
        let mut held = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let looked_at = match held.get() {
            Some(looked_at) => looked_at,
            None => text.look_at(&self.states)?,
        };
        *held = looked_at.elsewhere();
        // Each request's own, though they share what is in it: see [`LookingRows`].
        Ok(Arc::new(looked_at))
    }
}

/// What is in front of answers, on its way through the layers.
pub struct Reading {
    /// What each answer looks at; the last is read next.
    waiting: Vec<LookedAtReading>,
    /// In the order of the parts.
    read: Vec<Arc<LookedAt>>,
    /// Rows of each part.
    counts: Vec<usize>,
    x: Tensor,
    paging: Paging,
    layer: usize,
}

/// What an answer looks at, on its way.
enum LookedAtReading {
    Picture(EncodedPicture),
    Question {
        picture: EncodedPicture,
        looking: Vec<LookingRows>,
        x: Tensor,
        layer: usize,
    },
}

impl Blip {
    /// What the decoder keeps of each position.
    ///
    /// # Errors
    /// The model writes nothing.
    pub fn kv_shape(&self) -> Result<KvShape> {
        Ok(self.decoder()?.kv_shape())
    }

    /// A pool with so many blocks.
    ///
    /// # Errors
    /// The model writes nothing, or the device has no memory for it.
    pub fn new_cache(&self, blocks: usize) -> Result<KvCache> {
        let (dtype, device) = (self.precision.dtype, &self.device);
        Ok(KvCache {
            pool: KvPool::new(self.kv_shape()?, blocks, self.kernels, dtype, device)?,
            // What is read of a prompt depends on the picture or the question from its first token on.
            blocks: KvBlocks::new(blocks, 0),
        })
    }

    /// Bytes of a block of the pool.
    ///
    /// # Errors
    /// The model writes nothing.
    pub fn block_bytes(&self) -> Result<u64> {
        Ok((self.kv_shape()?.block_numbers() * self.precision.dtype.size_in_bytes()) as u64)
    }

    /// A sequence that has read nothing.
    pub fn new_sequence(&self, cache: &KvCache) -> DecoderSequence {
        DecoderSequence::new(cache.blocks.unshared())
    }

    /// The ids in front of an answer, as the decoder reads them: a caption's beginning is its prompt; an
    /// answer begins anew, since the question is looked at.
    pub fn ids_before_answer<'a>(&'a self, prompt_ids: &'a [u32]) -> &'a [u32] {
        match &self.texts {
            Texts::Question { .. } => std::slice::from_ref(&self.config.text_config.bos_token_id),
            _ => prompt_ids,
        }
    }

    /// Checks a prompt, and says what an answer to it goes on from.
    ///
    /// # Errors
    /// The prompt leaves no position for an answer, its keys and values do not fit into memory,
    /// or the options do not fit together.
    pub fn beginning(
        &self,
        prompt_ids: &[u32],
        options: &GenerationOptions,
    ) -> std::result::Result<Beginning, GenerationError> {
        options.check()?;
        let text = &self.config.text_config;
        let positions = text.max_position_embeddings;
        // A beginning leaves a position at least for what it goes on with; the last token needs none.
        let limit = positions;
        if prompt_ids.len() > limit {
            return Err(GenerationError::PromptTooLong {
                tokens: prompt_ids.len(),
                limit,
            });
        }
        let ids_before = self.ids_before_answer(prompt_ids);
        let max_length = (positions + 1).min(options.most_ids(ids_before.len())?);
        self.check_memory(options.rows(), prompt_ids.len(), max_length.min(positions))?;
        Ok(Beginning {
            ids_before: ids_before.to_vec(),
            eos_token_ids: vec![text.sep_token_id],
            max_length,
        })
    }

    /// Checks before anything is read that all rows fit into memory at their longest.
    fn check_memory(&self, rows: usize, prompt: usize, positions: usize) -> std::result::Result<(), GenerationError> {
        let text = &self.config.text_config;
        let looked_at = match &self.texts {
            Texts::Question { .. } => prompt,
            _ => self.config.vision_config.num_positions(),
        };
        let positions = (rows as u128).saturating_mul(positions as u128) + looked_at as u128;
        let numbers = positions.saturating_mul(2 * text.num_hidden_layers as u128 * text.hidden_size as u128);
        let bytes = numbers.saturating_mul(self.precision.dtype.size_in_bytes() as u128);
        GenerationError::check_memory(rows, bytes, self.cache_budget)
    }

    /// Begins to read what is in front of answers; each sequence gets room for it.
    ///
    /// # Errors
    /// A full pool, or the device's.
    pub fn begin_reading(&self, cache: &mut KvCache, parts: &mut [Part]) -> Result<Reading> {
        let mut waiting = parts
            .iter()
            .map(|part| self.begin_looking(part))
            .collect::<Result<Vec<_>>>()?;
        waiting.reverse();
        let ids: Vec<Vec<u32>> = parts
            .iter()
            .map(|part| self.ids_before_answer(part.ids).to_vec())
            .collect();
        let mut rows: Vec<(&mut DecoderSequence, usize)> = parts
            .iter_mut()
            .zip(&ids)
            .map(|(part, ids)| (&mut *part.sequence, ids.len()))
            .collect();
        let (x, paging) = self.place(cache, Rows::Prompt, &mut rows, &ids.concat())?;
        Ok(Reading {
            waiting,
            read: Vec::new(),
            counts: ids.iter().map(Vec::len).collect(),
            x,
            paging,
            layer: 0,
        })
    }

    fn begin_looking(&self, part: &Part) -> Result<LookedAtReading> {
        let Some(picture) = part.picture.cloned() else {
            candle_core::bail!("the picture is to be looked at, and is not there")
        };
        match &self.texts {
            Texts::Question { encoder, .. } => Ok(LookedAtReading::Question {
                picture,
                looking: Vec::new(),
                x: encoder.embed_text(part.ids)?,
                layer: 0,
            }),
            _ => Ok(LookedAtReading::Picture(picture)),
        }
    }

    /// Rows of a pass, each token behind what its sequence has read: what the first layer takes, and where
    /// they lie.
    fn place(
        &self,
        cache: &mut KvCache,
        kind: Rows,
        rows: &mut [(&mut DecoderSequence, usize)],
        tokens: &[u32],
    ) -> Result<(Tensor, Paging)> {
        cache.make_room(rows)?;
        let paging = Paging::new(&DecoderSequence::segments(rows), kind, None, self.kernels, &self.device)?;
        let x = self.decoder()?.bert.embed(tokens, &paging.positions())?;
        Ok((x, paging))
    }

    /// Goes a step on, a layer or what an answer looks at, and says whether that was the last.
    ///
    /// # Errors
    /// The device's.
    pub fn read_on(&self, cache: &mut KvCache, reading: &mut Reading) -> Result<bool> {
        let decoder = self.decoder()?;
        if let Some(next) = reading.waiting.last_mut() {
            if let Some(looked_at) = self.look_further(decoder, next)? {
                reading.read.push(looked_at);
                reading.waiting.pop();
            }
            return Ok(false);
        }
        let looking = together(reading.counts.iter().copied().zip(reading.read.iter().cloned()));
        reading.x = decoder.layer(reading.layer, &reading.x, &reading.paging, &mut cache.pool, &looking)?;
        reading.layer += 1;
        Ok(reading.layer == decoder.bert.layers())
    }

    fn look_further(&self, decoder: &TextDecoder, next: &mut LookedAtReading) -> Result<Option<Arc<LookedAt>>> {
        match (&self.texts, next) {
            (Texts::Caption { .. }, LookedAtReading::Picture(picture)) => picture.look(&decoder.bert).map(Some),
            (
                Texts::Question { encoder, .. },
                LookedAtReading::Question {
                    picture,
                    looking,
                    x,
                    layer,
                },
            ) => {
                if looking.is_empty() {
                    *looking = vec![(x.dim(1)?, picture.look(encoder)?)];
                    return Ok(None);
                }
                if *layer == encoder.layers() {
                    return decoder.bert.look_at(x).map(Arc::new).map(Some);
                }
                *x = encoder.encode_layer(*layer, x, looking, None)?;
                *layer += 1;
                Ok(None)
            }
            _ => candle_core::bail!("the prompt is another model's"),
        }
    }

    /// Ends what went through all layers: the sequences have read what is in front of their answers.
    /// Gives what each needs of the logits behind it.
    ///
    /// # Errors
    /// The device's.
    pub fn finish_reading(
        &self,
        reading: Reading,
        parts: &mut [Part],
        needs: &[Needs],
    ) -> Result<Vec<Option<RowLogits>>> {
        let mut end = 0;
        let ends = reading.counts.iter().map(|count| {
            end += count;
            reading.x.narrow(1, end - 1, 1)
        });
        let ends = Tensor::cat(&ends.collect::<Result<Vec<_>>>()?, 1)?;
        let logits = self.logits(&ends, needs)?;
        for (part, looked_at) in parts.iter_mut().zip(reading.read) {
            part.sequence.looked_at = Some(looked_at);
            part.sequence.kv.advance(self.ids_before_answer(part.ids));
        }
        Ok(logits.into_iter().map(Some).collect())
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
        let mut counted: Vec<(&mut DecoderSequence, usize)> = rows.iter_mut().map(|row| (&mut **row, 1)).collect();
        let looking = DecoderSequence::looking(&counted)?;
        let (mut x, paging) = self.place(cache, Rows::Tokens, &mut counted, tokens)?;
        let decoder = self.decoder()?;
        for layer in 0..decoder.bert.layers() {
            x = decoder.layer(layer, &x, &paging, &mut cache.pool, &looking)?;
        }
        let logits = self.logits(&x, needs)?;
        for (row, token) in rows.iter_mut().zip(tokens) {
            row.kv.advance(std::slice::from_ref(token));
        }
        Ok(logits)
    }

    /// What is needed of the logits of hidden states, `[1, rows, hidden]`.
    fn logits(&self, hidden: &Tensor, needs: &[Needs]) -> Result<Vec<RowLogits>> {
        let logits = self.decoder()?.logits(hidden)?.squeeze(0)?;
        self.logits_reader.read(&logits, needs)
    }

    /// The hidden states of a question, `[1, ids, width]`, in a model that answers questions.
    ///
    /// # Errors
    /// The model does not, or the device's.
    pub fn encode_question(&self, picture: &EncodedPicture, ids: &[u32]) -> Result<Tensor> {
        self.encode_question_recorded(picture, ids, None)
    }

    fn encode_question_recorded(
        &self,
        picture: &EncodedPicture,
        ids: &[u32],
        record: Option<&AttentionRecord>,
    ) -> Result<Tensor> {
        match &self.texts {
            Texts::Question { encoder, .. } => encoder.encode(ids, &[(ids.len(), picture.look(encoder)?)], record),
            _ => candle_core::bail!("the model answers no questions"),
        }
    }

    /// The logits behind a prompt and behind each of an answer's ids, `[1 + ids, vocabulary]`: the
    /// reference's decoder with the whole answer given.
    ///
    /// # Errors
    /// The model writes nothing, or the device's.
    pub fn forward(&self, picture: &EncodedPicture, prompt_ids: &[u32], answer_ids: &[u32]) -> Result<Tensor> {
        let decoder = self.decoder()?;
        let looked_at = match &self.texts {
            Texts::Question { .. } => {
                let question = self.encode_question(picture, prompt_ids)?;
                Arc::new(decoder.bert.look_at(&question)?)
            }
            _ => picture.look(&decoder.bert)?,
        };
        self.teacher_forced(looked_at, prompt_ids, answer_ids, None)
    }

    /// The logits behind a prompt and behind each of an answer's ids, `[1 + ids, vocabulary]`, while the decoder
    /// looks at this; what it gives it is written down where that is asked for.
    fn teacher_forced(
        &self,
        looked_at: Arc<LookedAt>,
        prompt_ids: &[u32],
        answer_ids: &[u32],
        record: Option<Arc<AttentionRecord>>,
    ) -> Result<Tensor> {
        let decoder = self.decoder()?;
        let before = self.ids_before_answer(prompt_ids);
        let ids = [before, answer_ids].concat();
        let mut cache = self.new_cache(KvCache::blocks_of(ids.len()) + 1)?;
        let mut sequence = self.new_sequence(&cache);
        let mut rows = vec![(&mut sequence, ids.len())];
        let (mut x, mut paging) = self.place(&mut cache, Rows::Prompt, &mut rows, &ids)?;
        paging.recorded = record;
        let looking = [(ids.len(), looked_at)];
        for layer in 0..decoder.bert.layers() {
            x = decoder.layer(layer, &x, &paging, &mut cache.pool, &looking)?;
        }
        let hidden = x.narrow(1, before.len() - 1, 1 + answer_ids.len())?.contiguous()?;
        decoder.logits(&hidden)?.squeeze(0)
    }

    /// What each token of an answer looked at: the ids of a caption's beginning, or of a question, and the
    /// answer's.
    ///
    /// A caption's queries are its own tokens' rows, each of which draws on itself alone. Those of an answer are
    /// the question's tokens, which looked at the picture: an answer looks at nothing else, and each of its
    /// tokens weighs them by the decoder's cross-attention.
    ///
    /// # Errors
    /// The model writes nothing, there is no answer, or the device's.
    pub fn attention(
        &self,
        picture: &EncodedPicture,
        prompt_ids: &[u32],
        answer_ids: &[u32],
    ) -> Result<AnswerAttention> {
        let read = ids_read(answer_ids)?;
        let decoder = self.decoder()?;
        let first = self.ids_before_answer(prompt_ids).len() - 1;
        let (tokens, positions) = (answer_ids.len(), picture.states.dim(1)?);
        let of_tokens = |keys| {
            let rows = first..first + tokens;
            Arc::new(AttentionRecord::new(Attending::ToLookedAt, rows, 0..keys))
        };
        let grid = self.config.vision_config.grid();
        if !matches!(self.texts, Texts::Question { .. }) {
            let record = of_tokens(positions);
            let looked_at = picture.look(&decoder.bert)?;
            let logits = self.teacher_forced(looked_at, prompt_ids, read, Some(Arc::clone(&record)))?;
            let itself = Tensor::eye(tokens, DType::F32, &self.device)?;
            return AnswerAttention::new(record.layers(), itself, grid, &logits);
        }
        let of_question = AttentionRecord::of_all(prompt_ids.len(), positions);
        let question = self.encode_question_recorded(picture, prompt_ids, Some(&of_question))?;
        let record = of_tokens(prompt_ids.len());
        let looked_at = Arc::new(decoder.bert.look_at(&question)?);
        let logits = self.teacher_forced(looked_at, prompt_ids, read, Some(Arc::clone(&record)))?;
        let weights = mean_of_layers(&record.layers())?;
        AnswerAttention::new(of_question.layers(), weights, grid, &logits)
    }
}
