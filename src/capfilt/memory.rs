//! What is known already of pictures that are there more than once, in whichever shard: as many as there is
//! room for, the oldest go first.
//!
//! What is drawn for a picture begins at its bytes, and what it scores is the picture's and the text's: a
//! row is the same whether something was remembered or is computed again.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use super::row::{ScoredText, hashed};
use super::web_text::prepared;
use crate::models::MatchScore;

/// Bytes of what was drawn, about: a million pictures with a text each.
const MOST_BYTES: usize = 256 << 20;

/// Scores, each of a few bytes.
const MOST_SCORES: usize = 1 << 20;

/// Of all pictures that were scored lately.
pub struct Memory {
    drawn: Recent<[u8; 32], Vec<ScoredText>>,
    scores: Recent<u128, MatchScore>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            drawn: Recent::new(MOST_BYTES),
            scores: Recent::new(MOST_SCORES),
        }
    }
}

impl Memory {
    /// What was drawn for a picture, by the hash of its bytes.
    pub fn drawn(&self, picture: &[u8; 32]) -> Option<&Vec<ScoredText>> {
        self.drawn.get(picture)
    }

    /// Remembers what was drawn for this very picture.
    pub fn add_drawn(&mut self, picture: [u8; 32], texts: &[ScoredText]) {
        let size = texts.iter().map(|text| text.text.len() + size_of::<ScoredText>());
        let size = size.sum::<usize>() + 2 * size_of_val(&picture) + size_of::<Vec<ScoredText>>();
        self.drawn.add(picture, size, || texts.to_vec());
    }

    /// How well a text fits a picture.
    pub fn score(&self, picture: &[u8; 32], text: &str) -> Option<MatchScore> {
        self.scores.get(&pair(picture, text)).copied()
    }

    /// Remembers how well a text fits a picture.
    pub fn add_score(&mut self, picture: &[u8; 32], text: &str, score: MatchScore) {
        self.scores.add(pair(picture, text), 1, || score);
    }
}

/// A picture and a text as it is compared.
fn pair(picture: &[u8; 32], text: &str) -> u128 {
    hashed(&[picture, prepared(text).as_bytes()])
}

/// A map that lets go of what came first.
struct Recent<K, V> {
    values: HashMap<K, (usize, V)>,
    order: VecDeque<K>,
    size: usize,
    most: usize,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    fn new(most: usize) -> Self {
        Self {
            values: HashMap::new(),
            order: VecDeque::new(),
            size: 0,
            most,
        }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    /// Adds what is not there.
    fn add(&mut self, key: K, size: usize, value: impl FnOnce() -> V) {
        if size > self.most || self.values.contains_key(&key) {
            return;
        }
        self.size += size;
        self.values.insert(key, (size, value()));
        self.order.push_back(key);
        while self.size > self.most
            && let Some(first) = self.order.pop_front()
        {
            self.size -= self.values.remove(&first).map_or(0, |(size, _)| size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_when_there_is_no_room() {
        let mut recent = Recent::new(10);
        for number in 0..5 {
            recent.add(number, 3, || number * 10);
        }
        let there: Vec<_> = (0..5).map(|number| recent.get(&number).copied()).collect();
        assert_eq!(there, [None, None, Some(20), Some(30), Some(40)]);
        recent.add(4, 3, || 0);
        recent.add(9, 11, || 0);
        assert_eq!((recent.get(&4), recent.get(&9), recent.size), (Some(&40), None, 9));
    }

    #[test]
    fn a_score_is_a_picture_and_a_texts_as_it_is_compared() {
        let mut memory = Memory::default();
        memory.add_score(&[1; 32], "A Dog!", MatchScore::new([0.0, 0.0], 0.5));
        assert_eq!(memory.score(&[1; 32], "a dog").map(|score| score.cosine), Some(0.5));
        assert!(memory.score(&[2; 32], "a dog").is_none() && memory.score(&[1; 32], "a cat").is_none());
    }
}
