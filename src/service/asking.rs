//! Asking: a question becomes a turn, and its answer is on the way.

use std::sync::Arc;
use std::time::Instant;

use super::answers::{Asked, InFlightAnswer};
use super::conversations::in_one_line;
use super::errors::internal;
use super::errors::refused_setting;
use super::{Result, Service};
use crate::chat::{
    Answer, AnswerId, AnswerState, Conversation, ConversationId, Detail, Error, FinishReason, Missing, Place,
    RequestId, Settings, Turn, TurnId, Visitor,
};
use crate::engine::{ClientKey, Engine, Events, Instruction, Purpose, Submission};
use crate::generation::{GenerationOptions, OptionsError};
use crate::processor::Exchange;

/// What a visitor asks.
#[derive(Clone, Debug)]
pub struct Request {
    pub conversation: ConversationId,
    /// `None` asks for a caption; an empty question is refused.
    pub question: Option<String>,
    /// What a model that compares is asked, in the place of a question: how well each fits. Empty ones are
    /// left out.
    pub texts: Vec<String>,
    pub settings: Settings,
    /// Another answer to a question has that one's in the place of the question and texts that are given here;
    /// where it is to be longer, the settings and the model too are those of the answer.
    pub place: Place,
    /// The models that are asked, by name: none is the first of the server, two are compared.
    pub models: Vec<String>,
}

/// Models that one question may be put to.
const MOST_MODELS: usize = 2;

impl Service {
    /// Puts a question to the model, or to several; what others than the first answer is
    /// [beside](InFlightAnswer::beside) its answer. `called` gives the settings the names by which the
    /// visitor knows them.
    ///
    /// # Errors
    /// The question breaks a limit, a setting is wrong, there is no such model, the conversation is not
    /// this visitor's or busy, he has asked enough, or the process is about to end; then the
    /// conversation is as it was.
    pub async fn ask(
        &self,
        visitor: &Visitor,
        request: Request,
        called: impl Fn(&'static str) -> String + Send,
    ) -> Result<Arc<InFlightAnswer>> {
        let asked = match self.filled_in(visitor, request).await {
            Ok(request) => self.begin_answer(visitor, request, called).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &asked {
            self.activity().refused(error);
        }
        asked
    }

    async fn begin_answer(
        &self,
        visitor: &Visitor,
        request: Request,
        called: impl Fn(&'static str) -> String + Send,
    ) -> Result<Arc<InFlightAnswer>> {
        if self.is_draining() {
            return Err(Error::Ending);
        }
        let engines = self.asked_engines(&request.models)?;
        if compares(&engines)? {
            return self.begin_comparing(visitor, request, &engines).await;
        }
        if !request.texts.is_empty() {
            return Err(compares_nothing(engines[0]));
        }
        let question = self.checked_question(request.question)?;
        let refuse = |error: OptionsError| Error::SettingRefused {
            flag: self.flag_of(&error).map(str::to_owned),
            detail: refused_setting(&error, &called),
        };
        let options = self.options(&request.settings).map_err(refuse)?;
        let context_turns = self.context_turns(&request.settings).map_err(refuse)?;
        let stop_strings = checked_stop_strings(&request.settings)?;
        let conversation = self.conversation(visitor, &request.conversation).await?;
        let earlier = conversation.path_to(parent(&conversation, &request.place)?);
        let mut asked = Vec::new();
        for engine in engines {
            let model = engine.description().name.clone();
            let instruction = self.instruction(&earlier, &model, question.clone(), &request.settings, context_turns)?;
            let how = (options.clone(), stop_strings.clone());
            let (events, at) = self.submit(visitor, &conversation, engine, instruction, how).await?;
            // Where a later one does not take it, the events are dropped, and nobody was asked.
            asked.push(Asked {
                answer: Answer::begun(model, request.settings.clone()),
                events,
                at,
            });
        }
        self.begin_turn(&conversation, request.place, question.unwrap_or_default(), asked)
            .await
    }

    /// Has texts compared with a picture. Nothing is generated, so that no setting counts.
    async fn begin_comparing(
        &self,
        visitor: &Visitor,
        request: Request,
        engines: &[&Arc<dyn Engine>],
    ) -> Result<Arc<InFlightAnswer>> {
        let texts = self.checked_texts(&request.texts)?;
        let conversation = self.conversation(visitor, &request.conversation).await?;
        let mut asked = Vec::new();
        for engine in engines {
            let instruction = Instruction::Compare { texts: texts.clone() };
            let how = (GenerationOptions::default(), Vec::new());
            let (events, at) = self.submit(visitor, &conversation, engine, instruction, how).await?;
            let answer = Answer::begun_scores(engine.description().name.clone());
            asked.push(Asked { answer, events, at });
        }
        self.begin_turn(&conversation, request.place, texts.join("\n"), asked)
            .await
    }

    /// Puts something about a conversation's picture to a model; with it, how an answer is generated, and the
    /// texts that end it. Gives the moment with the events.
    async fn submit(
        &self,
        visitor: &Visitor,
        conversation: &Conversation,
        engine: &Arc<dyn Engine>,
        instruction: Instruction,
        (options, stop_strings): (GenerationOptions, Vec<String>),
    ) -> Result<(Events, Instant)> {
        self.quotas.count_question(visitor)?;
        let room = self.room(visitor.network);
        let submission = Submission {
            client: ClientKey::from(visitor.id),
            network: visitor.shared_network(),
            picture: self.pictures.prepared(&conversation.picture, engine, room).await?,
            deadline: Some(Instant::now() + self.limits.wait_time),
            instruction,
            options,
            stop_strings,
        };
        let at = Instant::now();
        Ok((engine.submit(submission)?, at))
    }

    /// Keeps answers that are on their way, of a turn of their own or of one that is there, and brings them to
    /// their end.
    async fn begin_turn(
        &self,
        conversation: &Conversation,
        place: Place,
        question: String,
        asked: Vec<Asked>,
    ) -> Result<Arc<InFlightAnswer>> {
        let begun = match place {
            Place::Again(turn) => Begun::Answer(turn),
            place => Begun::Turn(Turn {
                id: TurnId::random(),
                parent: parent(conversation, &place)?.cloned(),
                question,
                answers: asked.iter().map(|asked| asked.answer.clone()).collect(),
            }),
        };
        let conversation = conversation.id.clone();
        let (store, answers) = (Arc::clone(&self.store), Arc::clone(&self.answers));
        // In a task of its own: whoever asks may go at any moment, and a turn that is kept must
        // have somebody who brings it to its end.
        let counted = answers.count().ok_or(Error::Ending)?;
        let begun = tokio::spawn(RequestId::carry(async move {
            // The process does not end between the two.
            let _counted = counted;
            // Where it cannot be kept, the events are dropped, and nothing was asked.
            let turn = match begun {
                Begun::Turn(turn) => {
                    store.begin_turn(&conversation, &turn).await?;
                    turn.id
                }
                Begun::Answer(turn) => {
                    for asked in &asked {
                        store.begin_answer(&turn, &asked.answer).await?;
                    }
                    turn
                }
            };
            answers.begin(&conversation, &turn, asked).ok_or_else(Error::internal)
        }));
        begun.await.map_err(|error| internal(&error))?
    }

    /// The answer that is being given in a visitor's conversation, or was a moment ago.
    ///
    /// # Errors
    /// There is none to be followed, or the conversation is not his.
    pub async fn latest_answer(&self, visitor: &Visitor, id: &ConversationId) -> Result<Arc<InFlightAnswer>> {
        self.check_owner(visitor, id).await?;
        self.answers.latest(id).ok_or(Error::NotFound { what: Missing::Answer })
    }

    /// An answer that has ended, as it is kept, and its turn: the last that was asked for, unless one is named.
    ///
    /// # Errors
    /// The conversation is not his, or has no such answer that has ended.
    pub async fn kept_answer(
        &self,
        visitor: &Visitor,
        id: &ConversationId,
        answer: Option<&AnswerId>,
    ) -> Result<(TurnId, Answer)> {
        let conversation = self.conversation(visitor, id).await?;
        let of_turn = |turn: Turn| {
            let id = turn.id;
            turn.answers.into_iter().map(move |answer| (id.clone(), answer))
        };
        let mut all = conversation.turns.into_iter().flat_map(of_turn);
        let found = match answer {
            Some(id) => all.find(|(_, answer)| answer.id == *id),
            None => all.last(),
        };
        let ended = found.filter(|(_, answer)| !answer.is_running());
        ended.ok_or(Error::NotFound { what: Missing::Answer })
    }

    /// Cancels the answer that is being given in a visitor's conversation; what has come of
    /// it stays. One that has just ended needs no cancelling.
    ///
    /// # Errors
    /// The conversation is not his.
    pub async fn cancel(&self, visitor: &Visitor, id: &ConversationId) -> Result<()> {
        self.check_owner(visitor, id).await?;
        if let Some(answer) = self.answers.latest(id) {
            answer.cancel();
        }
        Ok(())
    }

    /// The same; the answer has ended when this returns.
    ///
    /// # Errors
    /// The conversation is not his.
    pub async fn stop(&self, visitor: &Visitor, id: &ConversationId) -> Result<()> {
        self.cancel(visitor, id).await?;
        if let Some(answer) = self.answers.latest(id) {
            answer.ended().await;
        }
        Ok(())
    }

    /// A request with what is known of the turn or the answer that it is about.
    ///
    /// # Errors
    /// There is none such in this visitor's conversation, it cannot be longer, or two models are named.
    async fn filled_in(&self, visitor: &Visitor, request: Request) -> Result<Request> {
        match &request.place {
            Place::Last | Place::After(_) => Ok(request),
            Place::Again(turn) => {
                let conversation = self.conversation(visitor, &request.conversation).await?;
                let turn = turn_of(&conversation, turn)?.clone();
                again(request, &turn)
            }
            Place::Longer(answer) => {
                let conversation = self.conversation(visitor, &request.conversation).await?;
                let mut turns = conversation.turns.iter();
                let found = turns.find_map(|turn| Some((turn, turn.answers.iter().find(|other| other.id == *answer)?)));
                let (turn, answer) = found.ok_or(Error::NotFound { what: Missing::Answer })?;
                let settings = self.longer(answer)?;
                let request = Request {
                    settings,
                    models: vec![answer.model.clone()],
                    place: Place::Again(turn.id.clone()),
                    ..request
                };
                again(request, turn)
            }
        }
    }

    /// The settings by which an answer that was cut off at its length comes again, and goes on.
    fn longer(&self, answer: &Answer) -> Result<Settings> {
        let most = self.limits.max_new_tokens;
        let had = answer
            .settings
            .max_new_tokens
            .map_or(self.usual_new_tokens(), |tokens| tokens as usize);
        let ended = match answer.state {
            AnswerState::Done(FinishReason::Length) if had < most => {
                return Ok(Settings {
                    max_new_tokens: Some((2 * had).min(most) as f64),
                    seed: answer.seed.map(|seed| seed as f64),
                    ..answer.settings.clone()
                });
            }
            AnswerState::Done(FinishReason::Length) => {
                let text = format!("An answer has {most} tokens at most, and this one has them. Ask on.");
                Detail::new("longest_answer", text, [("limit", most.to_string())])
            }
            _ => Detail::new("whole_answer", "This answer came to its own end. Ask on.", []),
        };
        Err(Error::BadRequest { detail: ended })
    }

    /// The engines of the models that are named.
    fn asked_engines(&self, names: &[String]) -> Result<Vec<&Arc<dyn Engine>>> {
        let Some(last) = names.last() else {
            return Ok(vec![self.engines.first()]);
        };
        if names.len() > MOST_MODELS || names[..names.len() - 1].contains(last) {
            let text = format!("A question is put to {MOST_MODELS} different models at most. Name others.");
            let detail = Detail::new("many_models", text, [("limit", MOST_MODELS.to_string())]);
            return Err(Error::BadRequest { detail });
        }
        let engine = |name: &String| self.engines.named(name);
        let missing = || Error::NotFound { what: Missing::Model };
        names.iter().map(|name| engine(name).ok_or_else(missing)).collect()
    }

    /// What the model is to do with the picture.
    fn instruction(
        &self,
        earlier: &[&Turn],
        model: &str,
        question: Option<String>,
        settings: &Settings,
        context_turns: Option<usize>,
    ) -> Result<Instruction> {
        let contradiction = |reason, text: &str| {
            Err(Error::SettingRefused {
                detail: Detail::new(reason, text, []),
                flag: None,
            })
        };
        let raw = settings.raw == Some(true);
        match (question, settings.prefix.clone()) {
            (Some(_), Some(_)) => {
                let text = "prefix is how a caption begins, and there is a question. Leave one of them out.";
                contradiction("prefix_and_question", text)
            }
            (None, _) if raw => {
                let text = "raw sends a question as it is, and there is none. Add one, or leave raw out.";
                contradiction("raw_without_question", text)
            }
            (None, prefix) => Ok(Instruction::Caption {
                prefix: self.checked_question(prefix)?,
            }),
            (Some(question), None) if raw => Ok(Instruction::Raw(question)),
            (Some(question), None) => Ok(Instruction::Question {
                question,
                earlier: earlier.iter().filter_map(|turn| exchange(turn, model)).collect(),
                context_turns,
            }),
        }
    }

    /// The texts that are compared: each in one line, and none empty.
    fn checked_texts(&self, texts: &[String]) -> Result<Vec<String>> {
        let limit = self.limits.question_chars;
        let checked = |(index, text): (usize, &String)| {
            let text = in_one_line(text);
            let (number, chars) = (index + 1, text.chars().count());
            match chars > limit {
                true => Err(Error::TextTooLong { number, chars, limit }),
                false => Ok(text),
            }
        };
        let texts = texts.iter().enumerate().map(checked);
        let texts = texts.filter(|text| text.as_ref().map_or(true, |text| !text.is_empty()));
        let texts = texts.collect::<Result<Vec<_>>>()?;
        match (texts.len(), self.limits.texts) {
            (0, _) => Err(Error::NoTexts),
            (count, limit) if count > limit => Err(Error::TooManyTexts { count, limit }),
            _ => Ok(texts),
        }
    }

    fn checked_question(&self, question: Option<String>) -> Result<Option<String>> {
        let Some(question) = question else {
            return Ok(None);
        };
        let question = question.trim();
        let (chars, limit) = (question.chars().count(), self.limits.question_chars);
        if question.is_empty() {
            return Err(Error::QuestionEmpty);
        }
        if chars > limit {
            return Err(Error::QuestionTooLong { chars, limit });
        }
        Ok(Some(question.to_owned()))
    }
}

/// What is kept anew when something was asked.
enum Begun {
    Turn(Turn),
    /// An answer to this turn.
    Answer(TurnId),
}

/// The turn that what is asked follows.
///
/// # Errors
/// The conversation has no such turn.
fn parent<'a>(conversation: &'a Conversation, place: &'a Place) -> Result<Option<&'a TurnId>> {
    match place {
        Place::Last | Place::Longer(_) => Ok(conversation.turns.last().map(|turn| &turn.id)),
        Place::After(parent) => {
            let found = parent.as_ref().map(|turn| turn_of(conversation, turn)).transpose()?;
            Ok(found.map(|turn| &turn.id))
        }
        Place::Again(turn) => Ok(turn_of(conversation, turn)?.parent.as_ref()),
    }
}

fn turn_of<'a>(conversation: &'a Conversation, id: &TurnId) -> Result<&'a Turn> {
    let found = conversation.turns.iter().find(|turn| turn.id == *id);
    found.ok_or(Error::NotFound { what: Missing::Turn })
}

/// A request for another answer to what was asked in a turn.
fn again(request: Request, turn: &Turn) -> Result<Request> {
    if request.models.len() > 1 {
        let detail = Detail::new("one_model", "Another answer is one model's. Name one.", []);
        return Err(Error::BadRequest { detail });
    }
    let (question, texts) = match turn.texts() {
        Some(texts) => (None, texts),
        None => (
            Some(turn.question.clone()).filter(|question| !question.is_empty()),
            Vec::new(),
        ),
    };
    Ok(Request {
        question,
        texts,
        ..request
    })
}

/// Whether these models compare pictures with texts.
///
/// # Errors
/// One does and another does not: there is nothing that both can be asked.
fn compares(engines: &[&Arc<dyn Engine>]) -> Result<bool> {
    let compares = |engine: &&Arc<dyn Engine>| engine.description().purpose == Purpose::Matching;
    match engines.iter().filter(|engine| compares(engine)).count() {
        0 => Ok(false),
        count if count == engines.len() => Ok(true),
        _ => {
            let does = |engine: &&Arc<dyn Engine>| {
                let description = engine.description();
                format!("{} {}", description.name, description.purpose.does())
            };
            let each = engines.iter().map(does).collect::<Vec<_>>().join(", and ");
            let text = format!("{each}: they cannot be asked the same. Choose two models that do the same.");
            let names = engines.iter().map(|engine| engine.description().name.clone());
            let models = names.collect::<Vec<_>>().join(", ");
            let detail = Detail::new("models_differ", text, [("models", models)]);
            Err(Error::BadRequest { detail })
        }
    }
}

/// Texts for a model that writes.
fn compares_nothing(engine: &Arc<dyn Engine>) -> Error {
    let description = engine.description();
    let (model, does) = (description.name.clone(), description.purpose.does());
    let text = format!(
        "{model} {does}, and compares no texts with pictures. Ask it something, or choose a model that compares."
    );
    let values = [("model", model), ("does", does.to_owned())];
    Error::QuestionRefused {
        detail: Detail::new("compares_nothing", text, values),
    }
}

/// What was said in a turn, as far as the model is told: a question with a whole answer.
///
/// A turn that was cancelled or failed takes no part, nor does a caption, which is no answer
/// to anything, nor what was sent as it was, which need not be a question. Where several models
/// answered, each goes on from its own answer.
fn exchange(turn: &Turn, model: &str) -> Option<Exchange> {
    let own = turn.answers.iter().rfind(|answer| answer.model == model);
    let answer = own.or_else(|| turn.answer())?;
    let is_whole = matches!(
        answer.state,
        AnswerState::Done(FinishReason::Stop | FinishReason::Length)
    );
    let is_question = !turn.question.is_empty() && answer.settings.raw != Some(true);
    (is_whole && is_question && !answer.text.trim().is_empty()).then(|| Exchange {
        question: turn.question.clone(),
        answer: answer.text.clone(),
    })
}

/// Stop strings that an answer is searched for, and the bytes of each: the search is short.
const MAX_STOP_STRINGS: usize = 16;
const MAX_STOP_STRING_BYTES: usize = 200;

/// Texts that end an answer.
fn checked_stop_strings(settings: &Settings) -> Result<Vec<String>> {
    let strings = settings.stop_strings.clone().unwrap_or_default();
    let fits = |string: &String| (1..=MAX_STOP_STRING_BYTES).contains(&string.len());
    if strings.len() > MAX_STOP_STRINGS || !strings.iter().all(fits) {
        let text = format!(
            "Stop strings are at most {MAX_STOP_STRINGS}, of 1 to {MAX_STOP_STRING_BYTES} bytes each. Give fewer or shorter ones."
        );
        let values = [
            ("count", MAX_STOP_STRINGS.to_string()),
            ("bytes", MAX_STOP_STRING_BYTES.to_string()),
        ];
        return Err(Error::SettingRefused {
            detail: Detail::new("many_stop_strings", text, values),
            flag: None,
        });
    }
    Ok(strings)
}
