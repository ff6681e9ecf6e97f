//! Asking: a question becomes a turn, and its answer is on the way.

use std::sync::Arc;

use super::answers::Running;
use super::state::Shared;
use crate::api::{ApiError, AskRequest, ConversationId, ErrorKind, FinishReason, Turn, TurnState};
use crate::blip2::generation::GenerationOptions;
use crate::blip2::processor::{Exchange, Prompt};
use crate::engine::Question;

/// Earlier turns that the demo model is told: it has learned from conversations of up to three.
const DEMO_TURNS: usize = 2;

fn is_answered(turn: &Turn) -> bool {
    let complete = matches!(
        turn.state,
        TurnState::Done {
            finish_reason: FinishReason::Stop | FinishReason::Length
        }
    );
    complete && !turn.question.is_empty() && !turn.answer.trim().is_empty()
}

impl Shared {
    /// Puts a question to the model.
    ///
    /// # Errors
    /// The question breaks a limit, the conversation is gone or busy, or the queue is full;
    /// then the conversation is as it was.
    pub fn ask(&self, request: AskRequest) -> Result<Arc<Running>, ApiError> {
        let question = self.check_question(request.question)?;
        let options = self.generation_options(request.max_new_tokens)?;
        let id = request.conversation;
        let prompt = match question.clone() {
            None => Prompt::Caption,
            Some(question) => {
                let earlier = self.earlier_turns(&id, request.context_turns)?;
                let text = &self.engine.model().processor.text;
                text.conversation(earlier, question, options.max_new_tokens)
            }
        };
        let sent = prompt.text().unwrap_or_default();
        let picture = self
            .store
            .begin_turn(&id, question.as_deref().unwrap_or_default(), &sent)?;
        match self.engine.ask(Question {
            picture,
            prompt,
            options,
        }) {
            Ok(events) => Ok(self.answers.begin(id, sent, events)),
            Err(error) => {
                self.store.withdraw_turn(&id);
                Err(error.into())
            }
        }
    }

    /// What was said before, as far as the model is told.
    ///
    /// A turn that was stopped or failed takes no part, nor does a caption, which is no
    /// answer to anything.
    fn earlier_turns(&self, id: &ConversationId, most: Option<usize>) -> Result<Vec<Exchange>, ApiError> {
        let limit = self.store.limits().turns;
        if let Some(asked) = most.filter(|asked| *asked > limit) {
            return Err(ApiError::new(
                ErrorKind::BadRequest,
                format!("Earlier turns as context are 0 to {limit}, not {asked}. Change it in Settings."),
            ));
        }
        let all = if self.engine.model().is_demo { DEMO_TURNS } else { limit };
        let most = most.unwrap_or(all);
        let turns = self.store.conversation(id)?.turns;
        let answered = turns.into_iter().filter(is_answered).map(|turn| Exchange {
            question: turn.question,
            answer: turn.answer,
        });
        let mut answered: Vec<Exchange> = answered.collect();
        answered.drain(..answered.len().saturating_sub(most));
        Ok(answered)
    }

    fn check_question(&self, question: Option<String>) -> Result<Option<String>, ApiError> {
        let Some(question) = question else {
            return Ok(None);
        };
        let refuse = |sentence: String| Err(ApiError::new(ErrorKind::QuestionRefused, sentence));
        let question = question.trim();
        let (chars, limit) = (question.chars().count(), self.limits.question_chars);
        if question.is_empty() {
            return refuse("Type a question, or press Describe for a caption.".into());
        }
        if chars > limit {
            return refuse(format!(
                "The question has {chars} characters, and at most {limit} are accepted. Ask a shorter one."
            ));
        }
        Ok(Some(question.to_string()))
    }

    fn generation_options(&self, max_new_tokens: Option<usize>) -> Result<GenerationOptions, ApiError> {
        let most = self.limits.max_new_tokens;
        let max_new_tokens = max_new_tokens.unwrap_or(self.limits.default_new_tokens.min(most));
        if !(1..=most).contains(&max_new_tokens) {
            return Err(ApiError::new(
                ErrorKind::BadRequest,
                format!("An answer may have 1 to {most} tokens, not {max_new_tokens}. Change it in Settings."),
            ));
        }
        Ok(GenerationOptions {
            max_new_tokens,
            ..GenerationOptions::default()
        })
    }
}
