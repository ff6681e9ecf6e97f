//! What a question becomes before it is sent.

use clap::Args;
use clap::builder::BoolishValueParser;

use super::UsageError;
use crate::processor::Prompt;

#[derive(Args, Clone)]
pub struct PromptArgs {
    /// Send the question as it is, not as `Question: … Answer:`
    #[arg(long, env = "GLIMPSE_RAW", value_parser = BoolishValueParser::new())]
    raw: bool,

    /// How a caption begins, such as "a photo of"; the answer is how it goes on
    #[arg(long, env = "GLIMPSE_PREFIX", value_name = "TEXT", conflicts_with_all = ["question", "rest"])]
    prefix: Option<String>,
}

impl PromptArgs {
    /// The prompt of the one question that is asked, which `--raw` needs.
    ///
    /// # Errors
    /// As [`PromptArgs::prompt`], and `--raw` without a text to send.
    pub fn only_prompt(&self, question: Option<String>) -> Result<Prompt, UsageError> {
        if self.raw && question.is_none() && self.prefix.is_none() {
            let sentence =
                "--raw (GLIMPSE_RAW) sends a question as it is, and there is none. Add one, or leave it out.";
            return Err(UsageError(sentence.into()));
        }
        self.prompt(question)
    }

    /// The prompt that a question becomes; none asks for a caption.
    ///
    /// # Errors
    /// A question or a prefix that is there and says nothing.
    pub fn prompt(&self, question: Option<String>) -> Result<Prompt, UsageError> {
        match (question, &self.prefix) {
            (Some(question), _) if question.trim().is_empty() => Err(UsageError(
                "The question is empty. Ask something, or leave it out for a caption.".into(),
            )),
            (Some(text), _) if self.raw => Ok(Prompt::Raw(text)),
            (Some(question), _) => Ok(Prompt::Question(question)),
            (None, Some(prefix)) if prefix.trim().is_empty() => Err(UsageError(
                "--prefix (GLIMPSE_PREFIX) is empty. Say how the caption begins, or leave it out.".into(),
            )),
            (None, Some(prefix)) => Ok(Prompt::Raw(prefix.clone())),
            (None, None) => Ok(Prompt::Caption),
        }
    }
}
