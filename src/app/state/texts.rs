//! The texts that are being typed, to be compared with the picture.

use leptos::prelude::*;

use crate::api::Conversation;

/// Boxes that are there at least.
const LEAST: usize = 3;

/// A box, and what stands in it.
#[derive(Clone)]
pub struct TextRow {
    /// Tells boxes of this page apart, and stays the same while the page shows the box.
    pub key: usize,
    pub text: ArcRwSignal<String>,
}

/// The boxes in which texts are typed.
#[derive(Clone, Copy)]
pub struct TextsState {
    pub rows: RwSignal<Vec<TextRow>>,
    /// The key of the box that is to have the focus.
    pub focused: RwSignal<Option<usize>>,
    /// Counts the boxes that there were.
    count: StoredValue<usize>,
}

impl TextsState {
    pub fn new(texts: &[String]) -> Self {
        let state = Self {
            rows: RwSignal::new(Vec::new()),
            focused: RwSignal::new(None),
            count: StoredValue::new(0),
        };
        state.replace(texts);
        state
    }

    fn row(self, text: &str) -> TextRow {
        let key = self.count.get_value();
        self.count.set_value(key + 1);
        TextRow {
            key,
            text: ArcRwSignal::new(text.to_owned()),
        }
    }

    /// What is typed, without empty boxes.
    pub fn typed(self) -> Vec<String> {
        let rows = self.rows.get();
        let texts = rows.iter().map(|row| row.text.with(|text| text.trim().to_owned()));
        texts.filter(|text| !text.is_empty()).collect()
    }

    /// Has these in the boxes, and nothing else.
    pub fn replace(self, texts: &[String]) {
        if texts == untrack(|| self.typed()) && self.rows.with_untracked(|rows| rows.len() >= LEAST) {
            return;
        }
        let mut rows: Vec<TextRow> = texts.iter().map(|text| self.row(text)).collect();
        while rows.len() < LEAST {
            rows.push(self.row(""));
        }
        self.rows.set(rows);
    }

    /// Another box, to be typed in.
    pub fn add(self) {
        let row = self.row("");
        self.focused.set(Some(row.key));
        self.rows.update(|rows| rows.push(row));
    }

    /// Takes a box away; the one before it, or the next, is to be typed in.
    pub fn remove(self, key: usize) {
        self.rows.update(|rows| {
            if let Some(place) = rows.iter().position(|row| row.key == key) {
                rows.remove(place);
                let next = rows.get(place.saturating_sub(1)).map(|row| row.key);
                self.focused.set(next);
            }
        });
    }

    /// Has each of several lines that were pasted into a box in one of its own: in it, in empty ones behind it,
    /// and in new ones.
    pub fn paste(self, key: usize, lines: &[String]) {
        self.rows.update(|rows| {
            let Some(mut place) = rows.iter().position(|row| row.key == key) else {
                return;
            };
            for (index, line) in lines.iter().enumerate() {
                let is_free = rows
                    .get(place)
                    .is_some_and(|row| row.text.with_untracked(String::is_empty));
                match is_free || index == 0 {
                    true => rows[place].text.set(line.clone()),
                    false => rows.insert(place, self.row(line)),
                }
                place += 1;
            }
        });
    }

    /// Goes on with those that were compared last in a conversation.
    pub fn go_on(self, conversation: &Conversation) {
        if let Some(last) = conversation.turns.last().filter(|turn| turn.scores.is_some()) {
            let texts: Vec<String> = last.question.lines().map(str::to_owned).collect();
            self.replace(&texts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(state: TextsState) -> Vec<String> {
        state.rows.with(|rows| rows.iter().map(|row| row.text.get()).collect())
    }

    fn key(state: TextsState, place: usize) -> usize {
        state.rows.with(|rows| rows[place].key)
    }

    #[test]
    fn boxes_come_and_go_and_what_is_typed_stays() {
        Owner::new().with(|| {
            let state = TextsState::new(&["a dog".to_owned()]);
            assert_eq!(shown(state), ["a dog", "", ""]);
            assert_eq!(state.typed(), ["a dog"]);
            let first = key(state, 0);
            state.replace(&["a dog".to_owned()]);
            assert_eq!(key(state, 0), first, "the boxes stay the same");
            state.add();
            assert_eq!(state.focused.get(), Some(key(state, 3)));
            state.remove(key(state, 1));
            assert_eq!((shown(state).len(), state.focused.get()), (3, Some(first)));
            state.replace(&[]);
            assert_eq!(state.typed(), [""; 0]);
        });
    }

    #[test]
    fn several_lines_that_are_pasted_are_several_texts() {
        Owner::new().with(|| {
            let lines = ["a cat", "a dog", "a bee"].map(str::to_owned);
            let state = TextsState::new(&[]);
            state.paste(key(state, 1), &lines);
            assert_eq!(shown(state), ["", "a cat", "a dog", "a bee"]);
            let state = TextsState::new(&["one".to_owned(), String::new(), "two".to_owned()]);
            state.paste(key(state, 1), &lines);
            assert_eq!(shown(state), ["one", "a cat", "a dog", "a bee", "two"]);
        });
    }
}
