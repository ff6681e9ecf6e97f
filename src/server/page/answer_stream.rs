//! An answer on its way to the page: lines of JSON, with a heartbeat.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::{Stream, StreamExt};
use leptos::server_fn::codec::ByteStream;

use super::conversions;
use crate::api::{AnswerEvent, AnswerLine, ApiError, Language};
use crate::chat::{Answer, TurnId};
use crate::service::InFlightAnswer;

/// How long a stream may say nothing: proxies cut what is silent for a minute, and a page cannot
/// tell a lost connection from a long search.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// An answer's events from `after` on, one line of JSON each, with a heartbeat where it is silent.
pub fn lines(answer: &Arc<InFlightAnswer>, after: u64) -> ByteStream<ApiError> {
    let said = Arc::clone(answer);
    // It is read when the request is long over.
    let language = Language::current();
    let events = answer.follow(after).map(move |event| AnswerLine {
        seq: event.seq,
        event: language.speak(|| conversions::event(&said, event.kind)),
    });
    let lines = with_heartbeat(events, after, HEARTBEAT);
    ByteStream::new(lines.map(|line| Ok::<_, ApiError>(json_line(&line))))
}

/// An answer that has ended, as it was kept, behind `after`.
pub fn kept_lines(kept: (TurnId, Answer), after: u64) -> ByteStream<ApiError> {
    let lines = (after + 1..).zip(conversions::kept(kept)).map(|(seq, event)| {
        let line = AnswerLine { seq, event };
        Ok::<_, ApiError>(json_line(&line))
    });
    ByteStream::new(futures::stream::iter(lines.collect::<Vec<_>>()))
}

/// Adds a heartbeat wherever nothing has come for a while.
fn with_heartbeat(
    events: impl Stream<Item = AnswerLine> + Send,
    after: u64,
    silence: Duration,
) -> impl Stream<Item = AnswerLine> + Send {
    futures::stream::unfold((Box::pin(events), after), move |(mut events, last)| async move {
        let heartbeat = AnswerLine {
            seq: last,
            event: AnswerEvent::Heartbeat,
        };
        let next = tokio::time::timeout(silence, events.next()).await;
        let line = next.unwrap_or(Some(heartbeat))?;
        let last = line.seq;
        Some((line, (events, last)))
    })
}

fn json_line(line: &AnswerLine) -> Bytes {
    // Events are plain data: they always have a JSON form.
    let mut json = serde_json::to_vec(line).unwrap_or_default();
    json.push(b'\n');
    json.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_answer_shows_that_it_lives() {
        let (events, said) = futures::channel::mpsc::unbounded();
        let mut stream = Box::pin(with_heartbeat(said, 3, Duration::from_millis(1)));
        let heartbeat = |seq| {
            Some(AnswerLine {
                seq,
                event: AnswerEvent::Heartbeat,
            })
        };
        assert_eq!(stream.next().await, heartbeat(3));
        let token = AnswerLine {
            seq: 4,
            event: AnswerEvent::Token { text: "two".into() },
        };
        events.unbounded_send(token.clone()).expect("the stream listens");
        let mut next = stream.next().await;
        while next == heartbeat(3) {
            next = stream.next().await;
        }
        assert_eq!(next, Some(token), "nothing is lost by waiting");
        drop(events);
        assert!(
            stream.all(|line| async move { Some(line) == heartbeat(4) }).await,
            "it ends with the answer"
        );
    }
}
