//! What the model is asked to do.

use clap::Args;
use clap::builder::BoolishValueParser;

use super::UsageError;
use crate::engine::Instruction;

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
    /// What is asked of the model by the one question that there is, which `--raw` needs.
    ///
    /// # Errors
    /// As [`PromptArgs::instruction`], and `--raw` without a text to send.
    pub fn only_instruction(&self, question: Option<String>) -> Result<Instruction, UsageError> {
        if self.raw && question.is_none() && self.prefix.is_none() {
            let sentence =
                "--raw (GLIMPSE_RAW) sends a question as it is, and there is none. Add one, or leave it out.";
            return Err(UsageError(sentence.into()));
        }
        self.instruction(question)
    }

    /// What a question asks of the model; none asks for a caption.
    ///
    /// # Errors
    /// A question or a prefix that is there and says nothing.
    pub fn instruction(&self, question: Option<String>) -> Result<Instruction, UsageError> {
        match (question, &self.prefix) {
            (Some(question), _) if question.trim().is_empty() => Err(UsageError(
                "The question is empty. Ask something, or leave it out for a caption.".into(),
            )),
            (Some(text), _) if self.raw => Ok(Instruction::Raw(text)),
            (Some(question), _) => Ok(Instruction::question(question)),
            (None, Some(prefix)) if prefix.trim().is_empty() => Err(UsageError(
                "--prefix (GLIMPSE_PREFIX) is empty. Say how the caption begins, or leave it out.".into(),
            )),
            (None, prefix) => Ok(Instruction::Caption { prefix: prefix.clone() }),
        }
    }
}
