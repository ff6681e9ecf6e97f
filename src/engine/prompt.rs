//! An instruction becomes the prompt that is sent to the model.

use sha2::{Digest, Sha256};

use super::Instruction;
use crate::chat::PictureId;
use crate::processor::{Exchange, Prompt, PromptForm, TextError, TextProcessor};

/// Earlier turns that the demo model is told: it has learned from conversations of up to three.
const DEMO_TURNS: usize = 2;

/// What a tokenizer puts around a text, at most.
const SPECIAL_TOKENS: usize = 2;

/// A prompt as text and as tokens.
#[derive(Debug, PartialEq)]
pub struct SentPrompt {
    /// Empty for a caption, which has no text.
    pub text: String,
    /// Picture tokens included.
    pub ids: Vec<u32>,
    /// What the Q-Former reads of it, in its own tokens; empty where it reads no texts.
    pub instruction: Vec<u32>,
}

impl SentPrompt {
    /// What stands for the picture before its ids: where the Q-Former reads the prompt, the picture's
    /// rows are others for every instruction, and must not be taken for each other's.
    pub fn root(&self, picture: PictureId) -> PictureId {
        if self.instruction.is_empty() {
            return picture;
        }
        let mut hash = Sha256::new_with_prefix(picture.0);
        for id in &self.instruction {
            hash.update(id.to_le_bytes());
        }
        PictureId(hash.finalize().into())
    }
}

/// What there is to know for writing prompts.
pub struct PromptWriter<'a> {
    pub processor: &'a TextProcessor,
    pub is_demo: bool,
}

/// The prompt that an instruction becomes where there is room for all of it, with at most
/// `default_turns` earlier turns where nobody says how many.
pub fn as_prompt(instruction: &Instruction, default_turns: Option<usize>) -> Prompt {
    match instruction {
        Instruction::Caption { prefix: None } => Prompt::Caption,
        Instruction::Caption { prefix: Some(text) } | Instruction::Raw(text) => Prompt::Raw(text.clone()),
        Instruction::Question {
            question,
            earlier,
            context_turns,
        } => {
            let most = context_turns.or(default_turns).unwrap_or(usize::MAX);
            Prompt::Conversation {
                earlier: earlier[earlier.len().saturating_sub(most)..].to_vec(),
                question: question.clone(),
            }
        }
        // As a script is asked; a model that writes refuses it.
        Instruction::Compare { texts } => Prompt::Raw(texts.join("\n")),
    }
}

impl PromptWriter<'_> {
    /// The prompt that an instruction becomes, of which earlier turns may fill `room` tokens.
    ///
    /// # Errors
    /// A text that cannot be sent.
    pub fn write(&self, instruction: &Instruction, room: usize) -> Result<SentPrompt, TextError> {
        let form = self.processor.form();
        if form == PromptForm::Question && matches!(instruction, Instruction::Caption { .. }) {
            return Err(TextError::WritesNoCaptions);
        }
        if matches!(instruction, Instruction::Compare { .. }) {
            return Err(TextError::ComparesNothing);
        }
        let default_turns = self.is_demo.then_some(DEMO_TURNS);
        let knows_turns = form.knows_turns();
        match as_prompt(instruction, default_turns) {
            Prompt::Conversation { question, .. } if !knows_turns => self.send(&Prompt::Question(question)),
            Prompt::Conversation { earlier, question } => self.conversation(earlier, question, room),
            prompt => self.send(&prompt),
        }
    }

    /// A question after earlier turns, the oldest of which are left out where there is no room.
    fn conversation(&self, mut earlier: Vec<Exchange>, question: String, room: usize) -> Result<SentPrompt, TextError> {
        self.keep_latest(&mut earlier, &question, room);
        let mut prompt = Prompt::Conversation { earlier, question };
        loop {
            let sent = self.send(&prompt);
            let Prompt::Conversation { earlier, .. } = &mut prompt else {
                return sent;
            };
            // A tokenizer that cuts elsewhere than at spaces may need more room for turns
            // together than for each by itself.
            let fits = sent.as_ref().is_ok_and(|sent| sent.ids.len() <= room);
            if fits || earlier.is_empty() {
                return sent;
            }
            earlier.remove(0);
        }
    }

    /// Leaves out the turns that have no room, as far as their lengths say one by one.
    ///
    /// Where the text has fewer bytes than there is room for tokens, nothing needs counting:
    /// then the prompt is tokenised once.
    fn keep_latest(&self, earlier: &mut Vec<Exchange>, question: &str, room: usize) {
        let alone = Prompt::Question(question.into());
        let bytes = |exchange: &Exchange| exchange.text().len() + 1;
        let others = self.processor.num_query_tokens() + SPECIAL_TOKENS;
        let texts = alone.text().map_or(0, |text| text.len()) + earlier.iter().map(bytes).sum::<usize>();
        if others + texts <= room {
            return;
        }
        let length = self.send(&alone).map_or(usize::MAX, |sent| sent.ids.len());
        let mut left = room.saturating_sub(length);
        // Words are cut at spaces, so that turns are as long together as each for itself.
        let latest = earlier.iter().rev().take_while(|exchange| {
            let tokens = self.processor.count_tokens(&format!(" {}", exchange.text()));
            let rest = tokens.ok().and_then(|tokens| left.checked_sub(tokens));
            left = rest.unwrap_or_default();
            rest.is_some()
        });
        let kept = latest.count();
        earlier.drain(..earlier.len() - kept);
    }

    fn send(&self, prompt: &Prompt) -> Result<SentPrompt, TextError> {
        Ok(SentPrompt {
            ids: self.processor.prompt_ids(prompt)?,
            instruction: self.processor.instruction_ids(prompt)?,
            text: self.processor.prompt_text(prompt)?.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Checkpoint;

    /// The demo model's: one token a byte for anything but plain words.
    fn processor() -> TextProcessor {
        let checkpoint = Checkpoint::demo().expect("it is part of the program");
        checkpoint.processor().expect("it is part of the program").text
    }

    fn exchanges(count: usize) -> Vec<Exchange> {
        let exchange = |number: usize| Exchange {
            question: format!("what is number {number}?"),
            answer: "a red circle".into(),
        };
        (0..count).map(exchange).collect()
    }

    fn question(earlier: &[Exchange], context_turns: Option<usize>) -> Instruction {
        Instruction::Question {
            question: "and now?".into(),
            earlier: earlier.to_vec(),
            context_turns,
        }
    }

    fn text(earlier: &[Exchange]) -> String {
        let question = "and now?".into();
        let earlier = earlier.to_vec();
        let prompt = Prompt::Conversation { earlier, question };
        prompt.text().expect("it has one")
    }

    #[test]
    fn the_oldest_turns_are_left_out_where_there_is_no_room() {
        let processor = processor();
        let writer = PromptWriter {
            processor: &processor,
            is_demo: false,
        };
        let all = exchanges(90);
        let mut kept = Vec::new();
        for room in [500, 300, 150, 0] {
            let sent = writer.write(&question(&all, None), room).expect("it is text");
            let turns = sent.text.matches("Answer:").count() - 1;
            assert_eq!(sent.text, text(&all[all.len() - turns..]), "the latest stay");
            assert!(turns == 0 || sent.ids.len() <= room);
            let more = text(&all[all.len() - turns - 1..]);
            let more = writer.write(&Instruction::Raw(more), room).expect("it is text");
            assert!(more.ids.len() > room, "one turn more had room");
            kept.push(turns);
        }
        assert!(
            kept[0] > kept[1] && kept[1] > kept[2] && kept[2] > 0 && kept[3] == 0,
            "{kept:?}"
        );
        let few = writer.write(&question(&all[..2], None), 500).expect("it is text");
        assert_eq!(few.text, text(&all[..2]));
    }

    #[test]
    fn the_demo_model_is_told_two_turns_unless_more_are_asked_for() {
        let processor = processor();
        let writer = |is_demo| PromptWriter {
            processor: &processor,
            is_demo,
        };
        let all = exchanges(4);
        let sent = |is_demo, most| {
            let sent = writer(is_demo).write(&question(&all, most), 5000);
            sent.expect("it is text").text
        };
        assert_eq!(sent(true, None), text(&all[2..]));
        assert_eq!(sent(true, Some(3)), text(&all[1..]));
        assert_eq!(sent(false, None), text(&all));
        assert_eq!(sent(false, Some(0)), text(&[]));
    }

    #[test]
    fn captions_and_raw_texts_are_sent_as_they_are() {
        let processor = processor();
        let writer = PromptWriter {
            processor: &processor,
            is_demo: true,
        };
        let sent = |instruction| writer.write(&instruction, 0).expect("it is text");
        assert_eq!(sent(Instruction::Caption { prefix: None }).text, "");
        let prefix = Some("a photo of".to_owned());
        let begun = sent(Instruction::Caption { prefix });
        assert_eq!(begun, sent(Instruction::Raw("a photo of".into())));
        assert_eq!(begun.text, "a photo of");
        let asked = sent(Instruction::question("who?"));
        assert_eq!(asked, sent(Instruction::Raw("Question: who? Answer:".into())));
    }
}
