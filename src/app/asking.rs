//! Asks a question and follows the answer as it comes.

use std::time::Duration;

use futures::StreamExt;
use futures::future::{Either, select};
use leptos::prelude::*;
use leptos::server_fn::codec::ByteStream;
use leptos::task::spawn_local;

use super::lines::Lines;
use super::visit::{LiveTurn, Visit};
use super::{dom, settings};
use crate::api::{
    self, AnswerEvent, ApiError, AskRequest, Conversation, ConversationId, ErrorKind, FinishReason, PageState, Timings,
    Turn, TurnState,
};

/// How long to wait before the first try to take up an answer whose stream broke off. Each
/// further wait is twice as long as the last, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// For how long that is tried: so long the server keeps what it answered.
const TRIED_FOR: Duration = Duration::from_secs(600);

/// How long a try may take; nothing comes back over a connection that died without a word.
const TRY_TAKES: Duration = Duration::from_secs(20);

/// A stream that says nothing for so many looks, so far apart, is lost: the server says at least
/// every 10 s that it is there.
const LOOKS: usize = 5;
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// What the visitor asked, and by which control.
#[derive(Clone)]
pub struct Asked {
    /// Empty asks for a caption.
    question: String,
    /// The question box, which is empty once the question is on its way.
    by_box: bool,
}

impl Asked {
    pub fn by_describe() -> Self {
        Self {
            question: String::new(),
            by_box: false,
        }
    }

    pub fn by_example(question: String) -> Self {
        Self {
            question,
            by_box: false,
        }
    }

    /// What is in the question box, or what is wrong with it.
    pub fn by_box(visit: Visit) -> Result<Self, String> {
        let question = visit
            .question
            .get_untracked()
            .map(|question| question.value())
            .unwrap_or_default();
        let question = question.trim().to_owned();
        if question.is_empty() {
            return Err("Type a question, or press Describe for a caption.".to_owned());
        }
        let most = visit.limits.with_value(|limits| limits.question_chars);
        let length = question.chars().count();
        if length > most {
            return Err(format!(
                "The question has {length} characters; at most {most} are allowed."
            ));
        }
        Ok(Self { question, by_box: true })
    }
}

/// Asks, if nothing is in the way; says so otherwise.
pub fn ask(visit: Visit, asked: Asked) {
    if visit.opening.with_untracked(Option::is_some) {
        visit.asked_early.set_value(Some(asked));
        return;
    }
    if untrack(|| visit.is_answering()) {
        return;
    }
    visit.alert.set(None);
    let question = Some(asked.question.clone()).filter(|question| !question.is_empty());
    let fields = settings::chosen(visit);
    let Some(conversation) = visit.conversation.get_untracked() else {
        let refusal = visit.refusal.get_value();
        let none = || "Choose a picture first, or try an example.".to_owned();
        return visit.alert.set(Some(refusal.unwrap_or_else(none)));
    };
    if asked.by_box
        && let Some(question) = visit.question.get_untracked()
    {
        question.set_value("");
    }
    let turn = LiveTurn::new(Turn {
        question: asked.question.clone(),
        answer: String::new(),
        state: TurnState::Answering,
        prompt: fields.get("prefix").filter(|_| question.is_none()).cloned(),
        further_answers: Vec::new(),
        seed: None,
    });
    visit.turns.update(|turns| turns.push(turn.clone()));
    if let Some(log) = visit.log.get_untracked() {
        log.set_scroll_top(0); // its end: the log is laid out from there
    }
    let request = AskRequest {
        conversation: conversation.clone(),
        question,
        fields,
        settings: Default::default(),
    };
    spawn_local(async move {
        match api::ask(request).await {
            Ok(stream) => follow(visit, conversation, turn, stream).await,
            Err(error) if visit.has(&turn) => {
                visit.turns.update(|turns| turns.retain(|other| other.key != turn.key));
                give_back(visit, &turn.question);
                if error.kind == ErrorKind::Busy {
                    catch_up(visit, &conversation).await;
                }
                visit.alert.set(Some(error.message));
            }
            Err(_) => {}
        }
    });
}

/// Asks the server to stop the answer; its stream then ends by itself.
pub fn stop(visit: Visit) {
    if let Some(conversation) = visit.conversation.get_untracked() {
        visit.progress.set(Some("Stopping".to_owned()));
        spawn_local(async move {
            if let Err(error) = api::stop(conversation).await {
                visit.alert.set(Some(error.message));
            }
        });
    }
}

/// Stops the answer that the visitor turns away from, so that the model is free for others.
pub fn abandon(visit: Visit) {
    if let Some(conversation) = visit.conversation.get_untracked()
        && untrack(|| visit.is_answering())
    {
        spawn_local(async move {
            let _ = api::stop(conversation).await;
        });
    }
}

/// Takes up the answer that was coming when the page was loaded.
pub fn take_up(visit: Visit) {
    let last = visit.turns.with_untracked(|turns| turns.last().cloned());
    if let (Some(turn), Some(conversation)) = (last, visit.conversation.get_untracked())
        && untrack(|| turn.is_answering())
    {
        spawn_local(async move {
            if let Some(stream) = reconnect(visit, &conversation, &turn).await {
                follow(visit, conversation, turn, stream).await;
            }
        });
    }
}

/// Said while a lost connection is tried again.
const LOST: &str = "Connection lost, trying again";

/// Why a stream was not read further.
enum End {
    Done,
    Failed(ApiError),
    /// It broke off.
    Lost,
    /// The visitor turned to something else.
    Left,
}

/// Reads a turn's stream to its end, taking it up again where it breaks off.
async fn follow(visit: Visit, conversation: ConversationId, turn: LiveTurn, mut stream: ByteStream<ApiError>) {
    loop {
        match read(visit, &turn, stream).await {
            End::Left => return,
            End::Done => break,
            End::Failed(error) => {
                give_back(visit, &turn.question);
                visit.progress.set(None);
                visit.alert.set(Some(error.message.clone()));
                turn.state.set(TurnState::Failed { error });
                break;
            }
            End::Lost => {
                visit.progress.set(Some(LOST.to_owned()));
                dom::sleep_or_wake(FIRST_WAIT).await;
                match reconnect(visit, &conversation, &turn).await {
                    Some(again) => stream = again,
                    None => return,
                }
            }
        }
    }
    dom::return_to_question(visit.question);
}

/// Applies the events of one stream to its turn.
async fn read(visit: Visit, turn: &LiveTurn, stream: ByteStream<ApiError>) -> End {
    let mut stream = stream.into_inner();
    let mut lines = Lines::default();
    let mut answer = String::new();
    let mut look = Box::pin(dom::sleep(BETWEEN_LOOKS));
    let mut silent_looks = 0;
    loop {
        let chunk = match select(stream.next(), look).await {
            Either::Left((chunk, rest)) => {
                look = rest;
                chunk
            }
            Either::Right(_) => {
                silent_looks += 1;
                if silent_looks == LOOKS {
                    break;
                }
                look = Box::pin(dom::sleep(BETWEEN_LOOKS));
                continue;
            }
        };
        silent_looks = 0;
        let Some(chunk) = chunk else { break };
        if !visit.has(turn) {
            return End::Left;
        }
        let Ok(chunk) = chunk else { return End::Lost };
        for line in lines.push(&chunk) {
            match serde_json::from_slice(&line) {
                Ok(AnswerEvent::Queued { position }) => {
                    visit
                        .progress
                        .set(Some(format!("Waiting, place {position} in the queue")));
                }
                Ok(AnswerEvent::Started { num_beams }) => {
                    turn.num_beams.set(num_beams);
                    visit.progress.set(Some(working(num_beams)));
                }
                Ok(AnswerEvent::Token { text }) => {
                    visit.progress.set(Some(working(1)));
                    answer.push_str(&text);
                    turn.answer.set(answer.clone());
                }
                Ok(AnswerEvent::Heartbeat) => {}
                Ok(AnswerEvent::Done {
                    finish_reason,
                    timings_ms,
                    generated_tokens,
                    prompt,
                    further_answers,
                    seed,
                    ..
                }) => {
                    turn.prompt.set(Some(prompt));
                    turn.further_answers.set(further_answers);
                    turn.seed.set(seed);
                    visit.progress.set(summary(finish_reason, timings_ms, generated_tokens));
                    turn.state.set(TurnState::Done { finish_reason });
                    return End::Done;
                }
                Ok(AnswerEvent::Error { error }) => return End::Failed(error),
                Err(_) => {
                    let sentence = "The server's answer could not be read; reload the page and try again.";
                    return End::Failed(ApiError::new(ErrorKind::Internal, sentence));
                }
            }
        }
    }
    if visit.has(turn) { End::Lost } else { End::Left }
}

/// Takes up a stream that broke off. None where that is not possible; the page
/// then shows what the server knows, or that it cannot be reached.
async fn reconnect(visit: Visit, conversation: &ConversationId, turn: &LiveTurn) -> Option<ByteStream<ApiError>> {
    let mut last = None;
    let mut wait = FIRST_WAIT;
    let began = dom::now();
    // A device that slept for longer has its one try when it wakes.
    while last.is_none() || dom::now().saturating_sub(began) < TRIED_FOR {
        match within_try(api::follow(conversation.clone())).await {
            _ if !visit.has(turn) => return None,
            Ok(stream) => return Some(stream),
            Err(error) if error.kind == ErrorKind::Unreachable => last = Some(error),
            // Nothing is being answered: the answer is complete, or the conversation is gone.
            Err(error) => match within_try(api::page_state(Some(conversation.clone()))).await {
                _ if !visit.has(turn) => return None,
                Ok(PageState {
                    conversation: Some(known),
                    ..
                }) if !is_answering(&known) => {
                    show_again(visit, known);
                    return None;
                }
                Ok(PageState {
                    conversation: None,
                    error: gone,
                    ..
                }) => {
                    last = gone.or(Some(error));
                    break;
                }
                _ => last = Some(error),
            },
        }
        visit.progress.set(Some(LOST.to_owned()));
        dom::sleep_or_wake(wait).await;
        if !visit.has(turn) {
            return None;
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
    let error = last.unwrap_or_else(unreachable);
    give_back(visit, &turn.question);
    visit.progress.set(None);
    // The turn says it; saying it in the alert too would be twice.
    turn.state.set(TurnState::Failed { error });
    None
}

/// A try's outcome; one that takes too long has not reached the server.
async fn within_try<T>(attempt: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    match select(Box::pin(attempt), Box::pin(dom::sleep(TRY_TAKES))).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => Err(unreachable()),
    }
}

/// Shows what was said elsewhere in this conversation, in another tab.
async fn catch_up(visit: Visit, conversation: &ConversationId) {
    if let Ok(PageState {
        conversation: Some(known),
        ..
    }) = api::page_state(Some(conversation.clone())).await
        && visit.conversation.get_untracked().as_ref() == Some(conversation)
    {
        show_again(visit, known);
        take_up(visit);
    }
}

/// Shows the server's account of the conversation that is on the page; its picture stays as it is.
fn show_again(visit: Visit, known: Conversation) {
    let picture = visit.picture.get_untracked();
    visit.show(Some(known));
    visit.picture.set(picture);
}

fn is_answering(conversation: &Conversation) -> bool {
    conversation
        .turns
        .last()
        .is_some_and(|turn| turn.state == TurnState::Answering)
}

fn unreachable() -> ApiError {
    ApiError::new(
        ErrorKind::Unreachable,
        "The connection was lost before the answer was complete; try again.",
    )
}

/// Puts a question that got no answer back into its box, unless something new is there.
fn give_back(visit: Visit, question: &str) {
    if let Some(input) = visit.question.get_untracked()
        && input.value().is_empty()
    {
        input.set_value(question);
    }
}

/// What the model is doing, in a few words.
pub fn working(num_beams: usize) -> String {
    if num_beams > 1 {
        format!("Searching with {num_beams} beams")
    } else {
        "Answering".to_owned()
    }
}

/// A few words about a complete answer.
fn summary(finish_reason: FinishReason, timings: Timings, tokens: usize) -> Option<String> {
    match finish_reason {
        FinishReason::Cancelled => return Some("Stopped".to_owned()),
        FinishReason::Interrupted => return Some("Interrupted".to_owned()),
        FinishReason::Stop | FinishReason::Length => {}
    }
    let tenths = (timings.total / 100.0).max(1.0) as u32;
    let plural = if tokens == 1 { "" } else { "s" };
    Some(format!("{tokens} token{plural} in {}.{} s", tenths / 10, tenths % 10))
}
