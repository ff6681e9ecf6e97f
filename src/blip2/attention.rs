//! What an answer looked at: the queries of the Q-Former look at the picture, the language model at the queries.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::Blip2;
use super::language_model::LanguageModel;
use crate::nn::attention_record::{AnswerAttention, Attending, AttentionRecord, ids_read, mean_of_layers};

impl Blip2 {
    /// What each token of an answer looked at: pixel values `[1, 3, h, w]`, the ids that the Q-Former read (none
    /// but in an InstructBLIP), those of the prompt with the picture's in front, and the answer's.
    ///
    /// Queries are the Q-Former's, and each token weighs them by the attention that the row which predicted it
    /// paid to their positions: in a decoder alone its self-attention, in T5 the decoder's cross-attention.
    ///
    /// # Errors
    /// As for [`Blip2::forward_instructed`]; there is no answer.
    pub fn attention(
        &self,
        pixel_values: &Tensor,
        instruction: &[u32],
        prompt_ids: &[u32],
        answer_ids: &[u32],
    ) -> Result<AnswerAttention> {
        let read = ids_read(answer_ids)?;
        let (queries, tokens) = (self.config.num_query_tokens, answer_ids.len());
        let image_embeds = self.vision.forward(pixel_values)?;
        let of_queries = AttentionRecord::of_all(queries, image_embeds.dim(1)?);
        let looked = self
            .qformer
            .forward_recorded(&image_embeds, instruction, Some(&of_queries))?;
        let seen = self.language_projection.forward(&looked)?;
        let (attending, first) = match &self.language_model {
            LanguageModel::Decoder(_) => (Attending::ToEarlier, prompt_ids.len().saturating_sub(1)),
            LanguageModel::T5(_) => (Attending::ToLookedAt, 0),
        };
        let of_tokens = Arc::new(AttentionRecord::new(attending, first..first + tokens, 0..queries));
        let hidden = self.teacher_forced(&seen, prompt_ids, read, Some(Arc::clone(&of_tokens)))?;
        let logits = self.language_model.logits(&hidden)?;
        let weights = mean_of_layers(&of_tokens.layers())?;
        AnswerAttention::new(of_queries.layers(), weights, self.config.vision_config.grid(), &logits)
    }
}
