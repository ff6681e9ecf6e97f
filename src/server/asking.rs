//! Asking: a question becomes a turn, and its answer is on the way.

use std::sync::Arc;

use super::answers::Running;
use super::options::Chosen;
use super::state::Shared;
use crate::api::{ApiError, AskRequest, ConversationId, ErrorKind, FinishReason, Turn, TurnState};
use crate::engine::Question;
use crate::processor::{Exchange, Prompt};

/// Earlier turns that the demo model is told: it has learned from conversations of up to three.
const DEMO_TURNS: usize = 2;

fn is_answered(turn: &Turn) -> bool {
    let complete = matches!(
        turn.state,
        TurnState::Done {
            finish_reason: FinishReason::Stop | FinishReason::Length
        }
    );
    let is_question = !turn.question.is_empty() && turn.prompt.as_ref() != Some(&turn.question);
    complete && is_question && !turn.answer.trim().is_empty()
}

impl Shared {
    /// Puts a question to the model.
    ///
    /// # Errors
    /// The question breaks a limit, a setting is wrong, the conversation is gone or busy, or
    /// the queue is full; then the conversation is as it was.
    pub fn ask(&self, request: AskRequest) -> Result<Arc<Running>, ApiError> {
        let chosen = self.chosen(&request)?;
        let id = request.conversation;
        let question = self.check_question(request.question)?;
        let mut options = self.options(&chosen.settings).map_err(|error| chosen.refuse(&error))?;
        let prompt = self.prompt(&id, question.clone(), &chosen, options.max_new_tokens)?;
        options.stop_strings = self.stop_strings(&chosen.settings)?;
        let num_beams = options.num_beams;
        let sent = prompt.text().unwrap_or_default();
        let picture = self
            .store
            .begin_turn(&id, question.as_deref().unwrap_or_default(), &sent)?;
        match self.engine.ask(Question {
            picture,
            prompt,
            options,
        }) {
            Ok(events) => Ok(self.answers.begin(id, sent, num_beams, events)),
            Err(error) => {
                self.store.withdraw_turn(&id);
                Err(error.into())
            }
        }
    }

    /// What is sent to the model with the picture.
    fn prompt(
        &self,
        id: &ConversationId,
        question: Option<String>,
        chosen: &Chosen,
        max_new_tokens: usize,
    ) -> Result<Prompt, ApiError> {
        let settings = &chosen.settings;
        let refuse = |sentence: &str| Err(ApiError::new(ErrorKind::BadRequest, sentence));
        let context_turns = self.context_turns(settings).map_err(|error| chosen.refuse(&error))?;
        match (question, settings.prefix.clone()) {
            (Some(_), Some(_)) => {
                refuse("prefix is how a caption begins, and there is a question. Leave one of them out.")
            }
            (None, _) if settings.raw == Some(true) => {
                refuse("raw sends a question as it is, and there is none. Add one, or leave raw out.")
            }
            (None, None) => Ok(Prompt::Caption),
            (None, Some(prefix)) => self
                .check_question(Some(prefix))
                .map(|prefix| prefix.map_or(Prompt::Caption, Prompt::Raw)),
            (Some(question), None) if settings.raw == Some(true) => Ok(Prompt::Raw(question)),
            (Some(question), None) => {
                let earlier = self.earlier_turns(id, context_turns)?;
                let text = &self.engine.model().processor.text;
                Ok(text.conversation(earlier, question, max_new_tokens))
            }
        }
    }

    /// What was said before, as far as the model is told.
    ///
    /// A turn that was stopped or failed takes no part, nor does a caption, which is no
    /// answer to anything, nor what was sent as it was, which need not be a question.
    fn earlier_turns(&self, id: &ConversationId, most: Option<usize>) -> Result<Vec<Exchange>, ApiError> {
        let limit = self.store.limits().turns;
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
                "The question has {chars} characters, and at most {limit} are accepted (--max-question-chars). Ask a shorter one."
            ));
        }
        Ok(Some(question.to_string()))
    }
}
