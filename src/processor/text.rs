//! The question to token ids, and token ids back to text.
//!
//! Source: `Blip2Processor` (picture tokens in front, then the tokenised text with its
//! special tokens) and `tokenizer.decode(…, skip_special_tokens=True)`.

use std::sync::{Arc, OnceLock};

use tokenizers::decoders::wordpiece::WordPiece;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Decoder, DecoderWrapper, Encoding, ModelWrapper, NormalizerWrapper, Tokenizer};

use super::BertTokenizer;
pub use stream::TextStream;

/// Why a text cannot become token ids.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    #[error("The tokenizer (tokenizer.json or vocab.txt) cannot be used: {0}. Download it again.")]
    Tokenizer(String),
    #[error("The question contains the picture's own token. Ask it in other words.")]
    ImageTokenInText,
    #[error(
        "This model writes captions and answers no questions. Leave the question out for a caption, give the caption's beginning (--prefix), or use a model that answers, as Salesforce/blip-vqa-base."
    )]
    AnswersNoQuestions,
    #[error(
        "This model answers questions and writes no captions. Ask a question, or use a model that writes captions, as Salesforce/blip-image-captioning-base."
    )]
    WritesNoCaptions,
    #[error(
        "This model compares pictures with texts, and neither answers questions nor writes captions. Use `glimpse match`, or another model."
    )]
    WritesNothing,
    #[error(
        "This model answers questions or writes captions, and compares no texts with pictures. Use one that compares, as Salesforce/blip-itm-base-coco."
    )]
    ComparesNothing,
    #[error(
        "The text “{beginning}…” is {tokens} tokens long, and the model reads at most {limit}. Give a shorter one."
    )]
    TextTooLong {
        /// A few words of it.
        beginning: String,
        tokens: usize,
        limit: usize,
    },
    #[error(
        "tokenizer.json gives token {id}, but config.json says the model knows {vocab_size} tokens. The two files do not belong together: download both again."
    )]
    TokenOutsideVocabulary { id: u32, vocab_size: usize },
}

/// Characters of a text by which it is named where something is wrong with it.
const BEGINNING: usize = 40;

/// What is asked about a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// No text at all: the model writes a caption.
    Caption,
    /// A question, sent as `Question: … Answer:`.
    Question(String),
    /// A question after others: `Question: … Answer: … Question: … Answer:`, with one space
    /// between turns.
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
    /// As it stands in a prompt, before the next question.
    pub fn text(&self) -> String {
        format!("{} {}", apply_template(&self.question), self.answer.trim())
    }
}

/// A question between its labels, once: whoever knows how BLIP-2 is asked types them as well.
fn apply_template(question: &str) -> String {
    let question = question.trim();
    let bare = question
        .strip_prefix("Question:")
        .map(|rest| rest.strip_suffix("Answer:").unwrap_or(rest).trim())
        .filter(|bare| !bare.is_empty());
    format!("Question: {} Answer:", bare.unwrap_or(question))
}

/// How a question is put to a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PromptForm {
    /// `Question: … Answer:`, as BLIP-2 is asked.
    #[default]
    Conversation,
    /// The question alone, as InstructBLIP is asked; with turns before it, all in the form of the
    /// other. Without a question, it is told to describe the picture.
    Instruction,
    /// Of BLIP that writes captions: `[DEC]`, and how the caption begins.
    Beginning,
    /// Of BLIP that answers: the question alone, between `[CLS]` and `[SEP]`.
    Question,
    /// Of BLIP that compares: a text between `[CLS]` and `[SEP]`, which nothing follows.
    Compared,
}

impl PromptForm {
    /// Whether earlier turns go along with a question.
    pub fn knows_turns(self) -> bool {
        matches!(self, Self::Conversation | Self::Instruction)
    }
}

/// What an InstructBLIP is told where nothing is asked: one of the instructions for captions that it
/// was trained with (arXiv 2305.06500, appendix).
const CAPTION_INSTRUCTION: &str = "Write a short description for the image.";

impl Prompt {
    /// The text that goes to the tokenizer of a model that is asked in this form; BLIP-2's caption has
    /// none.
    pub fn text_in(&self, form: PromptForm) -> Option<String> {
        match (form, self) {
            (PromptForm::Instruction, Self::Caption) => Some(CAPTION_INSTRUCTION.into()),
            (PromptForm::Instruction, Self::Question(question)) => Some(question.trim().into()),
            (PromptForm::Instruction, Self::Conversation { earlier, question }) if earlier.is_empty() => {
                Some(question.trim().into())
            }
            _ => self.text(),
        }
    }

    /// The text that tells a Q-Former what to look for: that of the prompt, but of a conversation what
    /// is asked now.
    fn instruction(&self) -> Option<String> {
        match self {
            Self::Conversation { question, .. } => Some(question.trim().into()),
            prompt => prompt.text_in(PromptForm::Instruction),
        }
    }

    /// The text that goes to the tokenizer; a caption has none.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Caption => None,
            Self::Question(question) => Some(apply_template(question)),
            Self::Conversation { earlier, question } => {
                let mut turns: Vec<String> = earlier.iter().map(Exchange::text).collect();
                turns.push(apply_template(question));
                Some(turns.join(" "))
            }
            Self::Raw(text) => Some(text.clone()),
        }
    }
}

/// What the model's config says of texts.
#[derive(Clone, Copy, Debug)]
pub struct TextConfig {
    /// The picture's token, where the config names it; else the tokenizer does.
    pub image_token: Option<u32>,
    /// How many tokens stand for the picture.
    pub num_query_tokens: usize,
    /// The token behind the picture's where there is no text.
    pub caption_token: u32,
    /// Of the language model's config: ids from here on are refused.
    pub vocab_size: usize,
    /// How the model is asked.
    pub form: PromptForm,
}

/// What the Q-Former of an InstructBLIP reads texts with.
#[derive(Debug)]
pub struct InstructionReader {
    pub tokenizer: BertTokenizer,
    /// The most tokens that it reads; a longer text is cut there.
    pub max_tokens: usize,
}

/// The tokenizer with what BLIP-2 puts in front of a text.
#[derive(Debug)]
pub struct TextProcessor {
    tokenizer: Tokenizer,
    image_token: u32,
    config: TextConfig,
    instructions: Option<InstructionReader>,
    /// What each token stands for, once somebody has asked.
    token_bytes: OnceLock<Arc<[Box<[u8]>]>>,
}

impl TextProcessor {
    /// `tokenizer_json` is the checkpoint's `tokenizer.json`.
    ///
    /// # Errors
    /// It is no tokenizer.
    pub fn new(tokenizer_json: &[u8], config: TextConfig) -> Result<Self, TextError> {
        let mut tokenizer =
            Tokenizer::from_bytes(tokenizer_json).map_err(|error| TextError::Tokenizer(error.to_string()))?;
        // The file may carry the settings of its last training run; the reference ignores them.
        let _ = tokenizer.with_truncation(None);
        tokenizer.with_padding(None);
        spaces_as_in_llama(&mut tokenizer)?;
        // A visitor who types `<image>` or `</s>` means those letters.
        tokenizer.set_encode_special_tokens(true);
        let image_token = match config.image_token.or_else(|| tokenizer.token_to_id("<image>")) {
            Some(token) => {
                make_special(&mut tokenizer, token)?;
                token
            }
            None if config.form == PromptForm::Conversation => placeholder(config.vocab_size),
            // Its picture stands in no text.
            None => u32::MAX,
        };
        Ok(Self {
            tokenizer,
            image_token,
            config,
            instructions: None,
            token_bytes: OnceLock::new(),
        })
    }

    /// The same with these tokens around every text, whatever the file puts there: what
    /// `tokenizer_config.json` says of LLaMA's beginning and end wins.
    ///
    /// # Errors
    /// A token that the tokenizer does not know.
    pub fn with_tokens_around(mut self, before: Option<&str>, behind: Option<&str>) -> Result<Self, TextError> {
        let fault = |reason: String| TextError::Tokenizer(reason);
        let id = |token: &str| {
            let id = self.tokenizer.token_to_id(token);
            let id = id.ok_or_else(|| fault(format!("tokenizer_config.json names {token}, which it does not have")))?;
            Ok((token.to_owned(), id))
        };
        let special: Vec<(String, u32)> = before.into_iter().chain(behind).map(id).collect::<Result<_, _>>()?;
        let template = [before.unwrap_or_default(), "$A", behind.unwrap_or_default()].join(" ");
        let mut builder = TemplateProcessing::builder();
        let built = builder
            .try_single(template.trim())
            .map_err(fault)?
            .special_tokens(special)
            .build();
        let built = built.map_err(|error| fault(error.to_string()))?;
        self.tokenizer.with_post_processor(Some(built));
        Ok(self)
    }

    /// The same for a model whose Q-Former reads what is asked.
    #[must_use]
    pub fn with_instructions(self, instructions: InstructionReader) -> Self {
        Self {
            instructions: Some(instructions),
            ..self
        }
    }

    /// What the Q-Former is told, as ids of its own tokenizer; none where it reads no texts.
    ///
    /// # Errors
    /// The tokenizer fails on it.
    pub fn instruction_ids(&self, prompt: &Prompt) -> Result<Vec<u32>, TextError> {
        let Some(InstructionReader { tokenizer, max_tokens }) = &self.instructions else {
            return Ok(Vec::new());
        };
        tokenizer.ids_within(&prompt.instruction().unwrap_or_default(), *max_tokens)
    }

    /// How many tokens stand for the picture, in front of every prompt.
    pub fn num_query_tokens(&self) -> usize {
        self.config.num_query_tokens
    }

    /// How many tokens a text has by itself, without any that the tokenizer adds.
    ///
    /// # Errors
    /// The tokenizer fails on it.
    pub fn count_tokens(&self, text: &str) -> Result<usize, TextError> {
        let encoding = self.tokenizer.encode(text, false);
        let encoding = encoding.map_err(|error| TextError::Tokenizer(error.to_string()))?;
        Ok(encoding.len())
    }

    /// The ids of a whole prompt: one picture token a query token, then the text with the
    /// tokenizer's own token in front of it (OPT) or behind it (T5). A caption has no text but
    /// the config's begin-of-text token.
    ///
    /// In BLIP a caption begins with `[DEC]` and its beginning, and a question is a text.
    ///
    /// # Errors
    /// The model cannot be asked that, or the text has a token that it does not know.
    pub fn prompt_ids(&self, prompt: &Prompt) -> Result<Vec<u32>, TextError> {
        let mut ids = vec![self.image_token; self.config.num_query_tokens];
        match (self.config.form, self.prompt_text(prompt)?) {
            (PromptForm::Conversation | PromptForm::Instruction | PromptForm::Question, Some(text)) => {
                ids.extend(self.encode(text, true)?);
            }
            (PromptForm::Beginning, Some(text)) => {
                // As the reference, which puts it in the place of the first special token and cuts the
                // last one off.
                ids.push(self.config.caption_token);
                ids.extend(self.encode(text, false)?);
            }
            (PromptForm::Conversation | PromptForm::Instruction | PromptForm::Beginning, None) => {
                ids.push(self.config.caption_token);
            }
            (PromptForm::Question, None) => return Err(TextError::WritesNoCaptions),
            (PromptForm::Compared, _) => return Err(TextError::WritesNothing),
        }
        self.check(ids)
    }

    /// The ids of a text that is compared with pictures.
    ///
    /// # Errors
    /// It has a token that the model does not know.
    pub fn text_ids(&self, text: &str) -> Result<Vec<u32>, TextError> {
        self.check(self.encode(text.to_owned(), true)?)
    }

    /// The same for a model that reads at most `limit` of them.
    ///
    /// # Errors
    /// There are more, or one that the model does not know.
    pub fn text_ids_within(&self, text: &str, limit: usize) -> Result<Vec<u32>, TextError> {
        let ids = self.text_ids(text)?;
        if ids.len() > limit {
            return Err(TextError::TextTooLong {
                beginning: text.chars().take(BEGINNING).collect(),
                tokens: ids.len(),
                limit,
            });
        }
        Ok(ids)
    }

    /// The text of a prompt as this model is asked; a caption has none, or its beginning.
    ///
    /// # Errors
    /// The model cannot be asked that.
    pub fn prompt_text(&self, prompt: &Prompt) -> Result<Option<String>, TextError> {
        match (self.config.form, prompt) {
            (form @ (PromptForm::Conversation | PromptForm::Instruction), _) => Ok(prompt.text_in(form)),
            (_, Prompt::Caption | Prompt::Raw(_)) => Ok(prompt.text()),
            (PromptForm::Question, Prompt::Question(question) | Prompt::Conversation { question, .. }) => {
                Ok(Some(question.clone()))
            }
            (PromptForm::Beginning, _) => Err(TextError::AnswersNoQuestions),
            (PromptForm::Compared, _) => Err(TextError::WritesNothing),
        }
    }

    /// How the model is asked.
    pub fn form(&self) -> PromptForm {
        self.config.form
    }

    fn encode(&self, text: String, with_special_tokens: bool) -> Result<Vec<u32>, TextError> {
        let encoding = self
            .tokenizer
            .encode(text, with_special_tokens)
            .map_err(|error| TextError::Tokenizer(error.to_string()))?;
        Ok(self.without_typed_special_tokens(&encoding))
    }

    /// The ids of a prompt, if they are what they should be.
    fn check(&self, ids: Vec<u32>) -> Result<Vec<u32>, TextError> {
        let text = &ids[self.config.num_query_tokens..];
        if let Some(&id) = text.iter().find(|id| **id as usize >= self.config.vocab_size) {
            let vocab_size = self.config.vocab_size;
            return Err(TextError::TokenOutsideVocabulary { id, vocab_size });
        }
        if text.contains(&self.image_token) {
            return Err(TextError::ImageTokenInText);
        }
        Ok(ids)
    }

    /// The ids of a text, in which special tokens are the tokenizer's own.
    ///
    /// Unigram has them in its vocabulary, and finds them in what was typed: such letters
    /// become unknown ones.
    fn without_typed_special_tokens(&self, encoding: &Encoding) -> Vec<u32> {
        let added = self.tokenizer.get_added_tokens_decoder();
        let unknown = self.tokenizer.token_to_id("<unk>");
        let pairs = encoding.get_ids().iter().zip(encoding.get_special_tokens_mask());
        let kept = pairs.map(|(id, is_own)| match unknown {
            Some(unknown) if *is_own == 0 && added.get(id).is_some_and(|token| token.special) => unknown,
            _ => *id,
        });
        kept.collect()
    }

    /// Ids to text, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        // Decoding fails only for decoders that BLIP-2's tokenizers do not have.
        self.tokenizer.decode(ids, true).unwrap_or_default()
    }

    /// The bytes that each token of the vocabulary stands for, by id; none where the vocabulary
    /// has a hole. The table is made once.
    pub fn token_bytes(&self) -> Arc<[Box<[u8]>]> {
        Arc::clone(self.token_bytes.get_or_init(|| {
            let bytes_of = match self.tokenizer.get_decoder() {
                _ if falls_back_to_bytes(&self.tokenizer) => byte_fallback_bytes,
                Some(DecoderWrapper::Metaspace(_)) => metaspace_bytes,
                Some(DecoderWrapper::WordPiece(_)) => wordpiece_bytes,
                _ => byte_level_bytes,
            };
            let bytes = |id| {
                self.tokenizer
                    .id_to_token(id)
                    .map_or_else(Box::default, |token| bytes_of(&token))
            };
            let size = self.tokenizer.get_vocab(true).values().max().map_or(0, |id| id + 1);
            (0..size).map(bytes).collect()
        }))
    }

    /// Turns tokens into text as they come.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream::new(self)
    }
}

/// What stands for the picture's rows where a checkpoint has no token for them: it is from
/// before transformers 4.46, which put the rows in front of the text, as is done here anyway.
///
/// The first id behind the vocabulary: no text holds it, and it is never looked up.
fn placeholder(vocab_size: usize) -> u32 {
    tracing::info!(
        "neither config.json nor tokenizer.json names the picture's token: a checkpoint from before transformers 4.46, whose picture stands in front of the text"
    );
    u32::try_from(vocab_size).unwrap_or(u32::MAX)
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

/// Whether letters that the vocabulary does not have become tokens of their bytes: LLaMA's way.
fn falls_back_to_bytes(tokenizer: &Tokenizer) -> bool {
    matches!(tokenizer.get_model(), ModelWrapper::BPE(bpe) if bpe.byte_fallback)
}

/// Files of LLaMA's tokenizer from before transformers 5 put a space in front of every text, and so do
/// not know a text that begins with one; the reference (`LlamaTokenizer`) takes the vocabulary alone
/// from them.
fn spaces_as_in_llama(tokenizer: &mut Tokenizer) -> Result<(), TextError> {
    if !falls_back_to_bytes(tokenizer) || tokenizer.get_normalizer().is_none() {
        return Ok(());
    }
    let none: Option<NormalizerWrapper> = None;
    tokenizer
        .with_normalizer(none)
        .map_err(|error| TextError::Tokenizer(error.to_string()))?;
    tokenizer.with_pre_tokenizer(Some(Metaspace::new('\u{2581}', PrependScheme::First, false)));
    Ok(())
}

/// The bytes that a token of a byte-level vocabulary stands for. Where a letter is none of
/// the byte alphabet, the token was added to the vocabulary and stands for itself.
fn byte_level_bytes(token: &str) -> Box<[u8]> {
    let bytes: Option<Box<[u8]>> = token.chars().map(byte_of).collect();
    bytes.unwrap_or_else(|| token.as_bytes().into())
}

/// The bytes that a token of T5's vocabulary stands for, where spaces are written as U+2581.
fn metaspace_bytes(token: &str) -> Box<[u8]> {
    token.replace('\u{2581}', " ").into_bytes().into()
}

/// The bytes that a token of LLaMA's vocabulary stands for: as T5's, and one by its number, `<0x0A>`.
fn byte_fallback_bytes(token: &str) -> Box<[u8]> {
    let digits = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
        Some(byte) => Box::new([byte]),
        None => metaspace_bytes(token),
    }
}

/// The bytes that a piece of a word stands for behind others: a piece goes on with the word, and what is
/// none begins one, but for marks that follow without a space.
fn wordpiece_bytes(token: &str) -> Box<[u8]> {
    let behind_another = vec!["a".to_owned(), token.to_owned()];
    let pieces = WordPiece::default().decode_chain(behind_another);
    let piece = pieces.ok().and_then(|mut pieces| pieces.pop());
    piece.unwrap_or_default().into_bytes().into()
}

/// GPT-2's byte alphabet: printable bytes are themselves, the others count up from U+0100.
fn byte_of(letter: char) -> Option<u8> {
    let is_itself = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let code = u32::from(letter);
    match u8::try_from(code) {
        Ok(byte) => is_itself(byte).then_some(byte),
        Err(_) => (0..=255).filter(|byte| !is_itself(*byte)).nth((code - 0x100) as usize),
    }
}

mod stream;

#[cfg(test)]
mod tests;
