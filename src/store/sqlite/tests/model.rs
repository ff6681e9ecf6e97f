//! Any sequence of operations gives what a simple model in memory gives, and gives it again
//! after a restart.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::chat::PictureInfo;

const LIMITS: Limits = Limits {
    conversations: 5,
    conversations_per_visitor: 2,
    bytes_per_visitor: 25,
    bytes: 1 << 40,
    age: None,
    turns: 3,
};

#[derive(Clone, Debug)]
enum Operation {
    Keep(u8),
    Begin {
        owner: usize,
        picture: u8,
    },
    Turn {
        conversation: Index,
        follows: Option<Index>,
        question: String,
    },
    Again {
        turn: Index,
    },
    Save {
        answer: Index,
        text: String,
    },
    End {
        answer: Index,
        state: AnswerState,
    },
    Adopt {
        conversation: Index,
        visitor: usize,
    },
    Restart,
}

fn operation() -> impl Strategy<Value = Operation> {
    let text = "[a-zé\"\\\\ \u{0}]{0,8}";
    let state = prop_oneof![
        Just(AnswerState::Done(FinishReason::Stop)),
        Just(AnswerState::Done(FinishReason::Cancelled)),
        Just(AnswerState::Failed(Error::model_failed())),
        Just(AnswerState::Failed(Error::TooSlow { seconds: 3 })),
    ];
    prop_oneof![
        3 => (0..4u8).prop_map(Operation::Keep),
        4 => (0..4usize, 0..4u8).prop_map(|(owner, picture)| Operation::Begin { owner, picture }),
        4 => (any::<Index>(), any::<Option<Index>>(), text).prop_map(|(conversation, follows, question)| {
            Operation::Turn { conversation, follows, question }
        }),
        2 => any::<Index>().prop_map(|turn| Operation::Again { turn }),
        2 => (any::<Index>(), text).prop_map(|(answer, text)| Operation::Save { answer, text }),
        4 => (any::<Index>(), state).prop_map(|(answer, state)| Operation::End { answer, state }),
        1 => (any::<Index>(), 0..4usize).prop_map(|(conversation, visitor)| Operation::Adopt { conversation, visitor }),
        1 => Just(Operation::Restart),
    ]
}

/// What the store should hold.
#[derive(Default)]
struct Model {
    /// In the order of their last use.
    conversations: Vec<Conversation>,
    /// How many conversations are still to begin about a picture.
    expected: HashMap<PictureId, usize>,
}

/// Nobody, and three visitors.
fn owner(number: usize) -> VisitorId {
    VisitorId([number as u8; 32])
}

impl Model {
    fn is_kept(&self, picture: &PictureId) -> bool {
        self.expected.contains_key(picture) || self.conversations.iter().any(|one| one.picture.id == *picture)
    }

    fn begin(&mut self, new: &NewConversation) -> bool {
        if !self.is_kept(&new.picture) {
            return false;
        }
        let is_idle = |one: &Conversation| !one.turns.iter().flat_map(|turn| &turn.answers).any(Answer::is_running);
        for _ in 0..MOST_GONE_AT_ONCE {
            let own = self.conversations.iter().filter(|one| one.owner == new.owner).count();
            let oldest = self
                .conversations
                .iter()
                .position(|one| one.owner == new.owner && is_idle(one));
            if let Some(oldest) = oldest.filter(|_| own >= LIMITS.conversations_per_visitor) {
                self.conversations.remove(oldest);
            }
        }
        for _ in 0..MOST_GONE_AT_ONCE {
            let unasked = self.conversations.iter().filter(|one| one.turns.is_empty()).count();
            let is_flooded = unasked >= self.conversations.len() / 4;
            let unasked = self
                .conversations
                .iter()
                .position(|one| is_flooded && one.turns.is_empty());
            let oldest = unasked.or_else(|| self.conversations.iter().position(is_idle));
            if let Some(oldest) = oldest.filter(|_| self.conversations.len() >= LIMITS.conversations) {
                self.conversations.remove(oldest);
            }
        }
        self.conversations.push(Conversation {
            id: new.id.clone(),
            owner: new.owner,
            picture: PictureInfo {
                id: new.picture,
                preview: new.preview.clone(),
                width: 640,
                height: 480,
                bytes: 10,
            },
            title: None,
            created: 0,
            turns: Vec::new(),
        });
        if let Some(count) = self.expected.get_mut(&new.picture) {
            *count -= 1;
            if *count == 0 {
                self.expected.remove(&new.picture);
            }
        }
        true
    }

    /// Makes a conversation the last used.
    fn touch(&mut self, index: usize) {
        let conversation = self.conversations.remove(index);
        self.conversations.push(conversation);
    }

    fn is_free(&self, index: usize) -> bool {
        let answers = || self.conversations[index].turns.iter().flat_map(|turn| &turn.answers);
        answers().count() < LIMITS.turns && !answers().any(Answer::is_running)
    }

    /// Where each answer is: conversation, turn, answer.
    fn answers(&self) -> Vec<(usize, usize, usize)> {
        let mut found = Vec::new();
        for (conversation, one) in self.conversations.iter().enumerate() {
            for (turn, one) in one.turns.iter().enumerate() {
                found.extend((0..one.answers.len()).map(|answer| (conversation, turn, answer)));
            }
        }
        found
    }

    fn restart(&mut self) {
        self.expected.clear();
        let turns = self.conversations.iter_mut().flat_map(|one| &mut one.turns);
        for answer in turns
            .flat_map(|turn| &mut turn.answers)
            .filter(|answer| answer.is_running())
        {
            answer.state = AnswerState::Done(FinishReason::Interrupted);
        }
    }
}

struct Pair {
    folder: tempfile::TempDir,
    store: SqliteStore,
    model: Model,
    /// All conversations that ever began.
    begun: Vec<ConversationId>,
}

impl Pair {
    async fn new() -> Self {
        let folder = folder();
        Self {
            store: opened(folder.path()).await,
            folder,
            model: Model::default(),
            begun: Vec::new(),
        }
    }

    /// Does the same to both, and compares what they say.
    async fn apply(&mut self, operation: Operation) {
        let model = &mut self.model;
        let answers = model.answers();
        match operation {
            Operation::Keep(number) => {
                self.store.keep_picture(picture(number)).await.expect("there is room");
                *model.expected.entry(picture(number).id).or_default() += 1;
            }
            Operation::Begin {
                owner: number,
                picture: about,
            } => {
                let new = NewConversation::about(picture(about).id, owner(number));
                let begun = self.store.begin_conversation(&new, &LIMITS).await;
                assert_eq!(begun.is_ok(), model.begin(&new), "{begun:?}");
                self.begun.push(new.id);
            }
            Operation::Turn {
                conversation,
                follows,
                question,
            } if !model.conversations.is_empty() => {
                let index = conversation.index(model.conversations.len());
                let (id, turns) = (model.conversations[index].id.clone(), &model.conversations[index].turns);
                let mut turn = turn(&question);
                turn.parent = follows
                    .filter(|_| !turns.is_empty())
                    .map(|follows| turns[follows.index(turns.len())].id.clone());
                let begun = self.store.begin_turn(&id, &turn).await;
                assert_eq!(begun.is_ok(), model.is_free(index), "{begun:?}");
                if begun.is_ok() {
                    model.conversations[index].turns.push(turn);
                    model.touch(index);
                }
            }
            Operation::Again { turn } if !answers.is_empty() => {
                let (conversation, turn, _) = answers[turn.index(answers.len())];
                let (id, answer) = (model.conversations[conversation].turns[turn].id.clone(), running());
                let begun = self.store.begin_answer(&id, &answer).await;
                assert_eq!(begun.is_ok(), model.is_free(conversation), "{begun:?}");
                if begun.is_ok() {
                    model.conversations[conversation].turns[turn].answers.push(answer);
                    model.touch(conversation);
                }
            }
            Operation::Save { answer, text } if !answers.is_empty() => {
                let (conversation, turn, index) = answers[answer.index(answers.len())];
                let answer = &mut model.conversations[conversation].turns[turn].answers[index];
                let saved = Answer {
                    text: text + &answer.text,
                    state: AnswerState::Running,
                    ..answer.clone()
                };
                self.store.save_answer(&saved).await.expect("it is there");
                if answer.is_running() {
                    *answer = saved;
                }
            }
            Operation::End { answer, state } if !answers.is_empty() => {
                let (conversation, turn, index) = answers[answer.index(answers.len())];
                let answer = &mut model.conversations[conversation].turns[turn].answers[index];
                let ended = Answer {
                    state,
                    ..done(answer, "the end")
                };
                for _ in 0..2 {
                    self.store.save_answer(&ended).await.expect("it is there");
                }
                if answer.is_running() {
                    *answer = ended;
                    model.touch(conversation);
                }
            }
            Operation::Adopt { conversation, visitor } if !model.conversations.is_empty() => {
                let index = conversation.index(model.conversations.len());
                let conversation = &mut model.conversations[index];
                let adopted = self.store.adopt(&conversation.id, &owner(visitor)).await;
                let may = [owner(visitor), VisitorId::NOBODY].contains(&conversation.owner);
                assert_eq!(adopted.is_ok(), may, "{adopted:?}");
                if may {
                    conversation.owner = owner(visitor);
                }
            }
            Operation::Restart => {
                self.store.close().await;
                self.store = opened(self.folder.path()).await;
                model.restart();
            }
            _ => {}
        }
        self.compare().await;
    }

    async fn compare(&self) {
        for id in &self.begun {
            let kept = match self.store.conversation(id).await {
                // When it began is the clock's business.
                Ok(kept) => Some(Conversation { created: 0, ..kept }),
                Err(StoreError::NotFound) => None,
                Err(error) => panic!("{error:?}"),
            };
            let should = self.model.conversations.iter().find(|one| one.id == *id);
            assert_eq!(kept.as_ref(), should);
        }
        for number in 0..4 {
            let usage = self.store.usage(&owner(number)).await.expect("it can be counted");
            let own = self.model.conversations.iter().filter(|one| one.owner == owner(number));
            let conversations = own.count();
            assert_eq!(
                usage,
                Usage {
                    conversations,
                    bytes: 10 * conversations as u64
                }
            );
        }
        let pictures = (0..4).filter(|&number| self.model.is_kept(&picture(number).id));
        assert_eq!(files(self.folder.path()).len(), 2 * pictures.count());
    }
}

/// The store, when it has done away with what belongs to nothing.
async fn opened(folder: &Path) -> SqliteStore {
    let mut store = SqliteStore::in_folder(folder.into(), &LIMITS)
        .await
        .expect("the folder is ours");
    (&mut store.tidying).await.expect("it does not panic");
    store.tidying = tokio::spawn(async {});
    store
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_is_as_in_the_model(operations in prop::collection::vec(operation(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there are threads");
        runtime.block_on(async {
            let mut pair = Pair::new().await;
            for operation in operations {
                pair.apply(operation).await;
            }
            pair.apply(Operation::Restart).await;
            pair.store.close().await;
        });
    }
}
