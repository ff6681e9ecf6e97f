//! What was said, as JSON for other programs. The names of its fields stay; they are described in `docs/export.md`.

use serde::Serialize;

use super::date::iso;
use crate::chat::{
    Answer, AnswerState, Conversation, Feedback, FinishReason, PictureInfo, Settings, TextScore, Timings, Turn, TurnId,
};
use crate::store::RatedAnswer;

/// Names the form; another number means that a program which reads it has to be changed.
const FORMAT: &str = "glimpse-conversation/1";

/// A conversation.
#[derive(Debug, Serialize)]
pub struct ExportedConversation {
    pub format: &'static str,
    /// As the owner called it, or what was asked first; null where that was a caption.
    pub title: Option<String>,
    /// When it began.
    pub created: String,
    pub picture: ExportedPicture,
    pub turns: Vec<ExportedTurn>,
    /// Where all visitors' are exported: its id, and a name of its owner.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

/// What tells one conversation from another where there are many.
#[derive(Debug, Serialize)]
pub struct Kept {
    pub id: String,
    pub visitor: String,
}

/// In pixels, after its EXIF orientation.
#[derive(Debug, Serialize)]
pub struct ExportedPicture {
    pub width: u32,
    pub height: u32,
}

/// A question with its answers.
#[derive(Debug, Serialize)]
pub struct ExportedTurn {
    /// The turn that it follows, by its place in the list, from 0; null where it follows none. Several that follow
    /// the same one are branches.
    pub follows: Option<usize>,
    /// Null where a caption was asked for, or texts were compared.
    pub question: Option<String>,
    /// The texts that were compared with the picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub texts: Option<Vec<String>>,
    /// In the order in which they were asked for.
    pub answers: Vec<ExportedAnswer>,
}

/// One answer.
#[derive(Debug, Serialize)]
pub struct ExportedAnswer {
    pub model: String,
    pub text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub further_texts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<Vec<TextScore>>,
    pub settings: Settings,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// `stop`, `length`, `cancelled`, `interrupted`, `failed` or `running`.
    pub finish_reason: &'static str,
    /// The code of what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings_ms: Option<Timings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedback: Option<ExportedFeedback>,
}

/// What the owner thinks of an answer.
#[derive(Debug, Serialize)]
pub struct ExportedFeedback {
    /// `good` or `bad`.
    pub value: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What somebody thinks of an answer, with all that it is about.
#[derive(Debug, Serialize)]
pub struct ExportedRating {
    pub conversation: String,
    pub visitor: String,
    /// Null where a caption was asked for.
    pub question: Option<String>,
    pub answer: String,
    pub model: String,
    pub settings: Settings,
    #[serde(flatten)]
    pub feedback: ExportedFeedback,
    pub created: String,
}

impl From<Conversation> for ExportedConversation {
    fn from(conversation: Conversation) -> Self {
        let title = conversation.name();
        let ids: Vec<TurnId> = conversation.turns.iter().map(|turn| turn.id.clone()).collect();
        let PictureInfo { width, height, .. } = conversation.picture;
        Self {
            format: FORMAT,
            title,
            created: iso(conversation.created),
            picture: ExportedPicture { width, height },
            turns: conversation
                .turns
                .into_iter()
                .map(|turn| exported(turn, &ids))
                .collect(),
            kept: None,
        }
    }
}

impl ExportedConversation {
    /// The same with what tells it from those of other visitors.
    pub fn of_many(conversation: Conversation) -> Self {
        let kept = Kept {
            id: conversation.id.to_string(),
            visitor: conversation.owner.to_string(),
        };
        Self {
            kept: Some(kept),
            ..conversation.into()
        }
    }
}

fn exported(turn: Turn, ids: &[TurnId]) -> ExportedTurn {
    let texts = turn.texts();
    let is_question = texts.is_none() && !turn.question.is_empty();
    ExportedTurn {
        follows: ids.iter().position(|id| turn.parent.as_ref() == Some(id)),
        texts,
        question: is_question.then_some(turn.question),
        answers: turn.answers.into_iter().map(Into::into).collect(),
    }
}

impl From<Answer> for ExportedAnswer {
    fn from(answer: Answer) -> Self {
        let (finish_reason, error) = match &answer.state {
            AnswerState::Running => ("running", None),
            AnswerState::Done(reason) => (finish(*reason), None),
            AnswerState::Failed(error) => ("failed", Some(error.code())),
        };
        Self {
            model: answer.model,
            text: answer.text,
            further_texts: answer.further_texts,
            scores: answer.scores,
            settings: answer.settings,
            seed: answer.seed,
            prompt: answer.prompt,
            finish_reason,
            error,
            timings_ms: answer.timings,
            feedback: answer.feedback.map(Into::into),
        }
    }
}

fn finish(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Cancelled => "cancelled",
        FinishReason::Interrupted => "interrupted",
    }
}

impl From<Feedback> for ExportedFeedback {
    fn from(feedback: Feedback) -> Self {
        Self {
            value: if feedback.is_good { "good" } else { "bad" },
            note: feedback.note,
        }
    }
}

impl From<RatedAnswer> for ExportedRating {
    fn from(rated: RatedAnswer) -> Self {
        Self {
            conversation: rated.conversation.to_string(),
            visitor: rated.visitor.to_string(),
            question: Some(rated.question).filter(|question| !question.is_empty()),
            answer: rated.text,
            model: rated.model,
            settings: rated.settings,
            feedback: rated.feedback.into(),
            created: iso(rated.created),
        }
    }
}
