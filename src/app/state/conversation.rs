//! The conversation on the page.

use leptos::prelude::*;

use super::turn::LiveTurn;
use crate::api::{Base, Conversation, ConversationId};

/// What was said about one picture.
#[derive(Clone, Copy)]
pub struct ConversationState {
    /// None before a picture is in.
    pub id: RwSignal<Option<ConversationId>>,
    pub picture: RwSignal<Option<ShownPicture>>,
    pub turns: RwSignal<Vec<LiveTurn>>,
}

/// A picture on the page.
#[derive(Clone, PartialEq)]
pub struct ShownPicture {
    /// Empty while the server fetches it from elsewhere.
    pub url: String,
    pub alt: String,
}

impl ConversationState {
    pub fn new() -> Self {
        Self {
            id: RwSignal::new(None),
            picture: RwSignal::new(None),
            turns: RwSignal::new(Vec::new()),
        }
    }

    /// Whether an answer is coming.
    pub fn is_answering(self) -> bool {
        self.turns
            .with(|turns| turns.last().is_some_and(LiveTurn::is_answering))
    }

    /// Whether a turn is still on the page.
    pub fn has(self, turn: &LiveTurn) -> bool {
        self.turns
            .with_untracked(|turns| turns.iter().any(|other| other.contains(turn.key)))
    }

    /// Whether a turn is the last on the page.
    pub fn is_last(self, turn: &LiveTurn) -> bool {
        self.turns
            .with_untracked(|turns| turns.last().is_some_and(|last| last.contains(turn.key)))
    }

    /// Shows a conversation, or none, in the place of what is there.
    pub fn show(self, conversation: Option<Conversation>) {
        let Some(conversation) = conversation else {
            self.id.set(None);
            self.picture.set(None);
            self.turns.set(Vec::new());
            return;
        };
        self.id.set(Some(conversation.id));
        self.picture.set(Some(ShownPicture {
            url: Base::current().at(&conversation.picture.url),
            alt: "The picture".to_owned(),
        }));
        self.turns
            .set(conversation.turns.into_iter().map(LiveTurn::new).collect());
    }

    /// Brings the conversation that is shown up to the server's account of it. Turns that are
    /// there stay the same articles: what is open in them stays open, and a screen reader is
    /// told of what is new only.
    pub fn update(self, known: Conversation) {
        if self.id.get_untracked().as_ref() != Some(&known.id) {
            return self.show(Some(known));
        }
        let shown = self.turns.get_untracked();
        let keys = |turns: &[LiveTurn]| turns.iter().map(|turn| turn.key).collect::<Vec<_>>();
        let turns: Vec<LiveTurn> = known
            .turns
            .into_iter()
            .enumerate()
            .map(|(index, turn)| match shown.get(index) {
                Some(live) if live.may_be(&turn) => {
                    live.update(turn);
                    live.clone()
                }
                _ => LiveTurn::new(turn),
            })
            .collect();
        if keys(&turns) != keys(&shown) {
            self.turns.set(turns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{AnswerId, FinishReason, PictureInfo, Turn, TurnId, TurnState};

    fn turn(question: &str, answer: &str, is_done: bool) -> Turn {
        Turn {
            id: TurnId(question.to_owned()),
            answer_id: AnswerId(question.to_owned()),
            question: question.to_owned(),
            answer: answer.to_owned(),
            prompt: None,
            further_answers: Vec::new(),
            scores: None,
            seed: None,
            model: "one".to_owned(),
            total_ms: None,
            tokens: None,
            compared: Vec::new(),
            state: if is_done {
                TurnState::Done {
                    finish_reason: FinishReason::Stop,
                }
            } else {
                TurnState::Answering
            },
        }
    }

    fn conversation(turns: Vec<Turn>) -> Conversation {
        Conversation {
            id: ConversationId("1".to_owned()),
            picture: PictureInfo {
                url: String::new(),
                width: 1,
                height: 1,
            },
            turns,
        }
    }

    #[test]
    fn an_update_keeps_the_articles_that_are_there() {
        Owner::new().with(|| {
            let state = ConversationState::new();
            state.show(Some(conversation(vec![turn("a", "one", true), turn("b", "tw", false)])));
            let keys = || {
                state
                    .turns
                    .with(|turns| turns.iter().map(|turn| turn.key).collect::<Vec<_>>())
            };
            let before = keys();
            state.update(conversation(vec![
                turn("a", "one", true),
                turn("b", "two", true),
                turn("c", "", false),
            ]));
            assert_eq!(keys()[..2], before[..]);
            assert_eq!(keys().len(), 3);
            assert_eq!(state.turns.with(|turns| turns[1].answer.get()), "two");
            assert!(state.turns.with(|turns| !turns[1].is_answering()));
            // One that was put to two models is another.
            let mut both = turn("b", "two", true);
            both.compared = vec![turn("b", "other", false)];
            state.update(conversation(vec![turn("a", "one", true), both.clone()]));
            assert_eq!(keys()[0], before[0]);
            assert_ne!(keys()[1], before[1]);
            assert!(state.is_answering(), "the other model is");
            let second = state.turns.with(|turns| turns[1].beside[0].clone());
            assert!(state.has(&second) && state.is_last(&second));
            both.compared = vec![turn("b", "other one", true)];
            state.update(conversation(vec![turn("a", "one", true), both]));
            assert_eq!(
                (second.answer.get(), state.is_answering()),
                ("other one".to_owned(), false)
            );
            // A turn that the server does not know is no turn.
            state.update(conversation(vec![turn("a", "one", true), turn("c", "", false)]));
            assert_eq!(keys()[0], before[0]);
            assert!(keys().len() == 2 && !before.contains(&keys()[1]));
        });
    }
}
