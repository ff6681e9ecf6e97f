//! The events of one answer, in as little memory as they take: most are a piece of its text, and
//! they are kept for a while after its end.

use std::mem::size_of;

use crate::chat::{Completion, Event, EventKind};

/// Events in order, of which the first has the number 1.
#[derive(Default)]
pub struct EventLog {
    /// Of all tokens, one behind the other.
    text: String,
    entries: Vec<Entry>,
    /// Behind the last nothing comes.
    is_over: bool,
}

enum Entry {
    /// Where in the text it begins and ends.
    Token {
        start: u32,
        end: u32,
    },
    Other(Box<EventKind>),
}

impl EventLog {
    /// Adds an event, and says how many there are.
    pub fn push(&mut self, kind: EventKind) -> usize {
        self.is_over = kind.is_last();
        let entry = match kind {
            EventKind::Token { text } => self.token(text),
            other => Entry::Other(Box::new(other)),
        };
        self.entries.push(entry);
        if self.is_over {
            self.text.shrink_to_fit();
            self.entries.shrink_to_fit();
        }
        self.entries.len()
    }

    fn token(&mut self, text: String) -> Entry {
        let (start, end) = (self.text.len(), self.text.len() + text.len());
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) => {
                self.text.push_str(&text);
                Entry::Token { start, end }
            }
            // No answer is so long.
            _ => Entry::Other(Box::new(EventKind::Token { text })),
        }
    }

    /// The event at `index`, which is one less than its number.
    pub fn get(&self, index: usize) -> Option<Event> {
        let kind = match self.entries.get(index)? {
            Entry::Token { start, end } => EventKind::Token {
                // Both were ends of texts.
                text: self.text[*start as usize..*end as usize].to_owned(),
            },
            Entry::Other(kind) => EventKind::clone(kind),
        };
        let seq = index as u64 + 1;
        Some(Event { seq, kind })
    }

    /// Whether the last event is there.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Bytes that it takes, near enough.
    pub fn bytes(&self) -> usize {
        let others = self.entries.iter().map(|entry| match entry {
            Entry::Token { .. } => 0,
            Entry::Other(kind) => size_of::<EventKind>() + further_bytes(kind),
        });
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>() + others.sum::<usize>()
    }
}

/// Bytes that an event has elsewhere.
fn further_bytes(kind: &EventKind) -> usize {
    match kind {
        EventKind::Done(Completion {
            prompt, further_texts, ..
        }) => {
            let texts = further_texts.iter().map(|text| text.len() + size_of::<String>());
            prompt.len() + texts.sum::<usize>()
        }
        EventKind::Score(score) => score.text.len(),
        // A sentence at most.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> EventKind {
        EventKind::Token { text: text.to_owned() }
    }

    #[test]
    fn every_event_comes_back_as_it_was() {
        let kinds = [
            EventKind::Queued {
                position: 2,
                expected_seconds: Some(1.5),
            },
            EventKind::Loading,
            EventKind::Started { num_beams: 1 },
            token("a "),
            token("é"),
            token(""),
            EventKind::Score(crate::chat::TextScore {
                text: "a dog".into(),
                probability: 0.9,
                cosine: -0.1,
            }),
            EventKind::Failed(crate::chat::Error::QuestionEmpty),
        ];
        let mut log = EventLog::default();
        for (index, kind) in kinds.iter().enumerate() {
            assert!(!log.is_over());
            assert_eq!(log.push(kind.clone()), index + 1);
        }
        assert!(log.is_over());
        for (index, kind) in kinds.into_iter().enumerate() {
            let seq = index as u64 + 1;
            assert_eq!(log.get(index), Some(Event { seq, kind }));
        }
        assert_eq!(log.get(8), None);
    }

    #[test]
    fn an_answer_takes_little_more_than_its_text() {
        let mut log = EventLog::default();
        log.push(EventKind::Started { num_beams: 1 });
        for _ in 0..200 {
            log.push(token(" word"));
        }
        log.push(EventKind::Failed(crate::chat::Error::QuestionEmpty));
        let text = 200 * 5;
        assert!(log.bytes() < text + 200 * 16 + 1024, "{} bytes", log.bytes());
    }
}
