//! BERT's tokenizer, which the Q-Former reads texts with: words in lower case, cut into pieces.
//!
//! Source: `BertTokenizer` of transformers 5; [`wordpiece`] is how it is made.

use serde_json::{Map, Value};
use tokenizers::Tokenizer;

use super::TextError;
use super::wordpiece;

/// Texts to the Q-Former's ids.
#[derive(Debug)]
pub struct BertTokenizer {
    tokenizer: Tokenizer,
}

impl BertTokenizer {
    /// Of a vocabulary, and what `tokenizer_config.json` says of letters (null where there is none).
    ///
    /// # Errors
    /// A vocabulary without BERT's own tokens.
    pub fn new(vocabulary: Map<String, Value>, settings: &Value) -> Result<Self, TextError> {
        let json = wordpiece::tokenizer_json(vocabulary, settings)?;
        let tokenizer = Tokenizer::from_bytes(json).map_err(|error| TextError::Tokenizer(error.to_string()));
        let mut tokenizer = tokenizer?;
        tokenizer.set_encode_special_tokens(true);
        Ok(Self { tokenizer })
    }

    /// A text's ids, with BERT's first token and last one. Special tokens that somebody types are
    /// letters.
    ///
    /// # Errors
    /// The tokenizer fails on it.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let encoding = self.tokenizer.encode(text, true);
        let encoding = encoding.map_err(|error| TextError::Tokenizer(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// As [`BertTokenizer::ids`], of a text that is cut where there would be more than `most`: the last
    /// token stays.
    ///
    /// # Errors
    /// As for [`BertTokenizer::ids`].
    pub fn ids_within(&self, text: &str, most: usize) -> Result<Vec<u32>, TextError> {
        let mut ids = self.ids(text)?;
        if let Some(&last) = ids.last().filter(|_| ids.len() > most && most > 0) {
            ids.truncate(most - 1);
            ids.push(last);
        }
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ndog\n##s\nis\n'\nit\n.\n犬\n";

    fn tokenizer(config: &Value) -> BertTokenizer {
        BertTokenizer::new(wordpiece::vocabulary_in(WORDS), config).expect("it has what is needed")
    }

    #[test]
    fn words_are_cut_into_pieces_in_lower_case_and_without_accents() {
        let words = tokenizer(&Value::Null);
        let ids = |text| words.ids(text).expect("it is text");
        assert_eq!(ids("A dogs  is\nit's."), [2, 5, 6, 7, 8, 10, 9, 1, 11, 3]);
        assert_eq!(ids("Dög 犬a"), [2, 6, 12, 5, 3]);
        assert_eq!(ids(""), [2, 3]);
        assert_eq!(ids("a [SEP]"), [2, 5, 1, 1, 1, 3], "typed, it is letters");
        let cased = tokenizer(&serde_json::json!({"do_lower_case": false}));
        assert_eq!(cased.ids("Dog").expect("it is text"), [2, 1, 3]);
    }

    #[test]
    fn what_is_too_long_is_cut_and_still_ends() {
        let words = tokenizer(&Value::Null);
        assert_eq!(words.ids_within("a dog is a dog", 4).expect("it is text"), [2, 5, 6, 3]);
        assert_eq!(words.ids_within("a dog", 4).expect("it is text"), [2, 5, 6, 3]);
        let without = wordpiece::vocabulary_in("a\nb");
        assert!(BertTokenizer::new(without, &Value::Null).is_err());
    }
}
