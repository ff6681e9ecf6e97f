//! The types that travel between page and server, as JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ApiError, Fields, SettingsPanel};

/// Names a conversation: 128 random bits in hexadecimal, so that nobody can
/// guess the address of another visitor's conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConversationId(pub String);

impl std::fmt::Display for ConversationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names a turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TurnId(pub String);

/// Names one answer of a turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AnswerId(pub String);

/// A picture as the page shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PictureInfo {
    /// Where the re-encoded preview is served.
    pub url: String,
    /// Size of the picture that was uploaded, in pixels, after its EXIF orientation.
    pub width: u32,
    pub height: u32,
}

/// What became of a turn's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TurnState {
    /// The answer is waiting for the model or being generated.
    Answering,
    /// The answer is complete.
    Done { finish_reason: FinishReason },
    /// There is no answer, or only its beginning.
    Failed { error: ApiError },
}

/// How well a text fits a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextScore {
    pub text: String,
    /// The probability that they belong together, from 0 to 1.
    #[serde(rename = "match")]
    pub probability: f32,
    /// Of their vectors, from -1 to 1.
    pub cosine: f32,
}

/// What a visitor thinks of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    pub is_good: bool,
    /// In his words; empty where he used none.
    #[serde(default)]
    pub note: String,
}

/// A conversation as a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportedFile {
    /// What it is called.
    pub name: String,
    pub media_type: String,
    pub text: String,
}

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    pub id: TurnId,
    /// Of the answer that is shown.
    pub answer_id: AnswerId,
    /// Empty where a caption was asked for; of texts that are compared with the picture, one a line.
    pub question: String,
    /// Its text, as far as it has come.
    pub answer: String,
    /// The text that was sent to the model with the picture, empty for a caption; not known
    /// before the model has begun.
    #[serde(default)]
    pub prompt: Option<String>,
    /// The other answers, where several were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_answers: Vec<String>,
    /// How well each text fits, of a model that compares, as far as they have come; none of one that writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<Vec<TextScore>>,
    /// What the tokens were drawn from, where they were: with it the answer comes again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    #[serde(flatten)]
    pub state: TurnState,
    /// The name of the model that answered; empty where an older Glimpse did not say.
    #[serde(default)]
    pub model: String,
    /// How long it took to answer, in milliseconds, waiting not counted; of a whole answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<f64>,
    /// Tokens of the answer, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// The turn that it follows; several that follow the same one are branches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TurnId>,
    /// Earlier answers of the same model, the first first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Turn>,
    /// What the visitor thinks of the answer, where he said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feedback: Option<Feedback>,
    /// The same question as other models answered it, where it was put to several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compared: Vec<Turn>,
}

/// All that was said about one picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    pub id: ConversationId,
    pub picture: PictureInfo,
    pub turns: Vec<Turn>,
}

/// What a visitor asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskRequest {
    pub conversation: ConversationId,
    /// `None` asks for a caption; an empty question is refused.
    pub question: Option<String>,
    /// What a model that compares is asked in the place of a question: how well each fits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
    /// The name of the model that is asked; the first where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// That of another model, which is asked the same beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare_with: Option<String>,
    /// Behind the turn that began last, where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The settings of the page.
    #[serde(default)]
    pub fields: Fields,
    /// The settings of a script, which has no page: those of
    /// `chat::Settings`, by name.
    #[serde(flatten, skip_serializing)]
    pub settings: Map<String, Value>,
}

/// Where a question belongs in its conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Behind this turn, or at the beginning. Where another turn follows already, it is a branch.
    After(Option<TurnId>),
    /// Another answer to what was asked in this turn; the question that is sent does not count.
    Again(TurnId),
    /// This answer once more, with room for twice as many tokens: neither question nor settings count.
    Longer(AnswerId),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model said its end token.
    Stop,
    /// The answer reached the allowed number of tokens.
    Length,
    /// The visitor pressed Stop.
    Cancelled,
    /// The server ended in the middle of it, or nobody followed it any more.
    Interrupted,
}

/// How long each part of an answer took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Opening the checkpoint; 0 where the model was there already.
    pub load: f64,
    /// Pixels, vision tower, Q-Former and projection.
    pub image: f64,
    /// The prompt, up to the first token's logits.
    pub prefill: f64,
    /// All further tokens.
    pub decode: f64,
    /// From the question to its last token, waiting not counted.
    pub total: f64,
}

/// One line of an answer's stream (newline-delimited JSON).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerLine {
    /// Counts the answer's events from 1; a heartbeat has the number of the event before it.
    /// With it a stream that broke off is taken up.
    pub seq: u64,
    #[serde(flatten)]
    pub event: AnswerEvent,
}

/// What happens to an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum AnswerEvent {
    /// Waiting for the model; position 1 is next.
    Queued {
        position: usize,
        /// How long until the model begins, as far as can be told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected_seconds: Option<f64>,
        turn: TurnId,
        answer: AnswerId,
        /// The answers of other models to the same question, each followed by itself.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        beside: Vec<AnswerId>,
    },
    /// Waiting until the model is loaded, and there is memory for it.
    Loading,
    /// The model has begun. With more than one beam nothing follows until all are searched.
    Started { num_beams: usize },
    /// The next piece of the answer's text.
    Token { text: String },
    /// How well the next text fits, of a model that compares.
    Score(TextScore),
    /// All of the answer, in the place of whatever came before: the server was started anew since, and has it as
    /// it was kept. The last line follows.
    Kept {
        turn: TurnId,
        answer: AnswerId,
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scores: Option<Vec<TextScore>>,
    },
    /// Nothing has happened for a while; the connection and the answer live.
    Heartbeat,
    /// The last line of an answer.
    Done {
        finish_reason: FinishReason,
        timings_ms: Timings,
        /// Those that stand for the picture included; not known of an answer as it was kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prompt_tokens: Option<usize>,
        generated_tokens: usize,
        /// The text that was sent to the model with the picture; empty for a caption.
        prompt: String,
        /// The other answers, where several were asked for.
        #[serde(default)]
        further_answers: Vec<String>,
        /// What the tokens were drawn from, where they were: with it the answer comes again.
        #[serde(default)]
        seed: Option<u64>,
    },
    /// The last line where no answer could be given.
    Error {
        #[serde(flatten)]
        error: ApiError,
    },
}

/// A conversation in the list of a visitor's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversationEntry {
    pub id: ConversationId,
    /// Of its picture.
    pub url: String,
    /// As its owner called it, or what was asked first; empty where nothing was asked.
    pub title: String,
    pub turns: usize,
    pub is_pinned: bool,
    /// When something was last asked or answered, in milliseconds since 1970.
    pub updated: i64,
}

/// A visitor's conversations, and how many are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Those that are pinned first, then the latest.
    pub entries: Vec<ConversationEntry>,
    /// A new one makes the oldest go, from this many on.
    pub limit: usize,
    /// For how many days one is kept after its last use; none is for ever.
    pub days: Option<u64>,
}

/// Why an answer is as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// In their order; together they are the answer.
    pub words: Vec<ExplainedWord>,
    /// Where the model looked for all of it, as a picture to be laid over the one that was asked about: a `data:` address.
    pub map: String,
}

/// A word of an answer, with the white space before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedWord {
    pub text: String,
    /// How likely the model found it behind what was there, before any setting: from 0 to 1.
    pub probability: f32,
    /// What might have come in its place, the likeliest first; a text that is empty ends the answer.
    pub others: Vec<OtherWord>,
    /// Where the model looked for this word.
    pub map: String,
}

/// What might have come in a word's place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OtherWord {
    pub text: String,
    pub probability: f32,
}

/// The model that answers, for the status line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Hub id or folder name.
    pub name: String,
    /// `CPU`, `CUDA 0`, `Metal`.
    pub device: String,
    /// As `--dtype` calls it: `f32`, `q4_k`.
    pub dtype: String,
    /// The small model that ships with Glimpse, which knows a small world only.
    pub is_demo: bool,
    pub offers: Offers,
    /// How other programs would have it answer, in the page's settings.
    pub presets: Vec<Preset>,
}

/// Settings that go together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preset {
    /// As the page calls it.
    pub name: String,
    /// All that is not as it is by default.
    pub fields: Fields,
}

/// What a model can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    pub questions: bool,
    pub captions: bool,
    /// How well texts fit a picture.
    pub matching: bool,
}

impl Offers {
    /// What another model offers too.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        Self {
            questions: self.questions && other.questions,
            captions: self.captions && other.captions,
            matching: self.matching && other.matching,
        }
    }

    /// Whether there is anything.
    pub fn is_something(self) -> bool {
        self.questions || self.captions || self.matching
    }
}

/// A picture with a question that goes well with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Where a small copy of the picture is served.
    pub url: String,
    /// What the picture shows, in words.
    pub alt: String,
    /// Empty asks for a caption.
    pub question: String,
    /// What a model that compares is asked.
    pub texts: Vec<String>,
}

/// What goes with every picture, for a model that writes no captions.
const ANY_QUESTION: &str = "What is in the picture?";

impl Example {
    /// The question that a model which offers these is asked; empty for a caption.
    pub fn question_for(&self, offers: Offers) -> &str {
        match (offers.questions, offers.captions) {
            (false, _) => "",
            (true, false) if self.question.is_empty() => ANY_QUESTION,
            _ => &self.question,
        }
    }

    /// The texts that a model which offers these compares with it; none where it asks something else.
    pub fn texts_for(&self, offers: Offers) -> &[String] {
        if offers.matching { &self.texts } else { &[] }
    }
}

/// What the page is called, and what it says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Branding {
    pub title: String,
    /// In the place of the page's own welcome.
    pub description: Option<String>,
    /// A quiet line, where the host has something to say.
    pub notice: Option<String>,
}

impl Default for Branding {
    fn default() -> Self {
        Self {
            title: "Glimpse".to_owned(),
            description: None,
            notice: None,
        }
    }
}

/// Rules of style that a page carries beside its stylesheet.
#[cfg(feature = "ssr")]
#[derive(Clone, Debug, Default)]
pub struct PageStyle(pub Option<String>);

/// Gives a file of the page the address by which it is kept: with the hash of its bytes.
#[cfg(feature = "ssr")]
#[derive(Clone, Copy)]
pub struct FileAddress(pub fn(&str) -> String);

/// Everything the page needs to render itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageState {
    /// Of the page's code that this server has: a page with another one was loaded from an older or a newer Glimpse.
    pub version: String,
    /// That of whoever chooses none.
    pub model: ModelInfo,
    /// All that answer, that one first.
    pub models: Vec<ModelInfo>,
    /// The models that a failed form asked.
    pub chosen: Vec<String>,
    pub branding: Branding,
    /// Whether whoever looks sits at the server's own machine, and may set it up.
    pub may_set_up: bool,
    pub examples: Vec<Example>,
    /// The conversation that the address names.
    pub conversation: Option<Conversation>,
    /// What went wrong with a form that was posted without JavaScript, or with the address.
    pub error: Option<ApiError>,
    /// The question of a form that failed, so that nothing typed is lost.
    pub draft: String,
    /// Its texts, where it had them compared.
    pub draft_texts: Vec<String>,
    /// The picture's address of such a form.
    pub draft_address: String,
    /// Known to the server only: the browser has the settings' fields from it as they are.
    #[serde(skip)]
    pub settings: SettingsPanel,
    /// Whether a picture may be put in from an address.
    pub takes_addresses: bool,
    pub limits: PageLimits,
}

/// The limits that the page tells the visitor before the server has to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageLimits {
    /// Of a picture's file; a larger one is refused before it is sent.
    pub upload_bytes: usize,
    /// Pixels of a photo's shorter side: a browser makes a large one so small before it sends it. 0: none.
    pub photo_side: usize,
    /// For how long an answer can be taken up after its end.
    pub keep_answers_seconds: u64,
    /// Characters, counted as the server counts them.
    pub question_chars: usize,
    /// Texts that are compared at once.
    pub texts: usize,
    /// Answers of a conversation.
    pub turns: usize,
}
