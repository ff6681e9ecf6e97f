//! Asking: a question becomes a turn, and its answer is on the way.

use std::sync::Arc;

use super::answers::Running;
use super::state::Shared;
use crate::api::{ApiError, AskRequest, ErrorKind};
use crate::blip2::generation::GenerationOptions;
use crate::blip2::processor::Prompt;
use crate::engine::Question;

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
        let picture = self.store.begin_turn(&id, question.as_deref().unwrap_or_default())?;
        let prompt = question.map_or(Prompt::Caption, Prompt::Question);
        match self.engine.ask(Question {
            picture,
            prompt,
            options,
        }) {
            Ok(events) => Ok(self.answers.begin(id, events)),
            Err(error) => {
                self.store.withdraw_turn(&id);
                Err(error.into())
            }
        }
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
