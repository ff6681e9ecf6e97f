//! When an answer is over.
//!
//! Source: transformers' `stopping_criteria.py`: the greatest length, stop strings, end tokens.

use std::sync::Arc;

use super::FinishReason;

/// Texts that end an answer as soon as its last token completes one of them.
///
/// It needs the bytes of every token, since a text may begin and end inside of tokens:
/// `TextProcessor::token_bytes` has them.
#[derive(Clone, Default, PartialEq)]
pub struct StopStrings {
    strings: Vec<Vec<u8>>,
    /// The bytes of every token; empty where the vocabulary has a hole.
    tokens: Arc<[Box<[u8]>]>,
}

impl StopStrings {
    /// `tokens` are the bytes that each token of the vocabulary stands for, by id.
    pub fn new(strings: &[String], tokens: Arc<[Box<[u8]>]>) -> Self {
        Self {
            strings: strings.iter().map(|string| string.as_bytes().to_vec()).collect(),
            tokens,
        }
    }

    /// Whether one of the strings ends inside of the last token, as `StopStringCriteria` says.
    /// It may begin in the prompt.
    fn is_completed_by_last(&self, ids: &[u32]) -> bool {
        let Some((last, before)) = ids.split_last() else {
            return false;
        };
        self.strings.iter().any(|string| {
            let last = self.bytes(*last);
            (1..=last.len()).any(|end| self.ends_at(string, &last[..end], before))
        })
    }

    /// Whether `string` is the end of the tokens `before` and these bytes.
    fn ends_at(&self, string: &[u8], bytes: &[u8], before: &[u32]) -> bool {
        if bytes.len() >= string.len() {
            return bytes.ends_with(string);
        }
        let Some(mut rest) = string.strip_suffix(bytes) else {
            return false;
        };
        for id in before.iter().rev() {
            let token = self.bytes(*id);
            if token.is_empty() {
                return false;
            }
            if token.len() >= rest.len() {
                return token.ends_with(rest);
            }
            match rest.strip_suffix(token) {
                Some(shorter) => rest = shorter,
                None => return false,
            }
        }
        false
    }

    fn bytes(&self, id: u32) -> &[u8] {
        self.tokens.get(id as usize).map_or(&[], |bytes| bytes)
    }
}

impl std::fmt::Debug for StopStrings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let strings = self.strings.iter().map(|string| String::from_utf8_lossy(string));
        f.debug_list().entries(strings).finish()
    }
}

/// All that can end one answer.
pub(super) struct Stopping {
    /// The most ids, prompt included.
    max_length: usize,
    stop_strings: StopStrings,
    eos_token_ids: Vec<u32>,
}

impl Stopping {
    pub fn new(max_length: usize, stop_strings: StopStrings, eos_token_ids: &[u32]) -> Self {
        Self {
            max_length,
            stop_strings,
            eos_token_ids: eos_token_ids.to_vec(),
        }
    }

    /// Why prompt and answer, `ids`, end with their last id, if they do.
    pub fn finish_reason(&self, ids: &[u32]) -> Option<FinishReason> {
        if ids.last().is_some_and(|id| self.is_eos(*id)) || self.stop_strings.is_completed_by_last(ids) {
            Some(FinishReason::Stop)
        } else if ids.len() >= self.max_length {
            Some(FinishReason::Length)
        } else {
            None
        }
    }

    pub fn is_eos(&self, id: u32) -> bool {
        self.eos_token_ids.contains(&id)
    }

    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// How many tokens end an answer.
    pub fn num_eos_tokens(&self) -> usize {
        self.eos_token_ids.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops(strings: &[&str], tokens: &[&str]) -> bool {
        let strings: Vec<String> = strings.iter().map(|string| string.to_string()).collect();
        let bytes = tokens.iter().map(|token| token.as_bytes().into()).collect();
        let ids: Vec<u32> = (0u32..).take(tokens.len()).collect();
        StopStrings::new(&strings, bytes).is_completed_by_last(&ids)
    }

    #[test]
    fn a_stop_string_may_begin_and_end_inside_of_tokens() {
        for tokens in [
            &["st", "op"][..],
            &["stop"],
            &["st", "opera"],
            &["sto", "pper"],
            &["las", "topper"],
            &["s", "to", "pped"],
            &["a", "unstoppable"],
        ] {
            assert!(stops(&["no", "stop"], tokens), "{tokens:?}");
        }
    }

    #[test]
    fn it_must_end_in_the_last_token() {
        for tokens in [
            &["stop", "at"][..],
            &["st", "op", "at"],
            &["st", "opera", "tion"],
            &["op"],
            &["st", "", "op"],
            &[],
        ] {
            assert!(!stops(&["stop"], tokens), "{tokens:?}");
        }
    }
}
