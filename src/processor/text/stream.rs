//! Tokens to text, as they come.

use tokenizers::{
    DecodeStream, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

use super::TextProcessor;

type Stream<'a> =
    DecodeStream<'a, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// Text of an answer that is still growing.
///
/// A character may be spread over several tokens: its bytes are held back until it is
/// whole. White space is held back until something follows, so that the answer, which
/// is trimmed, never has to take back what was sent.
pub struct TextStream<'a> {
    processor: &'a TextProcessor,
    stream: Stream<'a>,
    /// Tokens that `stream` waits with, because their bytes are no whole character yet.
    pending: Vec<u32>,
    /// How many bytes of the pending tokens' text were sent.
    pending_sent: usize,
    /// White space that nothing has followed yet.
    space: String,
    has_begun: bool,
}

impl<'a> TextStream<'a> {
    pub(super) fn new(processor: &'a TextProcessor) -> Self {
        Self {
            processor,
            stream: processor.tokenizer.decode_stream(true),
            pending: Vec::new(),
            pending_sent: 0,
            space: String::new(),
            has_begun: false,
        }
    }

    /// The text that the next token completes; often empty.
    pub fn push(&mut self, id: u32) -> String {
        self.pending.push(id);
        match self.stream.step(id) {
            Ok(Some(text)) => {
                let text = text.get(self.pending_sent..).unwrap_or_default().to_owned();
                self.pending.clear();
                self.pending_sent = 0;
                self.send(&text)
            }
            // No decoder of BLIP-2's tokenizers fails; were it so, `finish` says what is left.
            Ok(None) | Err(_) => self.push_broken_bytes(),
        }
    }

    /// Bytes that will never be a character, though the stream goes on waiting: all but the
    /// last, which may still be the beginning of one. They are shown as replacement characters.
    fn push_broken_bytes(&mut self) -> String {
        let text = self.processor.decode(&self.pending);
        let Some(broken) = text.strip_suffix(char::REPLACEMENT_CHARACTER) else {
            return String::new();
        };
        let new = broken.get(self.pending_sent..).unwrap_or_default().to_owned();
        self.pending_sent += new.len();
        self.send(&new)
    }

    /// What is left when the answer has ended: bytes that never became a character
    /// are shown as the replacement character, as the reference shows them.
    pub fn finish(&mut self) -> String {
        let text = self.processor.decode(&std::mem::take(&mut self.pending));
        let rest = text.get(std::mem::take(&mut self.pending_sent)..).unwrap_or_default();
        self.send(rest)
    }

    /// The text with the white space before it, which is kept where nothing follows it.
    fn send(&mut self, text: &str) -> String {
        self.space.push_str(text);
        let all = std::mem::take(&mut self.space);
        let begun = if self.has_begun { &all } else { all.trim_start() };
        let visible = begun.trim_end();
        self.space = begun[visible.len()..].to_owned();
        self.has_begun |= !visible.is_empty();
        visible.to_owned()
    }
}
