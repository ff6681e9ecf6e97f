//! The words of [`chat`](crate::chat) in those that the page and its server exchange.

use super::{heat_map, presets};
use crate::api::{self, t};
use crate::chat::{
    Answer, AnswerId, AnswerState, Conversation, ConversationEntry, Error, EventKind, ExplainedWord, Explanation,
    FinishReason, Missing, Other, Place, TextScore, Timings, Turn, TurnId,
};
use crate::engine::{Description, Purpose};
use crate::service::{InFlightAnswer, NumberLimit, Service};

impl From<Conversation> for api::Conversation {
    fn from(conversation: Conversation) -> Self {
        let picture = conversation.picture;
        Self {
            id: api::ConversationId(conversation.id.to_string()),
            picture: api::PictureInfo {
                url: format!("/pictures/{}", picture.preview),
                width: picture.width,
                height: picture.height,
            },
            turns: conversation.turns.into_iter().filter_map(turn).collect(),
        }
    }
}

/// A turn with the last answer of each model, and those that the same gave before.
fn turn(turn: Turn) -> Option<api::Turn> {
    let Turn {
        id,
        parent,
        question,
        answers,
    } = turn;
    let mut shown: Vec<api::Turn> = Vec::new();
    for answer in answers {
        let mut answer = answered(&id, &question, answer);
        match shown.iter_mut().find(|other| other.model == answer.model) {
            Some(last) => {
                answer.earlier = std::mem::take(&mut last.earlier);
                let before = std::mem::replace(last, answer);
                last.earlier.push(before);
            }
            None => shown.push(answer),
        }
    }
    let mut turns = shown.into_iter();
    let mut first = turns.next()?;
    first.parent = parent.map(|parent| api::TurnId(parent.to_string()));
    first.compared = turns.collect();
    Some(first)
}

impl TryFrom<api::Place> for Place {
    type Error = Error;

    /// What is no id names nothing.
    fn try_from(place: api::Place) -> Result<Self, Error> {
        let turn = |id: api::TurnId| TurnId::parse(&id.0).ok_or(Error::NotFound { what: Missing::Turn });
        Ok(match place {
            api::Place::After(parent) => Self::After(parent.map(turn).transpose()?),
            api::Place::Again(id) => Self::Again(turn(id)?),
            api::Place::Longer(answer) => {
                let answer = AnswerId::parse(&answer.0).ok_or(Error::NotFound { what: Missing::Answer });
                Self::Longer(answer?)
            }
        })
    }
}

fn answered(id: &TurnId, question: &str, answer: Answer) -> api::Turn {
    api::Turn {
        id: api::TurnId(id.to_string()),
        answer_id: api::AnswerId(answer.id.to_string()),
        question: question.to_owned(),
        prompt: answer.prompt,
        state: state(answer.state),
        answer: answer.text,
        further_answers: answer.further_texts,
        scores: answer.scores.map(|scores| scores.into_iter().map(Into::into).collect()),
        seed: answer.seed,
        model: answer.model,
        total_ms: answer.timings.map(|timings| timings.total),
        tokens: Some(answer.token_ids.len()).filter(|tokens| *tokens > 0),
        parent: None,
        earlier: Vec::new(),
        compared: Vec::new(),
    }
}

fn state(state: AnswerState) -> api::TurnState {
    match state {
        AnswerState::Running => api::TurnState::Answering,
        AnswerState::Done(reason) => api::TurnState::Done {
            finish_reason: reason.into(),
        },
        AnswerState::Failed(error) => api::TurnState::Failed { error: error.into() },
    }
}

impl From<FinishReason> for api::FinishReason {
    fn from(reason: FinishReason) -> Self {
        match reason {
            FinishReason::Stop => Self::Stop,
            FinishReason::Length => Self::Length,
            FinishReason::Cancelled => Self::Cancelled,
            FinishReason::Interrupted => Self::Interrupted,
        }
    }
}

impl From<TextScore> for api::TextScore {
    fn from(score: TextScore) -> Self {
        let TextScore {
            text,
            probability,
            cosine,
        } = score;
        Self {
            text,
            probability,
            cosine,
        }
    }
}

impl From<Timings> for api::Timings {
    fn from(timings: Timings) -> Self {
        Self {
            load: 0.0,
            image: timings.image,
            prefill: timings.prefill,
            decode: timings.decode,
            total: timings.total,
        }
    }
}

impl From<ConversationEntry> for api::ConversationEntry {
    fn from(entry: ConversationEntry) -> Self {
        let asked = entry.first_question.map(|question| match question.as_str() {
            "" => t("conversation.describe").to_owned(),
            // Texts that were compared are one a line.
            _ => question.replace('\n', " \u{b7} "),
        });
        Self {
            id: api::ConversationId(entry.id.to_string()),
            url: format!("/pictures/{}", entry.preview),
            title: entry.title.or(asked).unwrap_or_default(),
            turns: entry.turns,
            is_pinned: entry.is_pinned,
            updated: entry.updated,
        }
    }
}

impl From<Explanation> for api::Explanation {
    fn from(explanation: Explanation) -> Self {
        let address = |map| heat_map::address(&map).unwrap_or_default();
        let word = |word: ExplainedWord| api::ExplainedWord {
            text: word.text,
            probability: word.probability,
            others: word.others.into_iter().map(Into::into).collect(),
            map: address(word.map),
        };
        Self {
            words: explanation.words.into_iter().map(word).collect(),
            map: address(explanation.map),
        }
    }
}

impl From<Other> for api::OtherWord {
    fn from(Other { text, probability }: Other) -> Self {
        Self { text, probability }
    }
}

/// An event of an answer as the page hears of it.
pub fn event(answer: &InFlightAnswer, event: EventKind) -> api::AnswerEvent {
    match event {
        EventKind::Queued {
            position,
            expected_seconds,
        } => api::AnswerEvent::Queued {
            position,
            expected_seconds,
            turn: api::TurnId(answer.turn.to_string()),
            answer: api::AnswerId(answer.id.to_string()),
            beside: answer
                .beside
                .iter()
                .map(|other| api::AnswerId(other.id.to_string()))
                .collect(),
        },
        EventKind::Loading => api::AnswerEvent::Loading,
        EventKind::Started { num_beams } => api::AnswerEvent::Started { num_beams },
        EventKind::Token { text } => api::AnswerEvent::Token { text },
        EventKind::Score(score) => api::AnswerEvent::Score(score.into()),
        EventKind::Done(completion) => api::AnswerEvent::Done {
            finish_reason: completion.finish_reason.into(),
            timings_ms: completion.timings.into(),
            prompt_tokens: Some(completion.prompt_tokens),
            generated_tokens: completion.generated_tokens,
            prompt: completion.prompt,
            further_answers: completion.further_texts,
            seed: completion.seed,
        },
        EventKind::Failed(error) => api::AnswerEvent::Error { error: error.into() },
    }
}

/// The events of an answer that has ended, as it was kept.
pub fn kept((turn, answer): (TurnId, Answer)) -> [api::AnswerEvent; 2] {
    let last = match answer.state {
        AnswerState::Done(reason) => api::AnswerEvent::Done {
            finish_reason: reason.into(),
            timings_ms: answer.timings.unwrap_or_default().into(),
            prompt_tokens: None,
            generated_tokens: answer.token_ids.len(),
            prompt: answer.prompt.unwrap_or_default(),
            further_answers: answer.further_texts,
            seed: answer.seed,
        },
        AnswerState::Failed(error) => api::AnswerEvent::Error { error: error.into() },
        // It came to no end that anybody knows of.
        AnswerState::Running => api::AnswerEvent::Error {
            error: Error::internal().into(),
        },
    };
    let whole = api::AnswerEvent::Kept {
        turn: api::TurnId(turn.to_string()),
        answer: api::AnswerId(answer.id.to_string()),
        text: answer.text,
        scores: answer.scores.map(|scores| scores.into_iter().map(Into::into).collect()),
    };
    [whole, last]
}

/// A model as the page shows it, with the presets that this server lets it have.
pub fn model(service: &Service, model: &Description) -> api::ModelInfo {
    api::ModelInfo {
        name: model.name.clone(),
        device: model.device.clone(),
        dtype: model.dtype.clone(),
        is_demo: model.is_demo,
        offers: model.purpose.into(),
        presets: presets::of(service, model),
    }
}

impl From<Purpose> for api::Offers {
    fn from(purpose: Purpose) -> Self {
        Self {
            questions: matches!(purpose, Purpose::Conversation | Purpose::Answers),
            captions: matches!(purpose, Purpose::Conversation | Purpose::Captions),
            matching: purpose == Purpose::Matching,
        }
    }
}

impl From<NumberLimit> for api::NumberSetting {
    fn from(limit: NumberLimit) -> Self {
        let NumberLimit {
            name,
            min,
            max,
            is_whole,
            default,
        } = limit;
        Self {
            name,
            min,
            max,
            is_whole,
            default,
        }
    }
}
