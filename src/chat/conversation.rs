//! A conversation about a picture.

use serde::{Deserialize, Serialize};

use super::{AnswerId, ConversationId, Error, PictureId, PreviewKey, Settings, TurnId, VisitorId};

/// All that was said about one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    pub id: ConversationId,
    /// Who began it; nobody else may read it or ask in it.
    pub owner: VisitorId,
    pub picture: PictureInfo,
    /// As its owner called it; otherwise `None`.
    pub title: Option<String>,
    /// In milliseconds since 1970.
    pub created: i64,
    /// In the order in which they began.
    pub turns: Vec<Turn>,
}

impl Conversation {
    /// What it is called: by its owner, or else by what was asked first; texts that were compared are one a line
    /// there. `None` where a caption was asked for first, or nothing yet.
    pub fn name(&self) -> Option<String> {
        let asked = || Some(self.turns.first()?.question.replace('\n', " \u{b7} "));
        let name = self.title.clone().or_else(asked);
        name.filter(|name| !name.is_empty())
    }

    /// What was said up to a turn: it and those that it follows, the first first.
    pub fn path_to<'a>(&'a self, last: Option<&'a TurnId>) -> Vec<&'a Turn> {
        let mut path = Vec::new();
        let mut next = last;
        // A parent began before its turn, so that each is found before it, and none twice.
        for turn in self.turns.iter().rev() {
            if next == Some(&turn.id) {
                path.push(turn);
                next = turn.parent.as_ref();
            }
        }
        path.reverse();
        path
    }
}

/// Where a question belongs in a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Behind the turn that began last.
    #[default]
    Last,
    /// Behind this turn, or at the beginning. Where another turn follows already, it is a branch.
    After(Option<TurnId>),
    /// Another answer to what was asked in this turn.
    Again(TurnId),
    /// This answer once more, with room for twice as many tokens: it begins as it did.
    Longer(AnswerId),
}

/// What of a conversation anybody may read who has an address of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shared {
    /// With what was said until it was shared, and nothing that was said later.
    pub conversation: Conversation,
    /// When it was shared, in milliseconds since 1970.
    pub created: i64,
}

/// A conversation in the list of a visitor's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationEntry {
    pub id: ConversationId,
    pub preview: PreviewKey,
    /// As its owner called it; otherwise `None`.
    pub title: Option<String>,
    /// What was asked first, empty for a caption; `None` where nothing was asked.
    pub first_question: Option<String>,
    pub turns: usize,
    /// It comes first in the list, and is the last to make room.
    pub is_pinned: bool,
    /// When something was last asked or answered, in milliseconds since 1970.
    pub updated: i64,
}

/// The picture of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureInfo {
    pub id: PictureId,
    /// Names the JPEG that the page shows, in its address.
    pub preview: PreviewKey,
    /// Size of the picture that was put in, in pixels, after its EXIF orientation.
    pub width: u32,
    pub height: u32,
    /// Of its file and its preview, as they were put in last.
    pub bytes: usize,
}

/// A question and what was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    pub id: TurnId,
    /// The turn that it follows; several that follow the same one are branches.
    pub parent: Option<TurnId>,
    /// Empty where a caption was asked for; of texts that are compared with the picture, one a line.
    pub question: String,
    /// In the order in which they were asked for; each is an attempt of its own.
    pub answers: Vec<Answer>,
}

/// One answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub id: AnswerId,
    /// The model that gave it; empty where an older Glimpse did not say.
    pub model: String,
    pub settings: Settings,
    /// The text that was sent to the model with the picture, empty for a caption; not known
    /// before the model has begun.
    pub prompt: Option<String>,
    /// What has come of it so far; empty until the first token.
    pub text: String,
    /// The tokens of that text, by which it can be explained; empty where they are not known.
    pub token_ids: Vec<u32>,
    /// The other texts, where several were asked for at once.
    pub further_texts: Vec<String>,
    /// How well each text fits, of a model that compares: those that have come so far, in the order of the
    /// question's lines, of which each is a text. `None` of a model that writes.
    pub scores: Option<Vec<TextScore>>,
    /// What the tokens were drawn from, where they were: with it the answer comes again.
    pub seed: Option<u64>,
    /// Of an answer that came to its own end.
    pub timings: Option<Timings>,
    /// What the conversation's owner thinks of it, where he said so.
    pub feedback: Option<Feedback>,
    pub state: AnswerState,
}

impl Answer {
    /// One of which nothing has come yet.
    pub fn begun(model: String, settings: Settings) -> Self {
        Self {
            id: AnswerId::random(),
            model,
            settings,
            prompt: None,
            text: String::new(),
            token_ids: Vec::new(),
            further_texts: Vec::new(),
            scores: None,
            seed: None,
            timings: None,
            feedback: None,
            state: AnswerState::Running,
        }
    }

    /// One of a model that compares texts, likewise.
    pub fn begun_scores(model: String) -> Self {
        Self {
            scores: Some(Vec::new()),
            ..Self::begun(model, Settings::default())
        }
    }
}

/// What somebody thinks of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    pub is_good: bool,
    /// In his words.
    pub note: Option<String>,
}

/// How well a text fits a picture; kept in this form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextScore {
    pub text: String,
    /// The probability that they belong together, from 0 to 1.
    #[serde(rename = "match")]
    pub probability: f32,
    /// Of their vectors, from -1 to 1.
    pub cosine: f32,
}

/// What became of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerState {
    /// It waits for the model, or is being generated.
    Running,
    Done(FinishReason),
    /// There is none, or only its beginning.
    Failed(Error),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model said its end token, or a stop string.
    Stop,
    /// It reached the allowed number of tokens.
    Length,
    /// The visitor cancelled it.
    Cancelled,
    /// The process ended in the middle of it, or nobody followed it any more.
    Interrupted,
}

/// How long each part of an answer took, in milliseconds; kept in this form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timings {
    /// Waiting for the model.
    pub queued: f64,
    /// Pixels, vision tower, Q-Former and projection.
    pub image: f64,
    /// The prompt, up to the first token's logits.
    pub prefill: f64,
    /// All further tokens.
    pub decode: f64,
    /// Each of them, on average.
    pub per_token: f64,
    /// From the first of these to the last token; waiting is not counted.
    pub total: f64,
}

impl Turn {
    /// The answer that counts: the last that was asked for.
    pub fn answer(&self) -> Option<&Answer> {
        self.answers.last()
    }

    /// The texts that were compared with the picture, where that was asked.
    pub fn texts(&self) -> Option<Vec<String>> {
        let compares = self.answers.iter().any(|answer| answer.scores.is_some());
        compares.then(|| self.question.lines().map(str::to_owned).collect())
    }

    /// The last answer of each model, in the order in which they were first asked.
    pub fn shown_answers(&self) -> Vec<&Answer> {
        let mut shown: Vec<&Answer> = Vec::new();
        for answer in &self.answers {
            match shown.iter_mut().find(|other| other.model == answer.model) {
                Some(earlier) => *earlier = answer,
                None => shown.push(answer),
            }
        }
        shown
    }
}

impl Answer {
    /// Whether it may still change. None is when the store is opened: what a crash cut off counts
    /// as interrupted from then on.
    pub fn is_running(&self) -> bool {
        self.state == AnswerState::Running
    }
}
