//! Asking: a question becomes a turn, and its answer is on the way.

use std::sync::Arc;

use super::answers::Running;
use super::options::Chosen;
use super::state::Shared;
use crate::api::{ApiError, AskRequest, ConversationId, ErrorKind, FinishReason, Turn, TurnState};
use crate::chat::Secret;
use crate::engine::{ClientKey, Instruction, Submission};
use crate::processor::Exchange;

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

/// Who is served in turn: each conversation, as long as there are no visitors.
fn client(id: &ConversationId) -> ClientKey {
    Secret::parse(&id.0).map_or(ClientKey::from(0), |id| id.visitor().into())
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
        let options = self.options(&chosen.settings).map_err(|error| chosen.refuse(&error))?;
        let instruction = self.instruction(&id, question.clone(), &chosen)?;
        let stop_strings = self.stop_strings(&chosen.settings)?;
        let picture = self
            .store
            .begin_turn(&id, question.as_deref().unwrap_or_default(), "")?;
        let submitted = self.engine.submit(Submission {
            client: client(&id),
            deadline: None,
            picture,
            instruction,
            options,
            stop_strings,
        });
        match submitted {
            Ok(events) => Ok(self.answers.begin(id, events)),
            Err(error) => {
                self.store.withdraw_turn(&id);
                Err(error.into())
            }
        }
    }

    /// What the model is asked to do with the picture.
    fn instruction(
        &self,
        id: &ConversationId,
        question: Option<String>,
        chosen: &Chosen,
    ) -> Result<Instruction, ApiError> {
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
            (None, prefix) => {
                let prefix = self.check_question(prefix)?;
                Ok(Instruction::Caption { prefix })
            }
            (Some(question), None) if settings.raw == Some(true) => Ok(Instruction::Raw(question)),
            (Some(question), None) => Ok(Instruction::Question {
                question,
                earlier: self.earlier_turns(id)?,
                context_turns,
            }),
        }
    }

    /// What was said before, as far as the model may be told.
    ///
    /// A turn that was stopped or failed takes no part, nor does a caption, which is no
    /// answer to anything, nor what was sent as it was, which need not be a question.
    fn earlier_turns(&self, id: &ConversationId) -> Result<Vec<Exchange>, ApiError> {
        let turns = self.store.conversation(id)?.turns;
        let answered = turns.into_iter().filter(is_answered).map(|turn| Exchange {
            question: turn.question,
            answer: turn.answer,
        });
        Ok(answered.collect())
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
