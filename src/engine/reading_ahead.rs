//! A picture in front of a prompt, read before anybody asks about it: what a language model keeps of the
//! picture's own tokens is the same for every question.

use tracing::Span;

use super::health::DeviceHealth;
use super::model::{Model, Part};
use super::prompt::SentPrompt;
use super::scheduler::guarded;
use super::warming::failed;
use crate::blip2::passes::PromptPart;
use crate::chat::PictureId;
use crate::generation::Needs;

/// A picture whose tokens are being read, a layer at a time.
pub struct ReadingAhead<M: Model> {
    reading: M::Reading,
    sequence: M::Sequence,
    encoded: M::Encoded,
}

impl<M: Model> ReadingAhead<M> {
    /// Begins with a picture, as any prompt like this one does. None where its tokens are known, or where
    /// nothing of them could be kept: the model has none in front, or reads the rest of the prompt with them.
    pub fn begin(
        model: &mut M,
        prompt: &SentPrompt,
        (id, encoded): (PictureId, M::Encoded),
        health: &DeviceHealth,
    ) -> Option<Self> {
        let tokens = model.picture_tokens();
        let is_shared = model.reads_in_parts() && prompt.instruction.is_empty() && prompt.ids.len() > tokens;
        if !is_shared || tokens == 0 || model.known(id, &prompt.ids) >= tokens {
            return None;
        }
        let mut sequence = model.new_sequence(id, &prompt.ids);
        let part = part::<M>(&mut sequence, prompt, &encoded, tokens);
        match guarded(Span::none, || Ok(model.begin_reading(&mut [part])?)) {
            Ok(reading) => Some(Self {
                reading,
                sequence,
                encoded,
            }),
            Err(error) => {
                failed(&error, health);
                None
            }
        }
    }

    /// Reads on by a layer. None where that was the last.
    pub fn go_on(mut self, model: &mut M, prompt: &SentPrompt, health: &DeviceHealth) -> Option<Self> {
        match guarded(Span::none, || Ok(model.read_on(&mut self.reading)?)) {
            Ok(false) => return Some(self),
            Ok(true) => {
                let Self {
                    reading,
                    mut sequence,
                    encoded,
                } = self;
                let part = part::<M>(&mut sequence, prompt, &encoded, model.picture_tokens());
                // It is kept when the sequence is gone.
                let finish = || Ok(model.finish_reading(reading, &mut [part], &[Needs::BestToken])?);
                if let Err(error) = guarded(Span::none, finish) {
                    failed(&error, health);
                }
            }
            Err(error) => failed(&error, health),
        }
        None
    }
}

/// The tokens of the picture, which are not the end of the prompt.
fn part<'a, M: Model>(
    sequence: &'a mut M::Sequence,
    prompt: &'a SentPrompt,
    encoded: &'a M::Encoded,
    tokens: usize,
) -> Part<'a, M> {
    PromptPart {
        sequence,
        ids: &prompt.ids,
        picture: Some(encoded),
        instruction: &prompt.instruction,
        tokens,
    }
}
