//! The question to token ids, and token ids back to text.
//!
//! Source: `Blip2Processor` (picture tokens in front, then the tokenised text with its
//! special tokens) and `tokenizer.decode(…, skip_special_tokens=True)`.

use tokenizers::{AddedToken, Tokenizer};

/// Why a text cannot become token ids.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    #[error("tokenizer.json cannot be used: {0}. Download the file again.")]
    Tokenizer(String),
    #[error("Neither config.json nor tokenizer.json names the picture's token. Download the checkpoint again.")]
    NoImageToken,
    #[error("The question contains the picture's own token. Ask it in other words.")]
    ImageTokenInText,
    #[error(
        "tokenizer.json gives token {id}, but config.json says the model knows {vocab_size} tokens. The two files do not belong together: download both again."
    )]
    TokenOutsideVocabulary { id: u32, vocab_size: usize },
}

/// What is asked about a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// No text at all: the model writes a caption.
    Caption,
    /// A question, sent as `Question: … Answer:`.
    Question(String),
    /// A question after others: `Question: … Answer: … Question: … Answer:`, with one space
    /// between turns. [`TextProcessor::conversation`] makes one that has room in the model.
    Conversation { earlier: Vec<Exchange>, question: String },
    /// Text that is sent as it is.
    Raw(String),
}

/// A question that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub question: String,
    pub answer: String,
}

impl Exchange {
    fn text(&self) -> String {
        format!("{} {}", labelled(&self.question), self.answer.trim())
    }
}

/// A question between its labels, once: whoever knows how BLIP-2 is asked types them as well.
fn labelled(question: &str) -> String {
    let question = question.trim();
    let bare = question
        .strip_prefix("Question:")
        .map(|rest| rest.strip_suffix("Answer:").unwrap_or(rest).trim())
        .filter(|bare| !bare.is_empty());
    format!("Question: {} Answer:", bare.unwrap_or(question))
}

impl Prompt {
    /// The text that goes to the tokenizer; a caption has none.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Caption => None,
            Self::Question(question) => Some(labelled(question)),
            Self::Conversation { earlier, question } => {
                let mut turns: Vec<String> = earlier.iter().map(Exchange::text).collect();
                turns.push(labelled(question));
                Some(turns.join(" "))
            }
            Self::Raw(text) => Some(text.clone()),
        }
    }
}

/// The tokenizer with what BLIP-2 puts in front of a text.
#[derive(Debug)]
pub struct TextProcessor {
    tokenizer: Tokenizer,
    image_token: u32,
    num_query_tokens: usize,
    bos_token: u32,
    vocab_size: usize,
    /// How many tokens the model reads and writes at most.
    positions: usize,
}

impl TextProcessor {
    /// `tokenizer_json` is the checkpoint's `tokenizer.json`; the numbers are those of its config.
    pub fn new(
        tokenizer_json: &[u8],
        image_token: Option<u32>,
        num_query_tokens: usize,
        bos_token: u32,
        vocab_size: usize,
        positions: usize,
    ) -> Result<Self, TextError> {
        let mut tokenizer =
            Tokenizer::from_bytes(tokenizer_json).map_err(|error| TextError::Tokenizer(error.to_string()))?;
        // The file may carry the settings of its last training run; the reference ignores them.
        let _ = tokenizer.with_truncation(None);
        tokenizer.with_padding(None);
        // A visitor who types `<image>` or `</s>` means those letters.
        tokenizer.set_encode_special_tokens(true);
        let image_token = image_token
            .or_else(|| tokenizer.token_to_id("<image>"))
            .ok_or(TextError::NoImageToken)?;
        make_special(&mut tokenizer, image_token)?;
        Ok(Self {
            tokenizer,
            image_token,
            num_query_tokens,
            bos_token,
            vocab_size,
            positions,
        })
    }

    /// A question after earlier turns. The oldest are left out where the model has no room
    /// for them besides the picture and an answer of `max_new_tokens`.
    pub fn conversation(&self, mut earlier: Vec<Exchange>, question: String, max_new_tokens: usize) -> Prompt {
        let room = self.positions.saturating_sub(max_new_tokens);
        let mut left = room.saturating_sub(self.length(&Prompt::Question(question.clone())));
        // Words are cut at spaces, so that turns are as long together as each for itself.
        let latest = earlier.iter().rev().take_while(|exchange| {
            let tokens = self.tokenizer.encode(format!(" {}", exchange.text()), false);
            let rest = tokens.ok().and_then(|tokens| left.checked_sub(tokens.len()));
            left = rest.unwrap_or_default();
            rest.is_some()
        });
        let kept = latest.count();
        earlier.drain(..earlier.len() - kept);
        let mut prompt = Prompt::Conversation { earlier, question };
        // A tokenizer that cuts elsewhere than at spaces may need more room together.
        while self.length(&prompt) > room {
            match &mut prompt {
                Prompt::Conversation { earlier, .. } if !earlier.is_empty() => drop(earlier.remove(0)),
                _ => break,
            }
        }
        prompt
    }

    /// Tokens of a prompt, the picture's included; one that cannot be sent is endless.
    fn length(&self, prompt: &Prompt) -> usize {
        self.prompt_ids(prompt).map_or(usize::MAX, |ids| ids.len())
    }

    /// The ids of a whole prompt: one picture token a query token, then the text, which
    /// the tokenizer begins with its begin-of-text token. A caption is that token alone.
    pub fn prompt_ids(&self, prompt: &Prompt) -> Result<Vec<u32>, TextError> {
        let mut ids = vec![self.image_token; self.num_query_tokens];
        match prompt.text() {
            None => ids.push(self.bos_token),
            Some(text) => {
                let encoding = self
                    .tokenizer
                    .encode(text, true)
                    .map_err(|error| TextError::Tokenizer(error.to_string()))?;
                ids.extend_from_slice(encoding.get_ids());
            }
        }
        let text = &ids[self.num_query_tokens..];
        if text.contains(&self.image_token) {
            return Err(TextError::ImageTokenInText);
        }
        match text.iter().find(|id| **id as usize >= self.vocab_size) {
            Some(&id) => Err(TextError::TokenOutsideVocabulary {
                id,
                vocab_size: self.vocab_size,
            }),
            None => Ok(ids),
        }
    }

    /// Ids to text, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        // Decoding fails only for decoders that BLIP-2's byte-level tokenizers do not have.
        self.tokenizer.decode(ids, true).unwrap_or_default()
    }

    /// Turns tokens into text as they come.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream {
            processor: self,
            ids: Vec::new(),
            sent: 0,
        }
    }
}

/// Makes the picture's token a special one where its file does not: then a text's `<image>`
/// is letters.
fn make_special(tokenizer: &mut Tokenizer, image_token: u32) -> Result<(), TextError> {
    let added = tokenizer.get_added_tokens_decoder();
    let Some(token) = added.get(&image_token).filter(|token| !token.special) else {
        return Ok(());
    };
    let special = AddedToken {
        special: true,
        ..token.clone()
    };
    tokenizer
        .add_special_tokens([special])
        .map(|_| ())
        .map_err(|error| TextError::Tokenizer(error.to_string()))
}

/// Text of an answer that is still growing.
///
/// A character may be spread over several tokens: its bytes are held back until it is
/// whole. White space is held back until something follows, so that the answer, which
/// is trimmed, never has to take back what was sent.
pub struct TextStream<'a> {
    processor: &'a TextProcessor,
    ids: Vec<u32>,
    sent: usize,
}

impl TextStream<'_> {
    /// The text that the next token completes; often empty.
    pub fn push(&mut self, id: u32) -> String {
        self.ids.push(id);
        let text = self.processor.decode(&self.ids);
        // An unfinished character is shown as one replacement character; those before it
        // are bytes that never became one.
        let whole = text.strip_suffix(char::REPLACEMENT_CHARACTER).unwrap_or(&text);
        self.send(whole.trim_end())
    }

    /// What is left when the answer has ended: bytes that never became a character
    /// are shown as the replacement character, as the reference shows them.
    pub fn finish(&mut self) -> String {
        let text = self.processor.decode(&self.ids);
        self.send(text.trim_end())
    }

    fn send(&mut self, text: &str) -> String {
        let leading = text.len() - text.trim_start().len();
        let piece = text.get(self.sent.max(leading)..).unwrap_or_default();
        if !piece.is_empty() {
            self.sent = text.len();
        }
        piece.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The demo model's: one token a byte for anything but plain words.
    fn processor() -> TextProcessor {
        let checkpoint = crate::checkpoint::Checkpoint::demo().expect("it is part of the program");
        super::super::Processor::load(&checkpoint)
            .expect("it is part of the program")
            .text
    }

    fn ids(processor: &TextProcessor, text: &str) -> Vec<u32> {
        processor
            .tokenizer
            .encode(text, false)
            .expect("it is text")
            .get_ids()
            .to_vec()
    }

    #[test]
    fn a_character_of_several_tokens_comes_whole() {
        let processor = processor();
        let ids = ids(&processor, " naïve 🦀 crab\n");
        let mut stream = processor.stream();
        let mut pieces: Vec<String> = ids.iter().map(|id| stream.push(*id)).collect();
        pieces.push(stream.finish());
        assert!(
            pieces.iter().all(|piece| !piece.contains(char::REPLACEMENT_CHARACTER)),
            "{pieces:?}"
        );
        assert!(
            pieces.iter().filter(|piece| piece.is_empty()).count() >= 3,
            "the crab has four bytes: {pieces:?}"
        );
        assert_eq!(pieces.concat(), "naïve 🦀 crab");
    }

    fn exchange(question: &str, answer: &str) -> Exchange {
        Exchange {
            question: question.into(),
            answer: answer.into(),
        }
    }

    #[test]
    fn turns_stand_one_space_apart_and_no_punctuation_is_added() {
        let prompt = Prompt::Conversation {
            earlier: vec![exchange(" What is it? ", " a cat. "), exchange("Which colour", "black")],
            question: "Why?\n".into(),
        };
        let text = "Question: What is it? Answer: a cat. Question: Which colour Answer: black Question: Why? Answer:";
        assert_eq!(prompt.text().as_deref(), Some(text));
        let first = Prompt::Conversation {
            earlier: Vec::new(),
            question: "Why?".into(),
        };
        assert_eq!(first.text(), Prompt::Question("Why?".into()).text());
    }

    #[test]
    fn labels_that_were_typed_are_not_doubled() {
        let sent = |question: &str| Prompt::Question(question.into()).text().unwrap_or_default();
        for typed in [
            "How many?",
            "Question: How many? Answer:",
            " Question:How many?Answer: ",
            "Question: How many?",
        ] {
            assert_eq!(sent(typed), "Question: How many? Answer:", "{typed}");
        }
        assert_eq!(sent("What is after Answer:"), "Question: What is after Answer: Answer:");
        assert_eq!(sent("Question:"), "Question: Question: Answer:");
    }

    #[test]
    fn special_tokens_in_a_question_are_letters() {
        let processor = processor();
        let special: Vec<u32> = processor.tokenizer.get_added_tokens_decoder().into_keys().collect();
        assert!(!special.is_empty());
        for text in [
            "<image>",
            "a <image>?",
            "</s>",
            "<pad>",
            "<unk>",
            "<s>",
            "<image><image></s>",
        ] {
            for prompt in [Prompt::Raw(text.into()), Prompt::Question(text.into())] {
                let ids = processor.prompt_ids(&prompt).expect(text);
                // Behind the picture's tokens and the begin-of-text token.
                let words = &ids[processor.num_query_tokens + 1..];
                assert!(words.iter().all(|id| !special.contains(id)), "{text}: {words:?}");
                assert_eq!(processor.decode(words), prompt.text().unwrap_or_default());
            }
        }
    }

    #[test]
    fn a_picture_token_that_its_file_does_not_call_special_is_letters_too() {
        let checkpoint = crate::checkpoint::Checkpoint::demo().expect("it is part of the program");
        let bytes = checkpoint.read("tokenizer.json").expect("it is part of the program");
        let mut json: serde_json::Value = serde_json::from_slice(&bytes).expect("it is JSON");
        for token in json["added_tokens"].as_array_mut().expect("it is a list") {
            token["special"] = false.into();
        }
        let whole = processor();
        let processor = TextProcessor::new(
            json.to_string().as_bytes(),
            None,
            3,
            whole.bos_token,
            whole.vocab_size,
            512,
        )
        .expect("it is a tokenizer");
        let ids = processor
            .prompt_ids(&Prompt::Raw("an <image>".into()))
            .expect("it is text");
        assert_eq!(ids.iter().filter(|id| **id == processor.image_token).count(), 3);
    }

    #[test]
    fn the_oldest_turns_fall_off_and_the_picture_and_the_answer_keep_their_room() {
        let processor = processor();
        let all: Vec<Exchange> = (0..60)
            .map(|turn| exchange(&format!("what is {turn}?"), "a red star"))
            .collect();
        let mut kept = Vec::new();
        for max_new_tokens in [10, 200, 400, 600] {
            let prompt = processor.conversation(all.clone(), "and now?".into(), max_new_tokens);
            let Prompt::Conversation { earlier, question } = &prompt else {
                panic!("{prompt:?}")
            };
            assert_eq!(question, "and now?");
            assert_eq!(earlier[..], all[all.len() - earlier.len()..], "the latest stay");
            let ids = processor.prompt_ids(&prompt).expect("it is text");
            assert!(
                ids[..processor.num_query_tokens]
                    .iter()
                    .all(|id| *id == processor.image_token)
            );
            assert!(earlier.is_empty() || ids.len() + max_new_tokens <= processor.positions);
            // One turn more would have been too many.
            let more = processor.conversation(
                all[all.len() - earlier.len() - 1..].to_vec(),
                question.clone(),
                max_new_tokens,
            );
            assert_eq!(more, prompt);
            kept.push(earlier.len());
        }
        assert!(
            kept[0] > kept[1] && kept[1] > kept[2] && kept[2] > 0 && kept[3] == 0,
            "{kept:?}"
        );
        let few = processor.conversation(all[..2].to_vec(), "and now?".into(), 10);
        assert!(matches!(few, Prompt::Conversation { earlier, .. } if earlier == all[..2]));
    }

    #[test]
    fn bytes_that_never_become_a_character_are_not_held_for_ever() {
        let processor = processor();
        let crab = ids(&processor, "🦀");
        let mut stream = processor.stream();
        let first: String = [crab[0], crab[0], crab[0]].iter().map(|id| stream.push(*id)).collect();
        assert_eq!(first, "\u{fffd}\u{fffd}");
        assert_eq!(stream.finish(), "\u{fffd}");
    }
}
