//! The conversation on the page.

use leptos::prelude::*;

use super::turn::LiveTurn;
use crate::api::{Base, Conversation, ConversationId, TurnId, t};

/// What was said about one picture.
#[derive(Clone, Copy)]
pub struct ConversationState {
    /// None before a picture is in.
    pub id: RwSignal<Option<ConversationId>>,
    pub picture: RwSignal<Option<ShownPicture>>,
    /// What is shown of it: of turns that follow the same one, one, and what follows that.
    pub turns: RwSignal<Vec<LiveTurn>>,
    /// All of them, in the order in which they began.
    pub all: RwSignal<Vec<LiveTurn>>,
}

/// What was there before a turn was begun.
pub struct Before {
    turns: Vec<LiveTurn>,
    all: Vec<LiveTurn>,
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
            all: RwSignal::new(Vec::new()),
        }
    }

    /// Whether anything was asked.
    pub fn has_turns(self) -> bool {
        self.turns.with(|turns| !turns.is_empty())
    }

    /// What the picture shows in words: what a model wrote where it was asked for a caption, or else what is known
    /// of the file.
    pub fn caption(self) -> Option<String> {
        let caption = |turn: &LiveTurn| turn.is_caption().then(|| turn.answer.get().trim().to_owned());
        let written = self.turns.with(|turns| turns.iter().find_map(caption));
        written.or_else(|| {
            self.picture
                .with(|picture| picture.as_ref().map(|picture| picture.alt.clone()))
        })
    }

    /// Whether an answer is coming.
    pub fn is_answering(self) -> bool {
        // Each is looked at, so that a change of any of them is seen.
        let is_coming = |turn: &&LiveTurn| turn.is_answering();
        self.all.with(|turns| turns.iter().filter(is_coming).count() > 0)
    }

    /// The last turn of those that are shown which the server knows.
    pub fn last_known(self) -> Option<TurnId> {
        self.turns
            .with_untracked(|turns| turns.iter().rev().find_map(LiveTurn::turn_id))
    }

    /// Whether a turn is still one of this conversation.
    pub fn has(self, turn: &LiveTurn) -> bool {
        self.all
            .with_untracked(|turns| turns.iter().any(|other| other.contains(turn.key)))
    }

    /// Whether a turn is the last on the page.
    pub fn is_last(self, turn: &LiveTurn) -> bool {
        self.turns
            .with_untracked(|turns| turns.last().is_some_and(|last| last.contains(turn.key)))
    }

    /// The turn that an answer belongs to.
    pub fn turn_of(self, answer: &LiveTurn) -> Option<LiveTurn> {
        let is_it = |turn: &&LiveTurn| turn.contains(answer.key) || turn.earlier.iter().any(|it| it.key == answer.key);
        self.turns.with_untracked(|turns| turns.iter().find(is_it).cloned())
    }

    /// Shows a conversation, or none, in the place of what is there.
    pub fn show(self, conversation: Option<Conversation>) {
        let Some(conversation) = conversation else {
            self.id.set(None);
            self.picture.set(None);
            self.all.set(Vec::new());
            self.turns.set(Vec::new());
            return;
        };
        self.id.set(Some(conversation.id));
        self.picture.set(Some(ShownPicture {
            url: Base::current().at(&conversation.picture.url),
            alt: t("picture.alt").to_owned(),
        }));
        let turns: Vec<LiveTurn> = conversation.turns.into_iter().map(LiveTurn::new).collect();
        let shown = path(&turns, turns.last());
        self.all.set(turns);
        self.turns.set(shown);
    }

    /// Shows a turn that is about to be asked: behind those that are shown, in the place of one that it is another
    /// answer to (`instead`), or of one and what follows it, as another branch. Gives what was there, to be
    /// [taken back](Self::take_back) to.
    pub fn begin(self, turn: &LiveTurn, instead: Option<&LiveTurn>) -> Before {
        let before = self.turns.get_untracked();
        let all = self.all.get_untracked();
        let is_again = !turn.earlier.is_empty();
        let place = instead.and_then(|instead| before.iter().position(|other| other.key == instead.key));
        let mut turns = before.clone();
        match place {
            Some(place) if is_again => turns[place] = turn.clone(),
            place => {
                turns.truncate(place.unwrap_or(turns.len()));
                turns.push(turn.clone());
            }
        }
        self.all.update(|all| match instead.filter(|_| is_again) {
            Some(instead) => all
                .iter_mut()
                .filter(|other| other.key == instead.key)
                .for_each(|other| *other = turn.clone()),
            None => all.push(turn.clone()),
        });
        self.turns.set(turns);
        Before { turns: before, all }
    }

    /// Takes back a turn that was begun.
    pub fn take_back(self, before: Before) {
        self.all.set(before.all);
        self.turns.set(before.turns);
    }

    /// The turns that follow the same one as this, itself among them, in the order in which they began.
    pub fn branches(self, turn: &LiveTurn) -> Vec<LiveTurn> {
        // One that never came to the server is none.
        let is_there = |other: &LiveTurn| other.key == turn.key || other.turn_id().is_some();
        let is_branch = |other: &&LiveTurn| other.parent == turn.parent && is_there(other);
        self.all
            .with_untracked(|all| all.iter().filter(is_branch).cloned().collect())
    }

    /// Shows a turn, and what follows it.
    pub fn show_branch(self, turn: &LiveTurn) {
        let path = self.all.with_untracked(|all| path(all, Some(turn)));
        self.turns.set(path);
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
        let here = self.all.get_untracked();
        let all: Vec<LiveTurn> = known
            .turns
            .into_iter()
            .map(|turn| match here.iter().find(|live| live.may_be(&turn)) {
                Some(live) => {
                    live.update(turn);
                    live.clone()
                }
                None => LiveTurn::new(turn),
            })
            .collect();
        // The branch that is shown, as long as it is there.
        let id = shown.last().and_then(LiveTurn::turn_id);
        let last = all.iter().find(|turn| id.is_some() && turn.turn_id() == id);
        let turns = path(&all, last.or(all.last()));
        self.all.set(all);
        if keys(&turns) != keys(&shown) {
            self.turns.set(turns);
        }
    }
}

/// The turns that a turn follows, it, and behind it the latest that follow.
fn path(all: &[LiveTurn], through: Option<&LiveTurn>) -> Vec<LiveTurn> {
    let Some(through) = through else {
        return Vec::new();
    };
    let mut path = vec![through.clone()];
    let mut parent = through.parent.clone();
    // Each begins before those that follow it, so that none is found twice.
    for turn in all.iter().rev() {
        if parent.is_some() && turn.turn_id() == parent {
            parent.clone_from(&turn.parent);
            path.push(turn.clone());
        }
    }
    path.reverse();
    loop {
        let last = path.last().and_then(LiveTurn::turn_id);
        match all.iter().rfind(|turn| last.is_some() && turn.parent == last) {
            Some(next) => path.push(next.clone()),
            None => return path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{AnswerId, FinishReason, PictureInfo, Turn, TurnState};

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
            parent: None,
            earlier: Vec::new(),
            feedback: None,
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

    /// Each of them follows the one before it.
    fn conversation(mut turns: Vec<Turn>) -> Conversation {
        for index in 1..turns.len() {
            turns[index].parent = Some(turns[index - 1].id.clone());
        }
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
