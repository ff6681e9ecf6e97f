//! An answer's events, as they come.

use std::time::Duration;

use futures::StreamExt;
use futures::future::{Either, select};
use leptos::prelude::*;
use leptos::server_fn::codec::ByteStream;

use super::lines::Lines;
use crate::api::{AnswerEvent, AnswerLine, ApiError, ErrorCode, FinishReason, Timings, TurnState, t, t_count, t_with};
use crate::app::browser::time::sleep;
use crate::app::state::{LiveTurn, State};

/// A stream that says nothing for so many looks, so far apart, is lost: the server says at least
/// every 10 s that it is there.
const LOOKS: usize = 5;
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// Why a stream was not read further.
pub enum End {
    /// The answer is complete.
    Done,
    /// There is no answer.
    Failed(ApiError),
    /// It broke off.
    Lost,
    /// The visitor turned to something else.
    Left,
}

/// Applies the events of one stream to its turn. Turns beside it that are named in it are handed to
/// `named`, to be followed by themselves.
pub async fn read(state: State, turn: &LiveTurn, stream: ByteStream<ApiError>, named: impl Fn(&LiveTurn)) -> End {
    let mut stream = stream.into_inner();
    let mut lines = Lines::default();
    // Taken up at its beginning, it is shown from its beginning.
    let mut answer = match turn.seq.get_value() {
        0 => String::new(),
        _ => turn.answer.get_untracked(),
    };
    if let (Some(scores), 0) = (&turn.scores, turn.seq.get_value()) {
        scores.update(Vec::clear);
    }
    let mut look = Box::pin(sleep(BETWEEN_LOOKS));
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
                look = Box::pin(sleep(BETWEEN_LOOKS));
                continue;
            }
        };
        silent_looks = 0;
        let Some(chunk) = chunk else { break };
        if !state.conversation.has(turn) {
            return End::Left;
        }
        let Ok(chunk) = chunk else { return End::Lost };
        for line in lines.push(&chunk) {
            let Ok(AnswerLine { seq, event }) = serde_json::from_slice(&line) else {
                return End::Failed(ApiError::new(ErrorCode::Internal, t("alert.unread_answer")));
            };
            turn.seq.set_value(seq);
            if let Some(end) = apply(state, turn, &mut answer, event, &named) {
                return end;
            }
        }
    }
    if state.conversation.has(turn) {
        End::Lost
    } else {
        End::Left
    }
}

/// Shows what an event says; the last one ends the answer.
fn apply(
    state: State,
    turn: &LiveTurn,
    answer: &mut String,
    event: AnswerEvent,
    named: impl Fn(&LiveTurn),
) -> Option<End> {
    let progress = |words: String| state.progress.set(Some(words));
    match event {
        AnswerEvent::Queued {
            position,
            turn: id,
            answer,
            beside,
            expected_seconds,
        } => {
            for (other, answer) in turn.beside.iter().zip(beside) {
                if other.answer_id().is_none() {
                    other.ids.set_value(Some((id.clone(), answer)));
                    named(other);
                }
            }
            turn.ids.set_value(Some((id, answer)));
            progress(waiting(position, expected_seconds));
        }
        AnswerEvent::Loading => progress(t("progress.loading").to_owned()),
        AnswerEvent::Started { num_beams } => {
            turn.num_beams.set(num_beams);
            progress(working(turn, num_beams));
        }
        AnswerEvent::Token { text } => {
            answer.push_str(&text);
            show(turn, answer, false);
            progress(working(turn, 1));
        }
        AnswerEvent::Score(score) => {
            progress(working(turn, 1));
            if let Some(scores) = &turn.scores {
                scores.update(|scores| scores.push(score));
            }
        }
        AnswerEvent::Kept {
            turn: id,
            answer: name,
            text,
            scores,
        } => {
            turn.ids.set_value(Some((id, name)));
            answer.clone_from(&text);
            turn.answer.set(text);
            if let (Some(shown), Some(scores)) = (&turn.scores, scores) {
                shown.set(scores);
            }
        }
        AnswerEvent::Heartbeat => {}
        AnswerEvent::Done {
            finish_reason,
            timings_ms,
            generated_tokens,
            prompt,
            further_answers,
            seed,
            ..
        } => {
            show(turn, answer, true);
            turn.prompt.set(Some(prompt));
            turn.further_answers.set(further_answers);
            turn.seed.set(seed);
            turn.tokens.set(Some(generated_tokens));
            if matches!(finish_reason, FinishReason::Stop | FinishReason::Length) {
                turn.total_ms.set(Some(timings_ms.total));
            }
            let said = summary(finish_reason, timings_ms, counted(turn, generated_tokens));
            // Read out once, and as a whole: who listens did not see the words come.
            let said = match answer.trim() {
                "" => said,
                answer => t_with("progress.answer", &[("summary", &said), ("answer", answer)]),
            };
            state.progress.set(Some(said));
            turn.state.set(TurnState::Done { finish_reason });
            return Some(End::Done);
        }
        AnswerEvent::Error { error } => return Some(End::Failed(error)),
    }
    None
}

/// Shows what has come of an answer; what is shown already and begins so stays until there is more.
fn show(turn: &LiveTurn, answer: &str, is_whole: bool) {
    let is_shown = |shown: &String| match is_whole {
        true => shown == answer,
        false => shown.starts_with(answer),
    };
    if !turn.answer.with_untracked(is_shown) {
        turn.answer.set(answer.to_owned());
    }
}

/// Where somebody who waits stands, and for how long that may be.
fn waiting(position: usize, expected_seconds: Option<f64>) -> String {
    let position = position.to_string();
    match expected_seconds.map(f64::ceil) {
        Some(seconds) if seconds >= 1.0 => t_with(
            "progress.waiting_for",
            &[("position", &position), ("seconds", &seconds.to_string())],
        ),
        _ => t_with("progress.waiting", &[("position", &position)]),
    }
}

/// What the model is doing, in a few words.
fn working(turn: &LiveTurn, num_beams: usize) -> String {
    if turn.scores.is_some() {
        t("progress.comparing").to_owned()
    } else if num_beams > 1 {
        t_count("progress.beams", num_beams, &[])
    } else if turn.answer.with_untracked(String::is_empty) {
        t("progress.looking").to_owned()
    } else {
        t("progress.answering").to_owned()
    }
}

/// What a complete answer has: so many, and the key of what.
fn counted(turn: &LiveTurn, tokens: usize) -> (usize, &'static str) {
    match &turn.scores {
        Some(scores) => (scores.with_untracked(Vec::len), "progress.texts"),
        None => (tokens, "progress.tokens"),
    }
}

/// A few words about a complete answer.
fn summary(finish_reason: FinishReason, timings: Timings, (count, key): (usize, &'static str)) -> String {
    match finish_reason {
        FinishReason::Cancelled => return t("progress.stopped").to_owned(),
        FinishReason::Interrupted => return t("progress.interrupted").to_owned(),
        FinishReason::Stop | FinishReason::Length => {}
    }
    let tenths = (timings.total / 100.0).max(1.0) as u32;
    let time = format!("{}.{}", tenths / 10, tenths % 10);
    let time = t_with("seconds", &[("seconds", &time)]);
    t_count(key, count, &[("time", &time)])
}
